"""The commands of tools/prepare_data do their work, or say in words why they cannot."""

import runpy
import sys

import pytest
from tiny_cifar10 import TinyCIFAR10
from tiny_folder import write_folder


@pytest.fixture
def tool(root, monkeypatch, capsys):
    """Run a command; return whether it succeeded, and its words."""
    def run(name, *arguments):
        monkeypatch.setattr(sys, 'argv', [name, *map(str, arguments)])
        try:
            runpy.run_path(str(root / f'tools/prepare_data/{name}.py'), run_name='__main__')
            status = 0
        except SystemExit as end:
            status = end.code
        printed = capsys.readouterr()
        return status in (0, None), f'{printed.out}{printed.err}{status or ""}'

    return run


def test_cifar10(tool, tmp_path, monkeypatch):
    tiny = TinyCIFAR10()
    tiny.make_official(monkeypatch)
    source = tiny.write_pickled(tmp_path / 'package')
    done, said = tool('cifar10', '--data-root', tmp_path / 'root', '--source', source)
    assert done and 'all batches verified' in said
    assert (tmp_path / 'root/cifar-10-batches-bin/test_batch.bin').read_bytes() == tiny.binary('test_batch')
    done, said = tool('cifar10', '--data-root', tmp_path / 'other', '--source', tmp_path / 'no')
    assert not done and f'error: {tmp_path}/no does not exist' in said


def test_shapes(tool, tmp_path):
    done, said = tool('shapes', 'coco', tmp_path / 'out', '--train', 3, '--val', 2, '--image-size', 32)
    assert done and '3 train images, 2 val images' in said
    assert len(list((tmp_path / 'out' / 'train2017').iterdir())) == 3
    assert not (tmp_path / 'out' / 'test2017').exists()


def test_shards(tool, tmp_path):
    write_folder(tmp_path / 'images')
    out = tmp_path / 'out'
    done, said = tool('shards', 'write', tmp_path / 'images', out, '--labels', '--images-per-shard', 6)
    assert done and said.endswith(f'{out}: 11 images in 2 shards\n')
    (out / 'index.npz').unlink()
    assert tool('shards', 'index', out) == (True, f'{out}: 11 images in 2 shards\n')
    assert (out / 'index.npz').is_file()
    done, said = tool('shards', 'write', tmp_path / 'nowhere', out)
    assert not done and 'does not exist' in said
