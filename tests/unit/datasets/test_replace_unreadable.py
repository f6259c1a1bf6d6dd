"""Unreadable training images: which ones take their place, that they are counted, and bounded."""

import errno
import logging
import random

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from PIL import Image
from tiny_run import PACK_IMAGE, log_of, tiny_config, tiny_runner
from torch.utils.data import DataLoader

from mmsimclr.config import check_config
from mmsimclr.datasets import ReplaceUnreadable, UnlabeledImageFolder
from mmsimclr.engine import SampleIndex, UnreadableImagesHook
from mmsimclr.protocols.pretraining import num_unreadable
from mmsimclr.registry import DATASETS
from mmsimclr.runner import build_runner
from mmsimclr.transforms import LoadImage, MultiView, PackViews, RandomResizedCrop

NUM_IMAGES, BAD = 20, (3, 4, 17)


@pytest.fixture
def folder(tmp_path):
    for number in range(NUM_IMAGES):
        noise = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        path = tmp_path / 'images' / f'{number:02d}.png'
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(noise).save(path)
        if number in BAD:
            path.write_bytes(path.read_bytes()[:200])
    return tmp_path / 'images'


def named(folder, max_fraction=0.2):
    """Items are the names of the images that were read."""
    return ReplaceUnreadable(UnlabeledImageFolder(str(folder), pipeline=[
        LoadImage(), lambda item: (int(item['img_path'][-6:-4]), int(item['sample_idx']))]), max_fraction)


def views_of(folder):
    return dict(type='UnlabeledImageFolder', data_root=str(folder), pipeline=[
        dict(type=LoadImage), dict(type=MultiView, transforms=[dict(type=RandomResizedCrop, size=16)]),
        dict(type=PackViews, keys=['sample_idx'])])


def test_only_unreadable_images_are_replaced_and_by_readable_ones(folder):
    dataset = named(folder)
    got = [dataset[SampleIndex(i, epoch=0, seed=0)][0] for i in range(NUM_IMAGES)]
    assert [i for i in range(NUM_IMAGES) if got[i] != i] == list(BAD)
    assert not set(got) & set(BAD) and len(dataset) == NUM_IMAGES
    assert dataset.unreadable.nonzero().flatten().tolist() == list(BAD)


def test_the_replacement_follows_from_seed_epoch_and_index_and_from_nothing_else(folder):
    asked = [SampleIndex(i, epoch, seed) for seed in (0, 1) for epoch in range(6) for i in BAD]
    expected = [named(folder)[index] for index in asked]              # each by a dataset that knows nothing
    for seed, order in enumerate((asked, asked[::-1])):
        random.seed(seed)
        torch.manual_seed(seed)
        dataset = named(folder)
        got = {id(index): dataset[index] for index in order}
        assert [got[id(index)] for index in asked] == expected
    by_epoch = {tuple(place for place, _ in expected[start:start + 3]) for start in range(0, 36, 3)}
    assert len(by_epoch) > 6, 'always the same images stand in for the unreadable ones'


def test_drawing_a_replacement_leaves_the_global_generators_alone(folder):
    dataset = named(folder)
    random.seed(5)
    state = random.getstate()
    dataset[BAD[0]]
    assert random.getstate() == state


def test_views_of_a_replacement_differ_from_those_in_its_own_place(folder):
    dataset = ReplaceUnreadable(DATASETS.build(views_of(folder)), 0.2)
    place, _ = named(folder)[SampleIndex(3, 0, 0)]
    stand_in, own = dataset[SampleIndex(3, 0, 0)], dataset[SampleIndex(place, 0, 0)]
    again = ReplaceUnreadable(DATASETS.build(views_of(folder)), 0.2)[SampleIndex(3, 0, 0)]
    assert stand_in['data_samples'] == own['data_samples'] == {'sample_idx': place}
    assert not torch.equal(stand_in['inputs'][0], own['inputs'][0])
    assert torch.equal(stand_in['inputs'][0], again['inputs'][0])


@pytest.mark.parametrize('num_workers', [0, 2])
def test_workers_count_together(folder, num_workers):
    dataset = named(folder)
    loader = DataLoader(dataset, 4, num_workers=num_workers, collate_fn=list)
    got = [item for batch in loader for item in batch]
    assert got == [named(folder)[i] for i in range(NUM_IMAGES)]
    assert int(dataset.unreadable.sum()) == len(BAD)


def test_more_than_the_allowed_part_is_an_error_that_says_what_to_do(folder):
    dataset = named(folder, 0.1)                                      # 2 of 20
    dataset[3], dataset[4]
    with pytest.raises(RuntimeError, match=r'3 of 20 .*max_fraction=0\.1 allows 2'):
        dataset[17]
    dataset = named(folder, 0.15)                                     # 3 of 20
    assert len([dataset[i] for i in range(NUM_IMAGES)]) == NUM_IMAGES


@pytest.mark.parametrize('error', [ValueError('no OSError'), OSError(errno.EMFILE, 'Too many open files'),
                                   MemoryError()])
def test_other_errors_and_shortages_of_the_machine_are_raised(folder, error):
    def fail(item):
        raise error

    dataset = ReplaceUnreadable(UnlabeledImageFolder(str(folder), pipeline=[fail]), 0.5)
    with pytest.raises(type(error)):
        dataset[0]
    assert not dataset.unreadable.any()


@pytest.mark.parametrize('fraction', [0, 1, -0.1])
def test_a_fraction_out_of_range_is_refused(folder, fraction):
    with pytest.raises(ValueError, match='max_fraction must be > 0 and < 1'):
        named(folder, fraction)


def test_images_to_test_on_are_never_replaced(folder):
    with pytest.raises(ValueError, match='must not be replaced'):
        ReplaceUnreadable(UnlabeledImageFolder(str(folder), test_mode=True), 0.1)


def test_datasets_of_mmpretrain_keep_their_labels_and_classes(folder, tmp_path):
    for number in range(NUM_IMAGES):
        place = tmp_path / 'classes' / 'ab'[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        (folder / f'{number:02d}.png').rename(place / f'{number:02d}.png')
    dataset = ReplaceUnreadable(dict(
        type='mmpretrain.CustomDataset', data_root=str(tmp_path / 'classes'), with_label=True,
        pipeline=[dict(type=LoadImage), *PACK_IMAGE]), 0.2)
    assert dataset.metainfo['classes'] == ('a', 'b')
    assert sorted(dataset.get_gt_labels()) == [0] * 10 + [1] * 10
    for place in range(NUM_IMAGES):
        samples = dataset[SampleIndex(place, 0, 0)]['data_samples']
        assert samples['gt_label'] == dataset.get_gt_labels()[samples['sample_idx']]
    assert int(dataset.unreadable.sum()) == len(BAD)


def loader_of(folder, **changes):
    return dict(batch_size=5, num_workers=0, drop_last=True, sampler=dict(type='SeededSampler', shuffle=True),
                dataset=views_of(folder), **changes)


@pytest.mark.slow
def test_the_policy_of_a_config_counts_in_log_result_and_checkpoint_and_a_resumed_run_counts_on(
        folder, tmp_path):
    changes = dict(bad_images=dict(max_fraction=0.2), train_dataloader=loader_of(folder))
    runner = tiny_runner(tmp_path / 'run', **changes)
    runner.train()
    assert runner.iter == 4
    assert num_unreadable(runner) == dict(train_unreadable=3)
    log = log_of(tmp_path / 'run')
    assert '3 of 20 training images cannot be read' in log and log.count('is taken in its place') == 3
    assert '03.png' in log and '17.png' in log

    # Repaired meanwhile: only what the first run kept can tell of the three.
    for number in BAD:
        (folder / f'{number:02d}.png').write_bytes((folder / '00.png').read_bytes())
    config = tiny_config(tmp_path / 'run', **changes)
    config.update(resume=True, experiment_name='again')
    config.train_cfg.max_epochs = 2
    resumed = build_runner(config)
    resumed.train()
    assert resumed.iter == 8 and num_unreadable(resumed) == dict(train_unreadable=3)


def test_without_the_policy_the_first_unreadable_image_ends_the_run_by_its_name(folder, tmp_path):
    runner = tiny_runner(tmp_path / 'run', train_dataloader=loader_of(folder))
    with pytest.raises(OSError, match=r'cannot read image .*(03|04|17)\.png: .'):
        runner.train()
    assert 'train_unreadable' not in num_unreadable(runner)


def test_ranks_count_together(folder, monkeypatch):
    """Another rank found image 17, and the allowed part is exceeded only by both together."""
    class Runner:
        class train_dataloader:
            dataset = named(folder, 0.1)

    Runner.message_hub, Runner.logger = MessageHub.get_instance('ranks'), logging.getLogger('ranks')
    hook = UnreadableImagesHook()
    hook.before_train(Runner)
    Runner.train_dataloader.dataset[3], Runner.train_dataloader.dataset[4]

    def with_another_rank(found, op):
        assert op == 'max' and found.tolist() == [int(i in (3, 4)) for i in range(NUM_IMAGES)]
        found[17] = 1

    monkeypatch.setattr('mmsimclr.engine.hooks.guards.all_reduce', with_another_rank)
    with pytest.raises(RuntimeError, match='3 of 20'):
        hook.after_train_epoch(Runner)
    assert Runner.message_hub.runtime_info['unreadable_images'] == [3, 4, 17]


def test_a_key_of_the_policy_is_checked(tmp_path):
    with pytest.raises(ValueError, match=r"'max_fractoin' in bad_images; did you mean 'max_fraction'"):
        check_config(tiny_config(tmp_path, bad_images=dict(max_fractoin=0.1)))
