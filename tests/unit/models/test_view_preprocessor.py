import pytest
import torch
from mmengine.dataset import pseudo_collate
from torch.testing import assert_close
from torch.utils.data import default_collate
from torchvision.transforms.functional import normalize

from mmsimclr.engine import SampleIndex
from mmsimclr.models import ViewPreprocessor
from mmsimclr.registry import MODELS, TRANSFORMS

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def image(seed: int, side: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (3, side, side + 1), dtype=torch.uint8, generator=generator)


def test_default_scales_uint8_to_the_unit_interval():
    batch = torch.stack([image(0), image(1)])
    got = ViewPreprocessor()(dict(inputs=batch))['inputs']
    assert got.dtype == torch.float32
    assert_close(got, batch / 255.0)


@pytest.mark.parametrize('channels_last', [False, True])
def test_mean_and_std_equal_torchvisions_normalize(channels_last):
    batch = torch.stack([image(0), image(1)])
    got = ViewPreprocessor(MEAN, STD, channels_last)(dict(inputs=batch))['inputs']
    assert_close(got, normalize(batch.float(), MEAN, STD))
    assert got.is_contiguous(memory_format=torch.channels_last) == channels_last


@pytest.mark.parametrize('collate', [default_collate, pseudo_collate])
def test_views_stay_apart_and_in_order_after_either_collation(collate):
    items = [dict(inputs=[image(i), image(10 + i, side=6)], data_samples=dict(sample_idx=i))
             for i in range(3)]
    data = ViewPreprocessor()(collate(items))
    assert [tuple(view.shape) for view in data['inputs']] == [(3, 3, 4, 5), (3, 3, 6, 7)]
    for i in range(3):
        assert_close(data['inputs'][0][i], image(i) / 255.0)
        assert_close(data['inputs'][1][i], image(10 + i, side=6) / 255.0)
    assert torch.as_tensor(data['data_samples']['sample_idx']).tolist() == [0, 1, 2]


def test_single_images_are_stacked():
    data = ViewPreprocessor()(pseudo_collate([dict(inputs=image(i)) for i in range(3)]))
    assert_close(data['inputs'], torch.stack([image(i) for i in range(3)]) / 255.0)
    assert data['data_samples'] is None


def test_float_inputs_are_not_changed_in_place():
    batch = torch.rand(2, 3, 4, 4)
    before = batch.clone()
    ViewPreprocessor(MEAN, STD)(dict(inputs=batch))
    assert torch.equal(batch, before)


def test_statistics_are_no_part_of_the_checkpoint():
    assert not MODELS.build(dict(type='ViewPreprocessor', mean=MEAN, std=STD)).state_dict()


@pytest.mark.parametrize('arguments', [dict(mean=(0., 0.)), dict(std=(1., 1., 0.)), dict(std=())])
def test_wrong_statistics_are_refused(arguments):
    with pytest.raises(ValueError, match='a value for each channel, std > 0'):
        ViewPreprocessor(**arguments)


@pytest.mark.parametrize('shape', [(2, 1, 4, 4), (2, 4, 4, 3)])
def test_images_of_another_layout_are_refused(shape):
    with pytest.raises(ValueError, match=r'must be \[N, 3, H, W\], got'):
        ViewPreprocessor()(dict(inputs=torch.zeros(shape)))


def packed(count: int = 5) -> dict:
    pack = TRANSFORMS.build(dict(type='PackForDevice', canvas_px=12))
    images = [image(i, side=8).permute(1, 2, 0).numpy() for i in range(count)]
    return default_collate([pack({'img': img, 'sample_idx': SampleIndex(i, epoch=2, seed=1)})
                            for i, img in enumerate(images)])


def test_views_of_a_training_batch_are_made_of_whole_images():
    views = dict(type='DeviceViews', num_views=3, size=6)
    data = ViewPreprocessor(MEAN, STD, channels_last=True, views=views)(packed(), training=True)
    samples = packed()['data_samples']
    expected = TRANSFORMS.build(views)(packed()['inputs'], *(
        samples[key] for key in ('image_size', 'seed', 'epoch', 'sample_idx')))
    assert len(data['inputs']) == 3
    for got, want in zip(data['inputs'], expected, strict=True):
        assert_close(got, normalize(want, MEAN, STD), rtol=1e-5, atol=1e-5)
        assert got.is_contiguous(memory_format=torch.channels_last)
    assert data['data_samples']['sample_idx'].tolist() == [0, 1, 2, 3, 4]


def test_images_of_an_evaluation_are_not_made_into_views():
    preprocessor = ViewPreprocessor(views=dict(type='DeviceViews', size=6))
    data = preprocessor(pseudo_collate([dict(inputs=image(i)) for i in range(3)]), training=False)
    assert_close(data['inputs'], torch.stack([image(i) for i in range(3)]) / 255.0)


def test_views_made_in_the_loader_as_well_are_refused():
    preprocessor = ViewPreprocessor(views=dict(type='DeviceViews', size=6))
    for batch in (dict(inputs=[torch.stack([image(0)])] * 2), dict(inputs=torch.stack([image(0)])),
                  dict(inputs=packed()['inputs'], data_samples=dict(sample_idx=torch.arange(5)))):
        with pytest.raises(ValueError, match='end the pipeline with PackForDevice'):
            preprocessor(batch, training=True)


def test_views_can_be_bfloat16_rounded_once():
    views = dict(type='DeviceViews', size=6)
    single, half = (ViewPreprocessor(MEAN, STD, views=views, dtype=dtype)(packed(), training=True)['inputs']
                    for dtype in ('float32', 'bfloat16'))
    assert all(torch.equal(view.bfloat16(), rounded) for view, rounded in zip(single, half, strict=True))
    with pytest.raises(ValueError, match="dtype must be one of 'float32', 'bfloat16', 'float16', got 'int8'"):
        ViewPreprocessor(dtype='int8')
