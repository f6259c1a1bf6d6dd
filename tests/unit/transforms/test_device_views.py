import random

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from torch.utils.data import default_collate

from mmsimclr.engine import SampleIndex
from mmsimclr.registry import TRANSFORMS
from mmsimclr.transforms import DeviceViews, PackForDevice, SimCLRView, sample_seed
from mmsimclr.transforms.batch import draw_parameters, sample_seeds, uniforms


def photos(count, height=20, width=28, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


def pack(images, seed=3, epoch=1, first=0, canvas_px=32):
    packed = PackForDevice(canvas_px)
    return default_collate([packed({'img': img, 'sample_idx': SampleIndex(first + i, epoch, seed)})
                            for i, img in enumerate(images)])


def make(batch, rows=slice(None), **arguments):
    samples = batch['data_samples']
    views = DeviceViews(**{'size': 16, **arguments})
    return views(batch['inputs'][rows], *(samples[key][rows] for key in (
        'image_size', 'seed', 'epoch', 'sample_idx')))


def test_stream_is_splitmix64():
    # The first outputs for the seed 1234567, as its reference implementation prints them.
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    found = uniforms(np.array([1234567], np.uint64), 4)[0]
    assert np.array_equal(found, [(value >> 11) / 2**53 for value in expected])


def test_seeds_of_samples_are_multi_views():
    triples = [(0, 0, 0), (1, 2, 3), (2**32 - 1, 1000, 14_000_000), (2**63 - 1, 0, 5)]
    found = sample_seeds(*(np.array(values) for values in zip(*triples, strict=True)))
    assert found.tolist() == [sample_seed(*triple) for triple in triples]


def test_every_place_of_a_box_is_equally_frequent_up_to_the_last_row_and_column():
    boxes = draw_parameters(SimCLRView(4), np.arange(2000, dtype=np.uint64), np.full((2000, 2), 4)).boxes
    for start, length in ((0, 2), (1, 3)):
        places = boxes[boxes[:, length] == 3, start]
        assert len(places) > 500 and set(places) == {0, 1}
        assert 0.45 < places.mean() < 0.55


def test_views_are_float_planes_on_the_0_to_255_scale():
    views = make(pack(photos(5)), num_views=3)
    assert [tuple(view.shape) for view in views] == [(5, 3, 16, 16)] * 3
    assert all(view.dtype == torch.float32 for view in views)
    assert min(view.min() for view in views) >= 0
    assert 200 < max(view.max() for view in views) <= 255


def test_views_of_an_image_differ_from_each_other_and_between_epochs_seeds_and_images():
    same = np.repeat(photos(1), 2, axis=0)
    found = [view[i] for batch in (pack(same), pack(same, epoch=2), pack(same, seed=4))
             for view in make(batch) for i in range(2)]
    assert all((found[i] - found[j]).abs().mean() > 1 for i in range(len(found)) for j in range(i))


@pytest.mark.parametrize('rows', [[4], [6, 1, 4], [0, 1, 2, 3, 4, 5]])
def test_a_view_does_not_depend_on_its_neighbours(rows):
    images = [*photos(4), *photos(3, 31, 17)]
    batch = default_collate([PackForDevice(32)({'img': img, 'sample_idx': SampleIndex(i, 0, 0)})
                             for i, img in enumerate(images)])
    for all_of_view, some_of_view in zip(make(batch), make(batch, rows), strict=True):
        assert_close(some_of_view, all_of_view[rows], rtol=0, atol=1e-3)


@pytest.mark.parametrize('chunk_size', [1, 3, 7])
def test_chunks_change_nothing(chunk_size):
    batch = pack(photos(7))
    for plain, chunked in zip(make(batch), make(batch, chunk_size=chunk_size), strict=True):
        assert_close(chunked, plain, rtol=0, atol=1e-3)


def test_autocast_changes_nothing():
    batch = pack(photos(3))
    with torch.autocast('cpu', torch.bfloat16):
        found = make(batch, size=32)
    assert all(torch.equal(a, b) for a, b in zip(found, make(batch, size=32), strict=True))


@pytest.mark.parametrize('interpolation', ['bicubic', 'bilinear'])
def test_making_views_reads_nothing_on_the_host(interpolation):
    # Meta tensors have no values: whatever would wait for the device raises.
    views = DeviceViews(size=32, interpolation=interpolation)
    parameters = draw_parameters(views, np.arange(20, dtype=np.uint64), np.full((20, 2), 40))
    assert parameters.grey.any() and parameters.sigma_px.any()
    found = views.render(torch.empty(20, 40, 40, 3, dtype=torch.uint8, device='meta'), parameters)
    assert (found.device.type, tuple(found.shape)) == ('meta', (40, 32, 3, 32))


def test_views_leave_all_generators_alone():
    batch = pack(photos(3))
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    first = make(batch)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[:2]
    assert torch.equal(torch.get_rng_state(), before[2])
    random.seed(9)
    torch.manual_seed(9)
    assert all(torch.equal(a, b) for a, b in zip(first, make(batch), strict=True))


def test_pixels_of_the_canvas_outside_of_the_image_are_not_seen():
    batch = pack([photos(1)[0], photos(1, 30, 12, seed=1)[0]])
    clean = make(batch)
    batch['inputs'][0, 20:] = batch['inputs'][0, :, 28:] = 255
    batch['inputs'][1, 30:] = batch['inputs'][1, :, 12:] = 255
    assert all(torch.equal(a, b) for a, b in zip(clean, make(batch), strict=True))


def test_without_randomness_a_view_is_the_whole_image_or_its_mirror():
    img = photos(1, 16, 16)[0]
    batch = default_collate([PackForDevice(16)({'img': img, 'sample_idx': SampleIndex(i, 0, 0)})
                             for i in range(24)])
    views = DeviceViews(size=16, strength=0, blur=False, scale=(1, 1))
    views.steps[0].ratio = (1, 1)
    views.steps[3].prob = 0
    samples = batch['data_samples']
    found, _ = views(batch['inputs'], *(samples[k] for k in ('image_size', 'seed', 'epoch', 'sample_idx')))
    plain = torch.from_numpy(img).permute(2, 0, 1).float()
    assert all(torch.equal(view, plain) or torch.equal(view, plain.flip(2)) for view in found)
    assert 4 < sum(torch.equal(view, plain) for view in found) < 20


def test_what_bicubic_overshoots_at_edges_is_clipped_without_jitter_too():
    edges = np.where(photos(8) > 127, 255, 0).astype(np.uint8)
    views = torch.cat(make(pack(edges), strength=0, blur=False))
    assert views.min() > -1e-3 and views.max() < 255.001


def test_strength_zero_keeps_the_colours_and_no_blur_the_edges():
    plain = np.broadcast_to(np.array([200, 100, 50], np.uint8), (40, 20, 28, 3))
    kept = torch.cat(make(pack(plain), strength=0))[:, :, 0, 0].round().int().tolist()
    assert {tuple(colour) for colour in kept} == {(200, 100, 50), (124, 124, 124)}      # as it was, or grey
    sharp, blurred = (torch.cat(make(pack(photos(40)), strength=0, blur=blur, size=32))
                      for blur in (False, True))
    changed = (sharp - blurred).abs().amax(dim=(1, 2, 3)) > 1
    assert 20 < changed.sum() < 60                              # half of the 80 views


def test_an_image_larger_than_the_canvas_is_reduced_to_it():
    ramp = np.broadcast_to(np.linspace(0, 255, 200)[:, None, None], (200, 100, 3)).astype(np.uint8)
    packed = PackForDevice(64)({'img': ramp, 'sample_idx': 0})
    assert packed['data_samples']['image_size'].tolist() == [64, 32]
    assert tuple(packed['inputs'].shape) == (64, 64, 3)
    column = packed['inputs'][:, 16, 0].float()
    assert (column.diff() > 2).all() and column[0] < 5 and column[-1] > 250
    assert not packed['inputs'][:, 32:].any()


def test_pack_carries_what_the_views_are_a_function_of():
    samples = pack(photos(2), seed=7, epoch=5, first=10)['data_samples']
    assert {key: value.tolist() for key, value in samples.items()} == {
        'sample_idx': [10, 11], 'epoch': [5, 5], 'seed': [7, 7], 'image_size': [[20, 28]] * 2}


def test_an_index_without_a_seed_draws_one():
    random.seed(0)
    img = photos(1)[0]
    seeds = {PackForDevice(32)({'img': img, 'sample_idx': 0})['data_samples']['seed'] for _ in range(5)}
    random.seed(0)
    assert len(seeds) == 5
    assert PackForDevice(32)({'img': img})['data_samples']['seed'] in seeds


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(antialias=False), "have antialias True, got False; .*views='loader'"),
    (dict(style='official'), "have style 'torchvision', got 'official'"),
    (dict(additive_brightness=True), 'have additive_brightness False'),
    (dict(interpolation='nearest'), "have interpolation 'bilinear' or 'bicubic', got 'nearest'"),
    (dict(strength=3), r'strength must be in \[0, 2.5\]'),
    (dict(num_views=0), 'num_views must be an integer >= 1'),
    (dict(chunk_size=0), 'chunk_size must be an integer >= 1')])
def test_what_the_device_cannot_make_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        TRANSFORMS.build(dict(type='DeviceViews', **arguments))


@pytest.mark.parametrize('canvas, size, sizes', [
    (32, 32, [300]), (8, 512, [128, 128, 44]), (512, 32, [128, 128, 44]), (8, 2048, [8] * 37 + [4])])
def test_pieces_are_as_large_as_the_images_are_small(canvas, size, sizes, monkeypatch):
    views, seen = DeviceViews(size=size), []

    def render(images, parameters):
        seen.append(len(images))
        return torch.zeros(2 * len(images), 1, 3, 1)

    monkeypatch.setattr(views, 'render', render)
    count = 300
    views(torch.zeros(1, 1, 1, 3, dtype=torch.uint8).expand(count, canvas, canvas, 3),
          torch.full((count, 2), canvas), *(torch.zeros(count, dtype=torch.int64) for _ in range(3)))
    assert seen == sizes
