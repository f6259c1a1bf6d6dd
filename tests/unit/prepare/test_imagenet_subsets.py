"""The official lists of ImageNet's subsets: copied, fetched, and refused where they are not those."""

import http.server
import threading

import pytest

from mmsimclr.files import DownloadError
from mmsimclr.prepare import imagenet_subsets as official


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


def test_lists_that_are_there_are_checked_and_copied(small_lists, tmp_path):
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
