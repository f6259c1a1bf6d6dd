"""Features that several processes write are those of one, row for row."""

import hashlib
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from processes import run_ranks

from mmsimclr import distributed
from mmsimclr.checkpoints import UNIT_RANGE
from mmsimclr.features import Embedder, extract_to_files
from mmsimclr.features.store import FeatureStore
from mmsimclr.models import ResNet

pytestmark = pytest.mark.slow
BATCH_SIZE = 4


class Stopped(Exception):
    pass


def extract(folder: Path, out: Path, stop_rank: int | None = None, **options) -> tuple[int, str]:
    """Extract with what ranks there are; return how many images this one embedded, and what it was told."""
    torch.manual_seed(0)
    backbone = ResNet(depth=18, base_channels=4, stem='cifar', out_indices=('stem', 3))
    embedder = Embedder(backbone, 'cpu', stages=('pooled', 'stem'), batch_size=BATCH_SIZE, input=UNIT_RANGE,
                        resize_px=8, crop_px=8)
    seen = []

    def count(module, inputs, output):
        seen.append(len(inputs[0]))
        if distributed.rank() == stop_rank and len(seen) == 2:
            raise Stopped
    backbone.register_forward_hook(count)
    reports = []
    extract_to_files(embedder, folder, out, commit_s=0,
                     progress=lambda done, total: reports.append((done, total)), **options)
    return sum(seen), str(reports[-1:])


def content(out: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in ([out] if out.is_file() else out.iterdir())}


@pytest.fixture
def folder(tmp_path) -> Path:
    """Twenty-one images: six batches, the last of one image."""
    for number in range(21):
        path = tmp_path / 'images' / f'{number % 2}' / f'{number:02}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return tmp_path / 'images'


@pytest.mark.parametrize('world_size, form', [(2, 'feats.npz'), (4, 'feats')])
def test_ranks_share_the_work_and_the_file_is_that_of_one_process(folder, tmp_path, form, world_size):
    extract(folder, tmp_path / 'want' / form)
    results = run_ranks(extract, world_size, folder, tmp_path / form, folder=tmp_path / 'ranks')
    assert [images for images, _ in results] == {2: [12, 9], 4: [4, 8, 4, 5]}[world_size]
    assert content(tmp_path / form) == content(tmp_path / 'want' / form)
    assert [told for _, told in results[1:]] == ['[]'] * (world_size - 1), 'only rank 0 reports progress'


def test_more_ranks_than_batches_are_no_harm(folder, tmp_path):
    few = folder / '0'
    for path in sorted(few.iterdir())[BATCH_SIZE + 1:]:
        path.unlink()
    extract(few, tmp_path / 'want')
    results = run_ranks(extract, 4, few, tmp_path / 'feats', folder=tmp_path / 'ranks')
    assert sorted(images for images, _ in results) == [0, 0, 1, 4]
    assert content(tmp_path / 'feats') == content(tmp_path / 'want')


def test_what_one_process_left_two_finish_and_what_two_left_one_finishes(folder, tmp_path):
    extract(folder, tmp_path / 'want')
    with pytest.raises(Stopped):
        extract(folder, tmp_path / 'a', stop_rank=0)
    results = run_ranks(extract, 2, folder, tmp_path / 'a', folder=tmp_path / 'two')
    assert [images for images, _ in results] == [8, 9]             # one batch of the six was done
    assert content(tmp_path / 'a') == content(tmp_path / 'want')

    with pytest.raises(AssertionError, match=r'rank [01] of 2 raised'):
        run_ranks(extract, 2, folder, tmp_path / 'b', 1, folder=tmp_path / 'stopped')
    assert FeatureStore(tmp_path / 'b').num_done() == 16
    assert extract(folder, tmp_path / 'b')[0] == 5
    assert content(tmp_path / 'b') == content(tmp_path / 'want')


def test_unreadable_images_that_several_ranks_find_are_left_out_once(folder, tmp_path):
    for name in ('0/02.png', '1/15.png', '1/19.png'):
        (folder / name).write_bytes(b'no image')
    one, two = tmp_path / 'one', tmp_path / 'two'
    extract(folder, one, skip_unreadable=True)
    run_ranks(extract_skipping, 2, folder, two, folder=tmp_path / 'ranks')
    assert content(two) == content(one)
    assert len(np.load(two / 'paths.npy')) == 18


def test_a_rank_that_comes_late_takes_its_share_all_the_same(folder, tmp_path):
    extract(folder, tmp_path / 'want')
    results = run_ranks(extract_late, 2, folder, tmp_path / 'feats', folder=tmp_path / 'ranks')
    assert [images for images, _ in results] == [12, 9]
    assert content(tmp_path / 'feats') == content(tmp_path / 'want')


def extract_late(folder: Path, out: Path) -> tuple[int, str]:
    time.sleep(distributed.rank())
    return extract(folder, out)


def extract_skipping(folder: Path, out: Path) -> tuple[int, str]:
    return extract(folder, out, skip_unreadable=True)
