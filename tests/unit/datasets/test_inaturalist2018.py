"""iNaturalist 2018 from its annotations."""

import json

import pytest

from mmsimclr.datasets import INaturalist2018


def write(folder, **changes):
    content = dict(
        images=[dict(id=7, file_name='train_val2018/Aves/2/b.jpg'),
                dict(id=3, file_name='train_val2018/a.jpg')],
        annotations=[dict(image_id=3, category_id=8141), dict(image_id=7, category_id=2)])
    (folder / 'train2018.json').write_text(json.dumps({**content, **changes}))


def test_images_have_the_labels_of_their_annotations(tmp_path):
    write(tmp_path)
    dataset = INaturalist2018(tmp_path, 'train')
    items = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [(item['img_path'], item['gt_label']) for item in items] == [
        (f'{tmp_path}/train_val2018/Aves/2/b.jpg', 2), (f'{tmp_path}/train_val2018/a.jpg', 8141)]
    assert len(dataset.metainfo['classes']) == 8142


def test_what_is_not_there_or_not_of_that_year_is_refused(tmp_path):
    write(tmp_path, annotations=[dict(image_id=3, category_id=8142), dict(image_id=7, category_id=2)])
    with pytest.raises(ValueError, match='has the class 8142, and classes must be from 0 to 8141'):
        INaturalist2018(tmp_path, 'train')
    write(tmp_path, annotations=[])
    with pytest.raises(ValueError, match='no annotation file of iNaturalist 2018'):
        INaturalist2018(tmp_path, 'train')
    with pytest.raises(FileNotFoundError, match=r'val2018\.json\. Fetch .*inat_comp'):
        INaturalist2018(tmp_path, 'val')
    with pytest.raises(ValueError, match="split must be one of 'train', 'val', got 'test'"):
        INaturalist2018(tmp_path, 'test')
