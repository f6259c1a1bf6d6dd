"""An extraction that was interrupted goes on, and never with another encoder, images or settings."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from extraction_samples import NUM_IMAGES, Means, content, make_folder, resnet, save_image, small
from PIL import Image
from processes import CONTEXT

from mmsimclr.features import extract_to_files, read_features, store


@pytest.fixture
def folder(tmp_path) -> Path:
    return make_folder(tmp_path / 'images')


def killed_at(calls: int, folder: Path, out: Path, commit_s: float) -> None:
    """Extract, and die without a word at some call of the encoder."""
    torch.set_num_threads(1)
    embedder = small(resnet(), stages=('pooled', 'stem'))
    left = [calls]

    def count(*_):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    embedder.backbone.register_forward_hook(count)
    extract_to_files(embedder, folder, out, commit_s=commit_s)


@pytest.mark.slow
@pytest.mark.parametrize('form, calls, commit_s, recorded', [
    ('feats', 0, 0, 0), ('feats.npz', 1, 0, 4), ('feats', 2, 0, 8), ('feats.npz', 2, 1e9, 0)])
def test_killed_and_resumed_is_byte_for_byte_what_it_would_have_been(folder, tmp_path, form, calls, commit_s,
                                                                   recorded):
    want, out = tmp_path / 'want' / form, tmp_path / form
    extract_to_files(small(resnet(), stages=('pooled', 'stem')), folder, want)
    process = CONTEXT.Process(target=killed_at, args=(calls, folder, out, commit_s))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL and not out.exists()
    progress = Path(f'{out}.partial', 'progress').read_bytes()
    assert progress == bytes([1] * recorded + [0] * (NUM_IMAGES - recorded))
    with pytest.raises(FileNotFoundError, match='is not complete: repeat the command'):
        read_features(out)

    embedder, images = small(resnet(), stages=('pooled', 'stem')), []
    embedder.backbone.register_forward_hook(lambda module, inputs, output: images.append(len(inputs[0])))
    extract_to_files(embedder, folder, out)
    assert sum(images) == NUM_IMAGES - recorded
    assert content(out) == content(want)


@pytest.mark.parametrize('form, name, call', [
    *((form, *stop) for form in ('feats.npz', 'feats') for stop in (
        ('write_manifest', 1), ('write_manifest', 2), *(('_keep_rows', call) for call in (1, 2, 3)),
        # Of the manifest, twice; of each reduced array; of the result.
        *(('os.replace', call) for call in range(1, 7)))),
    ('feats.npz', 'shutil.rmtree', 2)])
def test_stopped_while_beginning_or_finishing_it_goes_on(folder, tmp_path, form, name, call, monkeypatch):
    (folder / 'b' / '03.png').write_bytes(b'no image')
    arguments = (folder, tmp_path / form)
    extract_to_files(small(Means()), folder, tmp_path / 'want' / form, skip_unreadable=True)
    *module, function = name.split('.')
    owner = getattr(store, module[0]) if module else store
    plain, calls = getattr(owner, function), []

    def stop(*args, **kwargs):
        calls.append(args)
        if len(calls) == call:
            raise KeyboardInterrupt
        return plain(*args, **kwargs)
    with monkeypatch.context() as patch:
        patch.setattr(owner, function, stop)
        with pytest.raises(KeyboardInterrupt):
            extract_to_files(small(Means()), *arguments, skip_unreadable=True)
    extract_to_files(small(Means()), *arguments, skip_unreadable=True)
    assert content(arguments[1]) == content(tmp_path / 'want' / form)
    assert not Path(f'{arguments[1]}.partial').exists()


def interrupt(folder: Path, out: Path, **options) -> None:
    """Leave an extraction of ``Means()`` unfinished after its first batch."""
    embedder, calls = small(Means()), []

    def stop(*_):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
    embedder.backbone.register_forward_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        extract_to_files(embedder, folder, out, commit_s=0, **options)
    assert Path(f'{out}.partial').is_dir()


def another_encoder(folder: Path) -> dict:
    return dict(module=Means(factor=1.001))


def another_image(folder: Path) -> dict:
    save_image(folder / 'a' / '99.png', 99)
    return {}


def one_image_less(folder: Path) -> dict:
    (folder / 'a' / '02.png').unlink()
    return {}


def another_size_of_a_file(folder: Path) -> dict:
    Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save(folder / 'a' / '02.png')
    return {}


def another_class(folder: Path) -> dict:
    (folder / 'a').rename(folder / 'aa')
    return {}


CHANGES = {
    another_encoder: r'encoder\.weights_sha256 was .*, is ',
    another_image: r'images\.num was 11, is 12; images\.sha256 was',
    one_image_less: r'images\.num was 11, is 10',
    another_size_of_a_file: r'images\.sha256 was',
    another_class: r"images\.classes was \['a', 'b', 'c'\], is \['aa', 'b', 'c'\]",
}


@pytest.mark.parametrize('complete', [False, True])
@pytest.mark.parametrize('change', CHANGES, ids=lambda change: change.__name__)
def test_another_encoder_or_other_images_are_refused(folder, tmp_path, change, complete):
    out = tmp_path / 'feats'
    extract_to_files(small(Means()), folder, out) if complete else interrupt(folder, out)
    before = content(out if complete else tmp_path / 'feats.partial')
    module = change(folder).get('module', Means())
    with pytest.raises(ValueError, match=f'holds features of something else: {CHANGES[change]}.*--out'):
        extract_to_files(small(module), folder, out)
    assert content(out if complete else tmp_path / 'feats.partial') == before


@pytest.mark.parametrize('arguments, options, message', [
    (dict(crop_px=7), {}, r'preparation\.crop_px was 8, is 7'),
    (dict(normalise=True), {}, 'normalised was False, is True'),
    (dict(batch_size=5), {}, 'batch_size was 4, is 5'),
    ({}, dict(dtype='float16'), "dtype was 'float32', is 'float16'")])
def test_other_settings_are_refused_by_name(folder, tmp_path, arguments, options, message):
    interrupt(folder, tmp_path / 'feats')
    with pytest.raises(ValueError, match=message):
        extract_to_files(small(Means(), **arguments), folder, tmp_path / 'feats', **options)


def test_a_moved_folder_and_another_command_are_the_same_extraction(folder, tmp_path):
    interrupt(folder, tmp_path / 'feats')
    folder.rename(tmp_path / 'moved')
    extract_to_files(small(Means()), tmp_path / 'moved', tmp_path / 'feats', command='other')
    want = extract_to_files(small(Means()), tmp_path / 'moved', tmp_path / 'want').stages['pooled']
    assert np.array_equal(read_features(tmp_path / 'feats').stages['pooled'], want)


def test_a_finished_extraction_is_returned_without_computing(folder, tmp_path):
    want = extract_to_files(small(Means()), folder, tmp_path / 'feats')
    embedder = small(Means())
    embedder.backbone.register_forward_hook(lambda *_: pytest.fail('it computed'))
    got = extract_to_files(embedder, folder, tmp_path / 'feats')
    assert np.array_equal(got.stages['pooled'], want.stages['pooled'])


def test_images_skipped_before_are_tried_again_where_skipping_is_not_wanted(folder, tmp_path):
    bad = folder / 'a' / '02.png'
    whole = bad.read_bytes()
    bad.write_bytes(b'\0' * len(whole))
    interrupt(folder, tmp_path / 'feats', skip_unreadable=True)
    assert 2 in Path(tmp_path, 'feats.partial', 'progress').read_bytes()
    bad.write_bytes(whole)
    assert len(extract_to_files(small(Means()), folder, tmp_path / 'feats')) == NUM_IMAGES


def test_one_that_began_to_leave_images_out_is_not_filled_again(folder, tmp_path, monkeypatch):
    bad = folder / 'a' / '02.png'
    whole = bad.read_bytes()
    bad.write_bytes(b'\0' * len(whole))
    want = extract_to_files(small(Means()), folder, tmp_path / 'want', skip_unreadable=True).stages['pooled']
    with monkeypatch.context() as patch:
        patch.setattr(store, '_keep_rows', lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            extract_to_files(small(Means()), folder, tmp_path / 'feats', skip_unreadable=True)
    bad.write_bytes(whole)
    with pytest.raises(ValueError, match='leaves out 1 images'):
        extract_to_files(small(Means()), folder, tmp_path / 'feats')
    assert np.array_equal(read_features(tmp_path / 'feats').stages['pooled'], want)


def test_a_reason_that_was_cut_off_does_not_spoil_the_next(folder, tmp_path):
    interrupt(folder, tmp_path / 'feats')
    with open(tmp_path / 'feats.partial' / 'unreadable-0', 'a') as file:
        file.write('{"image": 9, "rea')
    bad = folder / 'c' / '10.png'
    bad.write_bytes(b'\0' * bad.stat().st_size)
    got = extract_to_files(small(Means()), folder, tmp_path / 'feats', skip_unreadable=True)
    assert [str(bad) in reason for reason in got.manifest['images']['unreadable']] == [True]


def held_up(folder: Path, out: Path, marker: Path) -> None:
    """Extract, and stop at the first batch until the test removes a file."""
    torch.set_num_threads(1)
    embedder = small(Means())

    def hold(*_):
        marker.touch()
        while marker.exists():
            time.sleep(0.01)
    embedder.backbone.register_forward_hook(hold)
    extract_to_files(embedder, folder, out)


@pytest.mark.slow
def test_a_second_run_into_the_same_files_is_refused_while_one_is_at_work(folder, tmp_path):
    out, marker = tmp_path / 'feats.npz', tmp_path / 'at-work'
    process = CONTEXT.Process(target=held_up, args=(folder, out, marker))
    process.start()
    deadline = time.monotonic() + 60
    while not marker.exists():
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.01)
    before = content(Path(f'{out}.partial'))
    with pytest.raises(RuntimeError, match=rf'{out}: process {process.pid} on .*--out'):
        extract_to_files(small(Means()), folder, out)
    assert content(Path(f'{out}.partial')) == before
    extract_to_files(small(Means()), folder, tmp_path / 'want.npz')              # elsewhere it may
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    extract_to_files(small(Means()), folder, out)                               # its lease died with it
    assert out.read_bytes() == (tmp_path / 'want.npz').read_bytes()
    assert not list(tmp_path.glob('*.lease*'))


def test_an_interruption_releases_the_files_and_a_result_needs_no_lease(folder, tmp_path):
    interrupt(folder, tmp_path / 'feats')
    assert not list(tmp_path.glob('*.lease*'))
    extract_to_files(small(Means()), folder, tmp_path / 'feats')
    (tmp_path / 'feats.lease').mkdir()                          # it would be in the way
    extract_to_files(small(Means()), folder, tmp_path / 'feats')
