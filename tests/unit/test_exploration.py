"""Exploring a folder: what is planned, what labels say, and a second call that reuses the first."""

import json
import shlex
import shutil
import time

import numpy as np
import pytest
from PIL import Image

import mmsimclr
from mmsimclr import exploration
from mmsimclr.datasets import UnlabeledImageFolder
from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.models import SimCLR
from mmsimclr.transforms import SimCLRView


@pytest.fixture
def photos(tmp_path):
    """Twelve images of two colours, and their labels."""
    (tmp_path / 'photos').mkdir()
    generator = np.random.default_rng(0)
    lines = ['path,label']
    for number in range(12):
        pixels = generator.integers(0, 40, (40, 44, 3), np.uint8)
        pixels[..., number % 2] += 200
        Image.fromarray(pixels).save(tmp_path / 'photos' / f'{number}.png')
        lines.append(f'{number}.png,{"red" if number % 2 == 0 else "green"}')
    (tmp_path / 'labels.csv').write_text('\n'.join(lines))
    return tmp_path / 'photos'


def planned(photos, folder, monkeypatch, minutes=10.0, side_px=500, **seconds):
    def measured(dataset, indices, view_px, width):
        return seconds[f'of_{view_px}_{width}']

    monkeypatch.setattr(exploration, 'seconds_per_image', measured)
    monkeypatch.setattr(exploration.torch.cuda, 'is_available', lambda: False)
    folder.mkdir(exist_ok=True)
    dataset = UnlabeledImageFolder(str(photos))
    return exploration._plan(folder, dataset, minutes, {0: side_px}, lambda text: None)


def test_the_best_size_that_sees_enough_images_is_taken(photos, tmp_path, monkeypatch):
    plan = planned(photos, tmp_path / 'a', monkeypatch, of_96_32=0.02, of_64_32=0.01, of_64_16=0.005)
    assert (plan['view_size'], plan['width']) == (64, 32)                 # 0.8 * 600 s / 0.01 s = 48,000
    assert plan['max_images'] == 12 and plan['epochs'] == exploration.MAX_EPOCHS


def test_small_images_get_small_views_and_many_images_few_epochs(photos, tmp_path, monkeypatch):
    plan = planned(photos, tmp_path / 'a', monkeypatch, minutes=0.1, side_px=50, of_48_16=0.08, of_32_16=0.08)
    assert plan['view_size'] == 32
    assert (plan['max_images'], plan['epochs']) == (6, 15)                # 60 visits, 4 of 6 in an epoch


def test_images_that_do_not_fill_a_batch_are_not_counted(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(exploration, 'MAX_EPOCHS', 10_000)
    plan = planned(photos, tmp_path / 'a', monkeypatch, of_96_32=0.01)
    assert plan['epochs'] == 6000                                         # 48,000 visits, 8 of 12 in an epoch


@pytest.mark.parametrize('cores', [1, 2])
def test_images_are_loaded_while_others_are_computed_with(cores, photos, monkeypatch):
    def wait(function, seconds):
        def call(*args, **settings):
            time.sleep(seconds)
            return function(*args, **settings)
        return call

    monkeypatch.setattr(exploration, 'num_usable_cores', lambda: cores)
    monkeypatch.setattr(SimCLRView, 'transform', wait(SimCLRView.transform, 0.025))           # 0.4 s a batch
    monkeypatch.setattr(SimCLR, 'train_step', wait(SimCLR.train_step, 0.5))
    dataset = UnlabeledImageFolder(str(photos))
    seconds = exploration.seconds_per_image(dataset, [0, 1, 2], 32, 4, batch_size=8)
    assert 0.5 < 8 * seconds < 0.8                                                            # not 0.9


def test_what_was_planned_stays_and_other_minutes_are_refused(photos, tmp_path, monkeypatch):
    first = planned(photos, tmp_path / 'a', monkeypatch, of_96_32=0.01)
    assert planned(photos, tmp_path / 'a', monkeypatch, of_96_32=1.0) == first
    with pytest.raises(InputError, match='begun with --minutes 10, got 3'):
        planned(photos, tmp_path / 'a', monkeypatch, minutes=3, of_96_32=1.0)
    (tmp_path / 'a' / 'plan.json').write_text('{"minutes": 10}')
    with pytest.raises(InputError, match=r"plan\.json is not a plan: 'view_size' must be int, got nothing"):
        planned(photos, tmp_path / 'a', monkeypatch, of_96_32=1.0)


def test_other_images_are_refused_whatever_their_names_and_moved_ones_are_not(photos, tmp_path, monkeypatch):
    first = planned(photos, tmp_path / 'a', monkeypatch, of_96_32=0.01)
    moved = shutil.copytree(photos, tmp_path / 'moved')
    assert planned(moved, tmp_path / 'a', monkeypatch, of_96_32=1.0) == first
    Image.new('RGB', (40, 44)).save(moved / '0.png')
    assert planned(moved, tmp_path / 'a', monkeypatch, of_96_32=1.0) == first, 'one image was repaired'
    for file in moved.iterdir():
        Image.new('RGB', (40, 44)).save(file)
    for change in (lambda: None, lambda: (moved / '0.png').rename(moved / 'x.png')):
        change()
        with pytest.raises(InputError, match='others; name another --work-dir') as caught:
            planned(moved, tmp_path / 'a', monkeypatch, of_96_32=1.0)
        assert f'images that {photos} had then, and those of {moved}' in str(caught.value)


@pytest.mark.parametrize('content, error, said', [
    (None, MissingFileError, 'no file'), ('', InputError, 'rows must follow'),
    ('path,class\na,b\n', InputError, 'label'), ('path,label\n0.png,a\n1.png,b\n', InputError, 'got 2 of 2'),
    ('path,label\n0.png,a\n1.png,b\nphotos/2.png,b\n', InputError, '1 files .* such as .*photos/photos/2'),
    ('path,label\n0.png,a\n1.png,a\n2.png,a\n', InputError, 'got 3 of 1')])
def test_labels_that_cannot_be_used_are_refused_before_the_training(content, error, said, photos, tmp_path):
    if content is not None:
        (tmp_path / 'bad.csv').write_text(content)
    with pytest.raises(error, match=said):
        mmsimclr.explore(photos, labels=tmp_path / 'bad.csv', work_dir=tmp_path / 'run')
    assert not (tmp_path / 'run').exists()


def test_an_interrupted_one_says_the_command_that_goes_on(photos, tmp_path, monkeypatch):
    def stopped(config, *_):
        seen.append(config.go_on)
        raise KeyboardInterrupt

    seen = []
    monkeypatch.setattr(exploration, 'seconds_per_image', lambda *args: 0.5)
    monkeypatch.setattr('mmsimclr.protocols.pretrain', stopped)
    for each in (photos, shutil.copytree(photos, tmp_path / 'my photos')):
        with pytest.raises(KeyboardInterrupt):
            mmsimclr.explore(each, 2.5, work_dir=tmp_path / each.name, say=lambda line: None)
        command = shlex.split(seen[-1])
        assert command[:3] == ['mmsimclr', 'explore', str(each)]
        assert command[3:] == ['--minutes', '2.5', '--work-dir', str(tmp_path / each.name)]


@pytest.mark.slow
def test_from_a_folder_to_the_page_and_the_second_call_reuses_it(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(exploration, 'seconds_per_image', lambda *args: 0.5)
    lines, folder = [], tmp_path / 'run'
    page = mmsimclr.explore(photos, 1, labels=tmp_path / 'labels.csv', work_dir=folder, say=lines.append)
    assert page == folder / 'report' / 'index.html' and len(page.read_text()) > 10_000
    plan = json.loads((folder / 'plan.json').read_text())
    result = json.loads((folder / 'result.json').read_text())
    assert result['settings']['max_epochs'] == plan['epochs'] and plan['view_size'] == 32
    assert lines[0].startswith('12 images in ') and ' 40 pixels' in lines[0]
    assert any('accuracy 100 % (95 % interval 76 to 100)' in line for line in lines)       # two colours
    before = {path: path.stat().st_mtime_ns for path in folder.glob('*.pth')}
    features = {path.name for path in (folder / 'features').iterdir()}
    lines.clear()
    assert mmsimclr.explore(photos, 1, work_dir=folder, say=lines.append) == page
    assert any('done already' in line for line in lines)
    assert {path: path.stat().st_mtime_ns for path in folder.glob('*.pth')} == before
    assert {path.name for path in (folder / 'features').iterdir()} == features


@pytest.mark.slow
def test_a_run_embeds_and_evaluates(photos, tmp_path):
    for number in range(12):
        part = tmp_path / 'labelled' / ('train' if number < 8 else 'val') / ('green' if number % 2 else 'red')
        part.mkdir(parents=True, exist_ok=True)
        (photos / f'{number}.png').rename(part / f'{number}.png')
    images = tmp_path / 'labelled'
    run = mmsimclr.pretrain(images, epochs=2, work_dir=tmp_path / 'run', view_size=32, width=4, workers=0)
    assert run.result.settings['max_epochs'] == 2 and run.result.settings['global_batch'] == 8
    assert run.checkpoint.name == 'epoch_2.pth' and run.embed(images).shape == (12, 32)
    result = run.evaluate('knn', images, **{'protocol.k': (1,)})
    assert result.metrics['top_1_accuracy_k1_percent'] == 100
    assert result.settings['crop_px'] == 32                           # of the views it was trained on
    again = mmsimclr.pretrain(images, epochs=2, work_dir=tmp_path / 'run', view_size=32, width=4, workers=0)
    assert again.result == run.result and 'resumed_from_iteration' not in again.result.settings
    assert again.result.command == (f"mmsimclr.pretrain({str(images)!r}, 'resnet18', 2, work_dir="
                                    f"{str(tmp_path / 'run')!r}, view_size=32, width=4, workers=0)")
