"""Birdsnap's lists, and images that can no longer be had."""

import numpy as np
import pytest
from PIL import Image

from mmsimclr.datasets import Birdsnap

IMAGES = {'Blue_Jay/1.jpg': 9, 'Blue_Jay/2.jpg': 9, 'Acorn/3.jpg': 10, 'Acorn/4.jpg': 10, 'Acorn/5.jpg': 10}


def write_release(root, folder: str = 'download/images', left_out: tuple = ()) -> str:
    # Ids are numbers: as text, 10 would come before 9.
    (root / 'species.txt').write_text(
        'id\tcommon\tscientific\tdir\n10\tAcorn\tx\tAcorn\n9\tBlue Jay\ty\tBlue_Jay\n')
    (root / 'images.txt').write_text('url\tmd5\tpath\tspecies_id\n' + ''.join(
        f'http://x\t0\t{path}\t{species}\n' for path, species in IMAGES.items()))
    (root / 'test_images.txt').write_text('path\nBlue_Jay/2.jpg\nAcorn/4.jpg\n')
    for path in IMAGES:
        if path not in left_out:
            (root / folder / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(root / folder / path)
    return str(root)


def items(dataset) -> dict:
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return {'/'.join(info['img_path'].split('/')[-2:]): info['gt_label'] for info in infos}


@pytest.mark.parametrize('folder', ['images', 'download/images'])
def test_the_test_list_parts_the_images_and_species_are_numbered_by_id(tmp_path, folder):
    root = write_release(tmp_path, folder)
    assert items(Birdsnap(root, 'test')) == {'Blue_Jay/2.jpg': 0, 'Acorn/4.jpg': 1}
    train = Birdsnap(root, 'train')
    assert items(train) == {'Blue_Jay/1.jpg': 0, 'Acorn/3.jpg': 1, 'Acorn/5.jpg': 1}
    assert train.metainfo['classes'] == ('Blue Jay', 'Acorn') and train.num_missing == 0


def test_images_that_are_not_there_are_counted(tmp_path):
    train = Birdsnap(write_release(tmp_path, left_out=('Acorn/3.jpg',)), 'train')
    assert items(train) == {'Blue_Jay/1.jpg': 0, 'Acorn/5.jpg': 1}
    assert train.num_missing == 1


def test_what_is_missing_or_malformed_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no .*species.txt.*thomasberg.org'):
        Birdsnap(str(tmp_path))
    root = write_release(tmp_path, left_out=tuple(IMAGES))
    with pytest.raises(FileNotFoundError, match='none of the 3 images of the train split'):
        Birdsnap(root)
    (tmp_path / 'test_images.txt').write_text('name\nx\n')
    with pytest.raises(ValueError, match='columns path'):
        Birdsnap(root)
    with pytest.raises(ValueError, match="got 'val'"):
        Birdsnap(root, 'val')
