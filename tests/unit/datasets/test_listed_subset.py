"""Subsets that a list names, the official lists, and what is wrong with others."""

import http.server
import threading

import cv2
import numpy as np
import pytest
from mmpretrain.datasets import ImageNet

from mmsimclr.datasets import ListedSubset
from mmsimclr.files import DownloadError
from mmsimclr.prepare import imagenet_subsets as official


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('imagenet')
    for label in range(2):
        folder = root / 'train' / f'n0000000{label}'
        folder.mkdir(parents=True)
        for number in range(3):
            image = np.full((4, 4, 3), 100 * label + number, np.uint8)
            cv2.imwrite(str(folder / f'n0000000{label}_{number}.JPEG'), image)
    return root


def subset(root, tmp_path, text: str) -> ListedSubset:
    path = tmp_path / 'list.txt'
    path.write_text(text)
    return ListedSubset(dict(type=ImageNet, data_root=str(root), split='train', pipeline=[],
                             metainfo=dict(classes=('cat', 'dog'))), path)


def test_the_listed_images_are_kept_with_their_labels(root, tmp_path):
    images = subset(root, tmp_path, 'n00000001_2.JPEG\nn00000000_1.JPEG\n\n')
    assert [images.get_data_info(i)['img_path'].rsplit('/', 1)[1] for i in range(len(images))] == [
        'n00000000_1.JPEG', 'n00000001_2.JPEG']
    assert images.get_gt_labels().tolist() == [0, 1]
    assert images.data_root == str(root) and images.metainfo['classes'] == ('cat', 'dog')


@pytest.mark.parametrize('text, said', [
    ('n00000000_1.JPEG\nn00000001_9.JPEG\n',
     r'1 of 2 images .*list.txt are not in ImageNet .*n00000001_9.JPEG; n0000000\d_\d.JPEG is'),
    ('n00000000_1.JPEG\nn00000000_1.JPEG\n', 'names n00000000_1.JPEG 2 times'),
    ('\n', 'names no images'),
])
def test_a_wrong_list_is_refused(text, said, root, tmp_path):
    with pytest.raises(ValueError, match=said):
        subset(root, tmp_path, text)


def test_a_missing_list_and_images_without_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no image list at .*imagenet_subsets\.py'):
        ListedSubset(dict(type='Shapes', num_images=10), tmp_path / 'none.txt')
    (tmp_path / 'list.txt').write_text('a.png\n')
    with pytest.raises(ValueError, match=r'has no files.*use BalancedSubset'):
        ListedSubset(dict(type='Shapes', num_images=10, image_size=16), tmp_path / 'list.txt')


@pytest.fixture
def small_lists(tmp_path, monkeypatch):
    """Make the official lists six images of three classes and twelve of three; write such lists."""
    monkeypatch.setattr(official, 'NUM_IMAGES', {'1percent.txt': 6, '10percent.txt': 12})
    monkeypatch.setattr(official, 'NUM_CLASSES', 3)
    folder = tmp_path / 'mine'
    folder.mkdir()
    for name, count in official.NUM_IMAGES.items():
        (folder / name).write_text(''.join(f'n0000000{i % 3}_{i}.JPEG\n' for i in range(count)))
    return folder


def test_official_lists_that_one_has_are_checked_and_copied(small_lists, tmp_path):
    said = []
    paths = official.prepare_imagenet_subsets(tmp_path / 'out', small_lists, report=said.append)
    assert [path.read_text() for path in paths] == [(small_lists / path.name).read_text() for path in paths]
    assert [path.name for path in paths] == ['1percent.txt', '10percent.txt']
    assert said[1].endswith('10percent.txt: 12 images of 3 classes')


@pytest.mark.parametrize('text, said', [
    ('n00000000_0.JPEG\n', 'names 1 images of 1 classes, and the official one 6 of 3'),
    ('<html>404</html>\n', "'html>' is no name of an image of ImageNet"),
])
def test_a_list_that_is_not_the_official_one_is_refused(text, said, small_lists, tmp_path):
    (small_lists / '1percent.txt').write_text(text)
    with pytest.raises(ValueError, match=said):
        official.prepare_imagenet_subsets(tmp_path / 'out', small_lists)
    assert not (tmp_path / 'out' / '1percent.txt').exists()


def test_official_lists_are_fetched(small_lists, tmp_path):
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(small_lists))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f'http://127.0.0.1:{server.server_address[1]}/{{name}}'
        paths = official.prepare_imagenet_subsets(tmp_path / 'out', url=url, report=lambda line: None)
        with pytest.raises(DownloadError):
            official.prepare_imagenet_subsets(tmp_path / 'other', url=url + '.gone', report=lambda line: None)
        server.shutdown()
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['10percent.txt', '1percent.txt']
    assert all(path.read_text() == (small_lists / path.name).read_text() for path in paths)
