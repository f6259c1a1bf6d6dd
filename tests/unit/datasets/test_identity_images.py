"""Identities and cameras from names and lists."""

import numpy as np
import pytest
from PIL import Image

from mmsimclr.datasets import IdentityImages
from mmsimclr.errors import InputError, MissingFileError


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)


def facts(dataset) -> list[tuple]:
    return [(info['identity'], info['camera']) for info in map(dataset.get_data_info, range(len(dataset)))]


@pytest.mark.parametrize('name, identity, camera', [
    ('0002_c1s1_000451_03.jpg', '0002', '1'), ('-1_c1s1_000401_03.jpg', '-1', '1'),
    ('0000_c6s3_094992_05.jpg', '0000', '6'), ('000028311/000028311_c2_2.jpg', '000028311', '2'),
    ('0000others/0000others_c1_1.jpg', '0000others', '1'), ('0005_c12_f0051.jpg', '0005', '12')])
def test_names_of_market_1501_and_sysu_30k_are_read(name, identity, camera, tmp_path):
    image(tmp_path / 'query' / name)
    dataset = IdentityImages(str(tmp_path), 'query')
    assert facts(dataset) == [(identity, camera)]
    assert dataset.get_data_info(0)['img_path'] == str(tmp_path / 'query' / name)


def test_folders_may_be_identities_without_cameras(tmp_path):
    for name in ('b/1.jpg', 'a/2.jpg', 'a/deep/3.jpg'):
        image(tmp_path / 'val' / name)
    assert facts(IdentityImages(str(tmp_path), 'val', pattern='(?P<identity>[^/]+)/')) == [
        ('a', ''), ('a', ''), ('b', '')]


def test_a_csv_keeps_its_order_and_may_lack_cameras(tmp_path):
    (tmp_path / 'list.csv').write_text('identity,image\nx,b.jpg\ny,a.jpg\n')
    dataset = IdentityImages(str(tmp_path), 'list.csv')
    assert facts(dataset) == [('x', ''), ('y', '')]
    assert dataset.get_data_info(0)['img_path'] == str(tmp_path / 'b.jpg')


def test_a_name_or_line_without_identity_is_refused_by_name(tmp_path):
    image(tmp_path / 'query' / 'holiday.jpg')
    with pytest.raises(InputError, match=r'query must tell .*holiday\.jpg'):
        IdentityImages(str(tmp_path), 'query')
    (tmp_path / 'list.csv').write_text('image,identity\na.jpg,x\nb.jpg,\n')
    with pytest.raises(InputError, match=r'list\.csv must tell .*b\.jpg'):
        IdentityImages(str(tmp_path), 'list.csv')


@pytest.mark.parametrize('source', ['nowhere', 'nothing.csv'])
def test_a_missing_source_is_named(source, tmp_path):
    with pytest.raises(MissingFileError, match=source):
        IdentityImages(str(tmp_path), source)
