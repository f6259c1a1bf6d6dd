"""An extraction that was interrupted goes on, and never with another encoder, images or settings."""

import io
import json
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

from mmsimclr.errors import UserError
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
    assert store.FeatureStore(out).num_done() == recorded
    with pytest.raises(FileNotFoundError, match='is not complete: repeat the command'):
        read_features(out)

    embedder, images = small(resnet(), stages=('pooled', 'stem')), []
    embedder.backbone.register_forward_hook(lambda module, inputs, output: images.append(len(inputs[0])))
    extract_to_files(embedder, folder, out)
    assert sum(images) == NUM_IMAGES - recorded
    assert content(out) == content(want)


@pytest.mark.parametrize('form, name, call', [
    *((form, *stop) for form in ('feats.npz', 'feats') for stop in (
        ('write_json', 1), ('write_json', 2), *(('block_checksums', call) for call in (1, 2, 3)),
        # Of the manifest, the identities, the rows, the result's manifest, and the result.
        *(('os.replace', call) for call in range(1, 6)), ('shutil.rmtree', 2))),
    ('feats.npz', 'pack_npz', 1)])
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


def another_class(folder: Path) -> dict:
    (folder / 'a').rename(folder / 'aa')
    return {}


CHANGES = {
    another_encoder: r'encoder\.weights_sha256 was .*, is ',
    another_image: r'images\.num was 11, is 12',
    one_image_less: r'images\.num was 11, is 10',
    another_class: r"images\.classes was \['a', 'b', 'c'\], is \['aa', 'b', 'c'\]",
}


@pytest.mark.parametrize('complete', [False, True])
@pytest.mark.parametrize('change', CHANGES, ids=lambda change: change.__name__)
def test_another_encoder_or_other_images_are_refused(folder, tmp_path, change, complete):
    out = tmp_path / 'feats'
    extract_to_files(small(Means()), folder, out) if complete else interrupt(folder, out)
    before = content(out if complete else tmp_path / 'feats.partial')
    module = change(folder).get('module', Means())
    with pytest.raises(ValueError, match=f'holds features of something else: .*{CHANGES[change]}.*--out'):
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
    assert store.FeatureStore(tmp_path / 'feats').num_done() == 4
    bad.write_bytes(whole)
    assert len(extract_to_files(small(Means()), folder, tmp_path / 'feats')) == NUM_IMAGES


def test_an_image_that_became_readable_is_not_left_out_by_an_end_that_was_stopped(folder, tmp_path,
                                                                                 monkeypatch):
    bad = folder / 'a' / '02.png'
    whole = bad.read_bytes()
    bad.write_bytes(b'\0' * len(whole))
    with monkeypatch.context() as patch:
        patch.setattr(store, 'block_checksums', lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            extract_to_files(small(Means()), folder, tmp_path / 'feats', skip_unreadable=True)
    bad.write_bytes(whole)
    assert len(extract_to_files(small(Means()), folder, tmp_path / 'feats')) == NUM_IMAGES


def test_a_result_that_leaves_images_out_is_refused_where_that_is_not_wanted(folder, tmp_path):
    (folder / 'a' / '02.png').write_bytes(b'no image')
    extract_to_files(small(Means()), folder, tmp_path / 'feats', skip_unreadable=True)
    with pytest.raises(ValueError, match='leaves out 1 images'):
        extract_to_files(small(Means()), folder, tmp_path / 'feats')


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
    with pytest.raises(RuntimeError, match=rf'{out} is in use by process {process.pid} on .*another name'):
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


def write_again(path: Path, number: int) -> None:
    """Put other pixels in the place of an image: as many bytes, a later time of writing."""
    before, size = path.stat().st_mtime_ns, path.stat().st_size
    Image.fromarray(np.full((9, 12, 3), 20 * number, np.uint8)).save(path)
    assert path.stat().st_size == size
    os.utime(path, ns=(before + 10, before + 10))


@pytest.fixture
def bitmaps(tmp_path) -> Path:
    """Images whose files all have the same size."""
    (tmp_path / 'bitmaps').mkdir()
    for number in range(NUM_IMAGES):
        Image.fromarray(np.full((9, 12, 3), number, np.uint8)).save(tmp_path / 'bitmaps' / f'{number:02}.bmp')
    return tmp_path / 'bitmaps'


def rows_of(folder: Path) -> np.ndarray:
    """Return the features of ``Means()`` one image at a time, without any file of ours."""
    return np.concatenate([small(Means())(path) for path in sorted(folder.iterdir())])


@pytest.mark.parametrize('changed', [(0,), (2, 3), (5,), (10,), tuple(range(NUM_IMAGES))])
def test_rows_of_images_written_again_since_an_interruption_are_made_again(bitmaps, tmp_path, changed):
    interrupt(bitmaps, tmp_path / 'feats')                      # rows 0 to 3 are done
    for number in changed:
        write_again(bitmaps / f'{number:02}.bmp', number + 1)
    got = extract_to_files(small(Means()), bitmaps, tmp_path / 'feats').stages['pooled']
    np.testing.assert_allclose(got, rows_of(bitmaps), rtol=1e-6)


@pytest.mark.parametrize('form', ['feats', 'feats.npz'])
def test_a_complete_result_of_images_written_again_is_refused(bitmaps, tmp_path, form):
    extract_to_files(small(Means()), bitmaps, tmp_path / form)
    before = content(tmp_path / form)
    write_again(bitmaps / '07.bmp', 1)
    with pytest.raises(ValueError, match=r'something else: images\.sha256 was .*times of writing'):
        extract_to_files(small(Means()), bitmaps, tmp_path / form)
    assert content(tmp_path / form) == before


def test_images_written_while_they_are_read_are_an_error_and_then_made_again(bitmaps, tmp_path):
    embedder, calls = small(Means()), []

    def write(*_):
        calls.append(1)
        if len(calls) == 2:                                     # after 0 to 3 were read
            write_again(bitmaps / '01.bmp', 4)
    embedder.backbone.register_forward_hook(write)
    with pytest.raises(ValueError, match=r'1 of 11 images were written while .* number 1\. Repeat'):
        extract_to_files(embedder, bitmaps, tmp_path / 'feats')
    assert not (tmp_path / 'feats').exists()
    got = extract_to_files(small(Means()), bitmaps, tmp_path / 'feats').stages['pooled']
    np.testing.assert_allclose(got, rows_of(bitmaps), rtol=1e-6)


def test_verify_finds_what_size_and_time_do_not_show(bitmaps, tmp_path):
    path = bitmaps / '04.bmp'
    time_ns = path.stat().st_mtime_ns
    for name, verify in (('plain', False), ('verified', True)):
        extract_to_files(small(Means()), bitmaps, tmp_path / name, verify=verify)
    for other in bitmaps.iterdir():                             # a copy of the folder has other times
        os.utime(other, ns=(time_ns + 5, time_ns + 5))
    extract_to_files(small(Means()), bitmaps, tmp_path / 'verified', verify=True)
    with pytest.raises(ValueError, match=r'sha256 was'):
        extract_to_files(small(Means()), bitmaps, tmp_path / 'plain')
    write_again(path, 5)
    os.utime(path, ns=(time_ns + 5, time_ns + 5))
    with pytest.raises(ValueError, match=r'sha256 was'):
        extract_to_files(small(Means()), bitmaps, tmp_path / 'verified', verify=True)
    with pytest.raises(ValueError, match=r"identity was 'path, size and content'"):
        extract_to_files(small(Means()), bitmaps, tmp_path / 'verified')


@pytest.mark.parametrize('form', ['feats', 'feats.npz'])
@pytest.mark.parametrize('name', ['pooled', 'labels', 'paths'])
def test_one_wrong_bit_in_a_complete_result_is_found_before_it_is_used(folder, tmp_path, form, name):
    features = extract_to_files(small(Means()), folder, tmp_path / form)
    array = getattr(features, name) if name != 'pooled' else features.stages[name]
    path, offset = (tmp_path / form, array.offset) if form.endswith('npz') else (
        tmp_path / form / f'{name}.npy', array.offset)
    with open(path, 'r+b') as file:
        file.seek(offset + array.nbytes - 4)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    for use in (lambda: read_features(tmp_path / form),
                lambda: extract_to_files(small(Means()), folder, tmp_path / form)):
        with pytest.raises(ValueError, match=rf'{form} .*is damaged: .*{name}'):
            use()


@pytest.mark.parametrize('part', range(8))
def test_rows_damaged_after_an_interruption_are_made_again(folder, tmp_path, part):
    want = extract_to_files(small(Means()), folder, tmp_path / 'want').stages['pooled']
    interrupt(folder, tmp_path / 'feats')
    block, = (tmp_path / 'feats.partial').glob('rows-*.npz')
    content = bytearray(block.read_bytes())
    place = content.index(want[:4].tobytes()) + 4 if part == 7 else part * len(content) // 7
    content[place] ^= 1
    block.write_bytes(content)
    got = extract_to_files(small(Means()), folder, tmp_path / 'feats').stages['pooled']
    assert np.array_equal(got, want)


def test_images_that_a_dataset_gives_itself_are_known_by_their_content(tmp_path):
    class Encoded:
        """Images in memory whose names are of no file, as those of shards."""

        def __init__(self, level: int) -> None:
            picture = io.BytesIO()
            Image.fromarray(np.full((4, 4, 3), level, np.uint8)).save(picture, 'bmp')
            self.content = picture.getvalue()

        def __len__(self) -> int:
            return 5

        def get_data_info(self, index: int) -> dict:
            return dict(img=self.content, img_path=f'shard.tar/{index}.bmp')

    extract_to_files(small(Means()), Encoded(9), tmp_path / 'feats')
    extract_to_files(small(Means()), Encoded(9), tmp_path / 'feats')
    with pytest.raises(ValueError, match=r'sha256 was'):
        extract_to_files(small(Means()), Encoded(8), tmp_path / 'feats')


def as_older_version(manifest: Path) -> None:
    old = json.loads(manifest.read_text())
    old['format'] = 'mmsimclr features 1'
    for key in ('checksums',):
        old.pop(key, None)
    for key in ('list_sha256', 'identity'):
        del old['images'][key]
    manifest.write_text(json.dumps(old))


def test_a_complete_result_of_an_older_version_is_refused(folder, tmp_path):
    extract_to_files(small(Means()), folder, tmp_path / 'feats')
    as_older_version(tmp_path / 'feats' / 'manifest.json')
    with pytest.raises(ValueError, match=r"has the format 'mmsimclr features 1'"):
        read_features(tmp_path / 'feats')
    with pytest.raises(ValueError, match=r"has the format 'mmsimclr features 1'"):
        extract_to_files(small(Means()), folder, tmp_path / 'feats')


def entries(folder: Path) -> dict:
    return {path.name: path.lstat().st_mode for path in folder.iterdir()}


ODD = {'rows-0-4.npz.d': lambda path: path.mkdir(), 'rows-a.npz': lambda path: path.write_bytes(b'mine'),
       'rows-9-9.npz': os.mkfifo, 'rows-8-1.npz': lambda path: path.symlink_to(path.parent / 'away'),
       'rows-5-1.npz': lambda path: path.mkdir(), 'rows-6-1.npz': lambda path: path.symlink_to(path)}


@pytest.mark.parametrize('name', ODD)
def test_odd_entries_beside_blocks_are_passed_over_and_kept(folder, tmp_path, name, monkeypatch):
    extract_to_files(small(Means()), folder, tmp_path / 'want')
    interrupt(folder, tmp_path / 'feats')
    partial = tmp_path / 'feats.partial'
    ODD[name](partial / name)
    before, seen = entries(partial), []
    assert store.FeatureStore(tmp_path / 'feats').num_done() == 4
    finish = store.FeatureStore.finish

    def look(self, *args):
        seen.append(entries(partial))
        return finish(self, *args)
    monkeypatch.setattr(store.FeatureStore, 'finish', look)
    extract_to_files(small(Means()), folder, tmp_path / 'feats')
    assert seen[0][name] == before[name] and content(tmp_path / 'feats') == content(tmp_path / 'want')


@pytest.mark.parametrize('complete', [False, True])
@pytest.mark.parametrize('name', ['notes.txt', 'manifest.json', 'rows-0-4.npz'])
def test_a_folder_of_somebody_else_is_not_removed(folder, tmp_path, name, complete):
    if complete:
        extract_to_files(small(Means()), folder, tmp_path / 'feats')
    partial = tmp_path / 'feats.partial'
    partial.mkdir()
    (partial / name).write_text('{"mine": 1}')
    with pytest.raises(UserError, match=r'feats\.partial'):
        extract_to_files(small(Means()), folder, tmp_path / 'feats')
    assert (partial / name).read_text() == '{"mine": 1}' and len(entries(partial)) == 1


def test_a_damaged_block_of_ours_is_made_again(folder, tmp_path):
    extract_to_files(small(Means()), folder, tmp_path / 'want')
    interrupt(folder, tmp_path / 'feats')
    block, = (tmp_path / 'feats.partial').glob('rows-*.npz')
    np.savez(block, images=np.zeros((2, 2)), reasons=np.array(['']))
    extract_to_files(small(Means()), folder, tmp_path / 'feats')
    assert content(tmp_path / 'feats') == content(tmp_path / 'want')
