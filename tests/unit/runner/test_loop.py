"""Resuming inside an epoch: nothing is decoded again, and all generators go on where they were."""

import random
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from killable_runs import NoisyLossForKillTest
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop
from PIL import Image
from tiny_run import log_of, tiny_config

from mmsimclr.datasets import Shapes
from mmsimclr.engine import SeededSampler
from mmsimclr.prepare.shards import write_shards
from mmsimclr.registry import DATASETS, HOOKS
from mmsimclr.runner import ResumableTrainLoop, build_runner, random_state, set_random_state
from mmsimclr.runner.loop import copied_beside


@DATASETS.register_module()
class CountingShapesForLoopTest(Shapes):
    """Shapes that remembers which images were asked for."""

    asked: list[int] = []

    def __getitem__(self, index):
        self.asked.append(int(index))
        return super().__getitem__(index)


@HOOKS.register_module()
class PlacesForLoopTest(Hook):
    """Remembers the places in their epochs that the iterations had."""

    places: list[int] = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.places.append(batch_idx)


def run(work_dir, batches_done: int | None = None, sampler: str = 'SeededSampler', **changes):
    """Train two epochs of four batches, from the checkpoint of some batch on."""
    config = tiny_config(
        work_dir, train_cfg=dict(by_epoch=True, max_epochs=2),
        param_scheduler=[dict(type='WarmupCosineLR', warmup=1, total=2, convert_to_iter_based=True)],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1)))
    config.train_dataloader.batch_size = 4
    config.model.head.loss = dict(type=NoisyLossForKillTest)            # draws in each step
    config.train_dataloader.dataset.type = 'CountingShapesForLoopTest'
    config.train_dataloader.sampler.type = sampler
    if batches_done is not None:
        config.resume, config.load_from = True, str(work_dir.parent / 'whole' / f'iter_{batches_done}.pth')
    config.merge_from_dict(changes)
    CountingShapesForLoopTest.asked.clear()
    PlacesForLoopTest.places.clear()
    config.custom_hooks.append(dict(type='PlacesForLoopTest'))
    runner = build_runner(config)
    runner.train()
    return runner, list(CountingShapesForLoopTest.asked)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp('loop')
    runner, asked = run(folder / 'whole')
    return folder, runner.model.state_dict(), asked


@pytest.mark.parametrize('done', [1, 3, 4, 6, 8])
def test_only_images_that_were_not_seen_are_decoded_and_no_bit_differs(done, whole):
    folder, weights, order = whole
    runner, asked = run(folder / f'resumed{done}', done)
    assert len(order) == 32 and asked == order[4 * done:]
    assert runner.iter == 8 and runner.epoch == 2
    assert PlacesForLoopTest.places == [0, 1, 2, 3, 0, 1, 2, 3][done:]
    for name, value in runner.model.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert f'{(done - 1) % 4 + 1} of 4 steps are done and passed over' in log_of(folder / f'resumed{done}')


def test_another_sampler_loads_them_again_and_says_so(whole):
    folder, _, _ = whole
    _, asked = run(folder / 'default', 6, 'DefaultSampler', allow_changed=['train_dataloader.sampler'])
    assert len(asked) == 16
    said = '2 of 4 steps are done; their images are loaded again and dropped: DefaultSampler'
    assert said in log_of(folder / 'default')


def test_a_run_resumed_between_epochs_has_the_same_bits(tmp_path):
    """What its steps draw too: the generators go on, they do not begin again."""
    changes = {'default_hooks.checkpoint.by_epoch': True}
    whole, order = run(tmp_path / 'whole', **changes)
    resumed, asked = run(tmp_path / 'resumed', **changes, resume=True,
                         load_from=str(tmp_path / 'whole' / 'epoch_1.pth'))
    assert resumed.iter == 8 and asked == order[16:]
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, whole.model.state_dict()[name]), name


@pytest.mark.parametrize('kind', [EpochBasedTrainLoop, 'EpochBasedTrainLoop'])
def test_the_loop_of_mmengine_by_name_is_this_one(kind, whole, tmp_path):
    folder, _, order = whole
    loop = dict(_delete_=True, type=kind, max_epochs=2)
    runner, asked = run(folder / f'by_name_{kind}', 6, train_cfg=loop)
    assert isinstance(runner.train_loop, ResumableTrainLoop) and asked == order[24:] and runner.iter == 8


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """Sixteen images as files, and the same in shards."""
    folder = tmp_path_factory.mktemp('images')
    for number in range(16):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        (folder / 'files').mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / 'files' / f'{number:02d}.png')
    write_shards(folder / 'files', folder / 'shards', images_per_shard=5, report=lambda line: None)
    (folder / 'files' / '05.png').write_bytes(b'no image')
    return folder


KINDS = {
    'files': ('UnlabeledImageFolder', 'files', 'loader'), 'files on the device': (
        'UnlabeledImageFolder', 'files', 'device'),
    'shards': ('WebDatasetShards', 'shards', 'loader'), 'shards on the device': (
        'WebDatasetShards', 'shards', 'device'),
    'in memory': ('Shapes', None, 'device')}


@pytest.mark.slow
@pytest.mark.parametrize('kind, num_workers', [*((kind, 0) for kind in KINDS), ('files', 2), (
    'shards on the device', 2)])
def test_every_kind_of_data_goes_on_inside_an_epoch_in_the_same_bits(kind, num_workers, images, tmp_path):
    """One of the files is bad: what stands in for it must be the same too."""
    dataset, place, views = KINDS[kind]
    changes = dict(views=views, train_dataloader__num_workers=num_workers)
    changes = {key.replace('__', '.'): value for key, value in changes.items()}
    config = tiny_config(tmp_path).train_dataloader.dataset
    if place:
        changes['train_dataloader.dataset'] = dict(
            _delete_=True, type=dataset, data_root=str(images / place),
            pipeline=[dict(type='LoadImage'), *config.pipeline])
        changes['bad_images'] = dict(max_fraction=0.2)
    else:
        changes['train_dataloader.dataset.type'] = dataset
    whole, _ = run(tmp_path / 'whole', **changes)
    for done in (3, 5):
        resumed, _ = run(tmp_path / f'resumed{done}', done, **changes)
        assert resumed.iter == 8
        for name, value in whole.model.state_dict().items():
            assert torch.equal(resumed.model.state_dict()[name], value), (done, name)
    if place:
        assert [each.message_hub.get_info('unreadable_images') for each in (whole, resumed)] == [
            [5] if place == 'files' else []] * 2


def test_a_sampler_passes_over_samples_once():
    sampler = SeededSampler(range(10), shuffle=True, seed=1)
    order = list(sampler)
    sampler.pass_over(7)
    assert list(sampler) == order[7:] and list(sampler) == order


def test_all_generators_go_on_where_they_were():
    def draw():
        return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(()).item()

    random.gauss(0, 1)                                        # half of a pair is kept in the state
    np.random.randn()
    state = random_state()
    want = draw()
    draw()
    set_random_state(state)
    assert draw() == want


def test_batches_copied_beside_a_step_are_waited_for_and_those_of_other_models_pass(monkeypatch):
    """Streams are stood in for; on a GPU: tests/gpu."""
    waited, recorded = [], []
    computing = SimpleNamespace(wait_stream=waited.append)
    monkeypatch.setattr(torch.cuda, 'Stream', lambda device: 'beside')
    monkeypatch.setattr(torch.cuda, 'current_stream', lambda device: computing)
    monkeypatch.setattr(torch.cuda, 'stream', lambda stream: nullcontext())
    monkeypatch.setattr(torch.Tensor, 'record_stream', lambda tensor, stream: recorded.append(stream))
    given = [dict(inputs=[torch.full((2,), number)] * 2, data_samples=number) for number in range(3)]
    *got, other = copied_beside([*given, ['of another model']], torch.device('cpu'))
    assert other == ['of another model'] and waited == ['beside'] * 3 and recorded == [computing] * 6
    for batch, want in zip(got, given, strict=True):
        assert batch['data_samples'] == want['data_samples']
        assert all(torch.equal(*pair) for pair in zip(batch['inputs'], want['inputs'], strict=True))
