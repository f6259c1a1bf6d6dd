"""A resumed run keeps what it was told; a config that says otherwise is refused, with both values."""

import hashlib
import shutil

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop
from PIL import Image
from tiny_run import log_of, tiny_config, tiny_runner

from mmsimclr.checkpoints import CheckpointError
from mmsimclr.config import ConfigError
from mmsimclr.errors import UserError
from mmsimclr.protocols.pretraining import history
from mmsimclr.runner import PretrainRunner, ResumableTrainLoop, build_runner

SCHEDULE = [dict(type='WarmupCosineLR', warmup=1, total=4, convert_to_iter_based=True)]


def run(work_dir, epochs: int = 2, resume=None, **changes):
    """Train two steps an epoch; return the Runner."""
    options = {key.replace('__', '.'): value for key, value in changes.items()}
    source = {} if resume == 'auto' else dict(load_from=str(resume) if resume else None)
    config = tiny_config(work_dir, train_cfg=dict(by_epoch=True, max_epochs=epochs), param_scheduler=SCHEDULE,
                         resume='auto' if resume == 'auto' else resume is not None, **source)
    config.merge_from_dict(options)
    runner = build_runner(config)
    runner.train()
    return runner


@pytest.fixture(scope='module')
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp('first')
    run(folder)
    return folder / 'epoch_2.pth'


OTHER_BATCH = {'train_dataloader.batch_size': 4, 'param_scheduler': [
    dict(type='WarmupCosineLR', warmup=2, total=8, by_epoch=False)]}
# Changes of the config, and what the message has of them.
DIFFERENT = [
    ({'optim_wrapper.optimizer.lr': 0.1}, r'optimizer\.lr: 0\.3 in the checkpoint, 0\.1 in the config'),
    ({'optim_wrapper.optimizer.weight_decay': 0.5}, r'weight_decay.*: 1e-06 in the checkpoint, 0\.5 in the'),
    ({'optim_wrapper.optimizer.momentum': 0.5}, r'momentum: not set in the checkpoint, 0\.5 in the config'),
    ({'param_scheduler.0.total': 9}, r'\.0\.total_steps: 8 in the checkpoint, 18 in the config'),
    ({'randomness.seed': 5, 'param_scheduler.0.warmup': 2},
     r'(?s)warmup_steps: 2 in the checkpoint, 4 in .*randomness\.seed: 0 in the checkpoint, 5 in'),
    # The number of steps of the schedule stays, the images of a step do not.
    ({'train_dataloader.dataset.num_images': 17}, r'num_images: 16 in the checkpoint, 17 in the config'),
    (OTHER_BATCH, r'(?s)global_batch: 8 in the checkpoint, 4 in.*steps_per_epoch: 2 in'),
    ({'model.head.temperature': 0.2}, r'model\.head\.temperature: 0\.5 in the checkpoint, 0\.2 in'),
    ({'model.chunk_size': 4}, r'model\.chunk_size: not set in the checkpoint, 4 in'),
    ({'train_dataloader.dataset.pipeline.0.transforms.0.size': 20}, r'size: 16 in the checkpoint, 20 in'),
    ({'train_dataloader.sampler.shuffle': False}, r'shuffle: True in the checkpoint, False in'),
    ({'train_dataloader.dataset.split': 'val'}, r'split: not set in the checkpoint, val in')]


@pytest.mark.parametrize('changes, message', DIFFERENT, ids=lambda value: str(value)[:40])
def test_other_settings_are_refused_and_both_values_named(changes, message, first, tmp_path):
    with pytest.raises(ConfigError, match=message) as caught:
        run(tmp_path, 4, first, **changes)
    assert f'load_from={first}' in str(caught.value)


def test_a_change_on_purpose_is_taken_and_stays_on_record(first, tmp_path):
    changes = {'model.head.temperature': 0.2, 'train_dataloader.sampler.shuffle': False}
    with pytest.raises(ConfigError, match=r'shuffle: True in the checkpoint, False in') as caught:
        run(tmp_path, 3, first, allow_changed=['model.head'], **changes)
    assert 'temperature' not in str(caught.value)
    changed = run(tmp_path, 3, first, allow_changed=['model.head', 'train_dataloader.sampler.shuffle'],
                  experiment_name='changed', **changes)
    record = [dict(step=4, changes=[dict(key='model.head.temperature', then=0.5, now=0.2),
                                    dict(key='train_dataloader.sampler.shuffle', then=True, now=False)])]
    assert changed.message_hub.runtime_info['changed_on_resume'] == record
    assert 'allow_changed' not in changed.cfg
    # From then on the changed config is the run's, and the record goes with it.
    resumed = run(tmp_path, 4, tmp_path / 'epoch_3.pth', experiment_name='again', **changes)
    assert history(resumed) == dict(changed_on_resume=record)
    with pytest.raises(ConfigError, match=r'temperature: 0\.2 in the checkpoint, 0\.5 in the config'):
        run(tmp_path, 4, tmp_path / 'epoch_4.pth', experiment_name='back')


@pytest.mark.parametrize('key, changes', [
    ('optim_wrapper', {'optim_wrapper.optimizer.lr': 0.1}),
    ('param_scheduler', {'param_scheduler.0.total': 9}),
    ('randomness.seed', {'randomness.seed': 5}), ('global_batch', OTHER_BATCH)], ids=str)
def test_what_the_checkpoint_itself_keeps_cannot_be_changed_on_purpose(key, changes, first, tmp_path):
    with pytest.raises(ConfigError, match='in the checkpoint'):
        run(tmp_path, 4, first, allow_changed=[key, key.partition('.')[0]], **changes)


def test_fewer_epochs_than_were_done_are_refused_and_as_many_are_not(first, tmp_path):
    with pytest.raises(ConfigError, match=r'has made 4 steps, and train_cfg\.max_epochs=1 asks for 2'):
        run(tmp_path, 1, first)
    assert run(tmp_path, 2, first, experiment_name='as many').iter == 4


def test_what_cannot_matter_may_change(first, tmp_path):
    resumed = run(tmp_path, 3, first, log_level='ERROR', custom_hooks=[dict(type='FiniteLossHook')],
                  train_dataloader__num_workers=1, train_dataloader__persistent_workers=True,
                  default_hooks__checkpoint__interval=2, env_cfg=dict(cudnn_benchmark=True))
    assert resumed.iter == 6


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Sixteen images in two folders, and under other names in a third."""
    root = tmp_path_factory.mktemp('files')
    for number in range(16):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 20, 3), np.uint8)
        for folder in ('one', 'moved', 'other'):
            (root / folder).mkdir(exist_ok=True)
            name = f'x{number:02d}.png' if folder == 'other' else f'{number:02d}.png'
            Image.fromarray(pixels).save(root / folder / name)
    return root


def of_folder(files, folder, tmp_path) -> dict:
    pipeline = tiny_config(tmp_path).train_dataloader.dataset.pipeline
    return {'train_dataloader.dataset': dict(
        _delete_=True, type='UnlabeledImageFolder', data_root=str(files / folder),
        pipeline=[dict(type='LoadImage'), *pipeline])}


def test_data_may_move_but_not_change(files, tmp_path):
    run(tmp_path / 'a', 1, **of_folder(files, 'one', tmp_path))
    path = tmp_path / 'a' / 'epoch_1.pth'
    assert run(tmp_path / 'b', 2, path, **of_folder(files, 'moved', tmp_path)).iter == 4
    with pytest.raises(ConfigError, match=r'data\.train: [0-9a-f]{64} in the checkpoint, [0-9a-f]{64} in'):
        run(tmp_path / 'c', 2, path, **of_folder(files, 'other', tmp_path))


def test_a_list_of_images_may_move_with_them_but_not_change(files, tmp_path):
    def listed(folder, count):
        names = tmp_path / f'{folder}-{count}.txt'
        names.write_text('\n'.join(f'{number:02d}.png' for number in range(count)))
        dataset = dict(of_folder(files, folder, tmp_path)['train_dataloader.dataset'])
        return {'train_dataloader.dataset': dict(_delete_=dataset.pop('_delete_'), type='ListedSubset',
                                                 names=str(names), dataset=dataset)}

    run(tmp_path / 'a', 1, **listed('one', 15))
    path = tmp_path / 'a' / 'epoch_1.pth'
    assert run(tmp_path / 'b', 2, path, **listed('moved', 15)).epoch == 2
    with pytest.raises(ConfigError, match=r'data\.train: [0-9a-f]{64} in the checkpoint'):
        run(tmp_path / 'c', 2, path, **listed('moved', 14))


def test_other_photographs_under_the_same_names_are_refused(files, tmp_path):
    (files / 'next_year').mkdir()
    for file in (files / 'one').iterdir():
        Image.new('RGB', (20, 20), (int(file.stem), 0, 0)).save(files / 'next_year' / file.name)
    run(tmp_path / 'a', 1, **of_folder(files, 'one', tmp_path))
    path, other = tmp_path / 'a' / 'epoch_1.pth', of_folder(files, 'next_year', tmp_path)
    said = r'data\.train\.sample: [0-9a-f ]+ in the checkpoint, [0-9a-f ]+ in'
    with pytest.raises(ConfigError, match=said) as caught:
        run(tmp_path / 'b', 2, path, **other)
    assert 'data_root: ' in str(caught.value) and 'data.train: ' not in str(caught.value)
    changed = run(tmp_path / 'b', 2, path, experiment_name='on purpose', **other,
                  allow_changed=['data.train', 'train_dataloader.dataset.data_root'])
    assert len(history(changed)['changed_on_resume'][0]['changes']) == 2
    # A checkpoint of before has no sample, and its data may move as they could.
    tree = torch.load(path, weights_only=False)
    del tree['meta']['identity']['data.train.sample']
    torch.save(tree, tmp_path / 'old.pth')
    assert run(tmp_path / 'c', 2, tmp_path / 'old.pth', **of_folder(files, 'moved', tmp_path)).iter == 4


@pytest.mark.parametrize('now, listed, refused', [
    ('/m1', None, False), ('/m2', None, True), ('/m2', 'a' * 64, False)])
def test_where_nothing_is_known_of_the_images_their_place_counts(now, listed, refused, first, tmp_path):
    """A test set that is no dataset of MMEngine has no hash; older checkpoints say None of it."""
    tree = torch.load(first, weights_only=False)
    tree['meta']['identity'] |= {'test_dataloader.dataset.data_root': '/m1', 'data.test': listed,
                                 'test_evaluator.ann_file': '/m1/instances.json'}
    torch.save(tree, tmp_path / 'x.pth')
    config = tiny_config(tmp_path, train_cfg=dict(by_epoch=True, max_epochs=3), param_scheduler=SCHEDULE,
                         resume=True, load_from=str(tmp_path / 'x.pth'))
    runner = build_runner(config)
    runner.provenance = {'test_dataloader.dataset.data_root': now,
                         'test_evaluator.ann_file': f'{now}/instances.json'}
    if listed:
        runner.provenance['data.test'] = listed
    if refused:
        with pytest.raises(ConfigError, match=r'data_root: /m1 in the checkpoint, /m2 in the config'):
            runner.train()
    else:
        runner.train()
        assert runner.iter == 6


def test_weights_to_begin_with_are_compared_when_a_run_goes_on(first, tmp_path):
    other = tmp_path / 'other.pth'
    run(tmp_path / 'else', 1, randomness__seed=1)
    other.write_bytes((tmp_path / 'else' / 'epoch_1.pth').read_bytes())
    mine = tmp_path / 'mine.pth'
    mine.write_bytes(first.read_bytes())

    def goes_on(weights, epochs):
        return run(tmp_path / 'run', epochs, load_from=str(weights), resume='auto',
                   experiment_name=f'{weights} {epochs}'.replace('/', '-'))

    assert history(goes_on(mine, 1))['started_from']['checkpoint'] == str(mine), 'there is no run yet'
    assert goes_on(mine, 2).iter == 4
    sha256 = hashlib.sha256(first.read_bytes()).hexdigest()
    with pytest.raises(ConfigError, match=rf'started_from: {sha256} in the .*, [0-9a-f]{{64}} in the'):
        goes_on(other, 3)
    with pytest.raises(ConfigError, match=rf'started_from: {mine} in the .*, /nowhere/x\.pth in the'):
        goes_on('/nowhere/x.pth', 3)
    renamed = mine.rename(tmp_path / 'renamed.pth')
    assert goes_on(renamed, 3).iter == 6, 'the same bytes'
    assert goes_on(mine, 4).iter == 8, 'the same command, though the file has gone'
    folder = tmp_path / 'else'
    run(tmp_path / 'x', 1, load_from=str(folder))
    shutil.rmtree(folder)
    assert run(tmp_path / 'x', 2, load_from=str(folder), resume='auto', experiment_name='on').iter == 4


def test_weights_of_a_part_are_in_the_result_too(first, tmp_path):
    sources = [dict(checkpoint=str(first), sha256=hashlib.sha256(first.read_bytes()).hexdigest())]
    begun = run(tmp_path, 1, model__backbone__init_cfg=dict(type='Pretrained', checkpoint=str(first)))
    assert history(begun) == dict(started_from=sources[0])


def test_what_steers_a_run_is_compared_though_it_only_measures(first, tmp_path):
    """Its figures choose the best checkpoint and stop early; only how often it measures may change."""
    def health(**changes):
        return [dict(type='RepresentationHealthHook', held_out=dict(num_images=16), num_images=16, **changes)]

    run(tmp_path, 1, custom_hooks=health(interval=1))
    path = tmp_path / 'epoch_1.pth'
    assert run(tmp_path, 2, path, custom_hooks=health(interval=2), experiment_name='rarer').iter == 4
    path = tmp_path / 'epoch_2.pth'
    hooks = health()
    hooks[0]['held_out']['num_images'] = 17
    with pytest.raises(ConfigError, match=r'held_out\.num_images: 16 in the checkpoint, 17 in the config'):
        run(tmp_path, 3, custom_hooks=hooks, resume=path, experiment_name='others')
    with pytest.raises(ConfigError, match=r'gradients: not set in the checkpoint, bf16 in the config'):
        run(tmp_path, 3, first, gradients='bf16', experiment_name='bf16')


def test_weights_that_a_run_starts_from_are_in_its_result_even_after_a_resume(first, tmp_path):
    run(tmp_path, 1, load_from=str(first))
    source = dict(checkpoint=str(first), sha256=hashlib.sha256(first.read_bytes()).hexdigest())
    assert history(run(tmp_path, 2, tmp_path / 'epoch_1.pth', experiment_name='on')) == dict(
        started_from=source)


@pytest.mark.parametrize('key', ['identity', 'run'])
@pytest.mark.parametrize('value', [[1], 'x', {'data.train': 5, 'data.train.sample': 7}, {}], ids=str)
def test_a_record_of_another_form_is_an_error_of_the_user_or_counts_as_not_there(key, value, first, tmp_path):
    tree = torch.load(first, weights_only=False)
    tree['meta'][key] = value
    torch.save(tree, tmp_path / 'x.pth')
    try:
        assert run(tmp_path, 3, tmp_path / 'x.pth', experiment_name=f'{key} {value}').iter == 6
    except UserError as error:
        assert 'x.pth' in str(error)


def test_a_config_in_a_checkpoint_is_not_run(first, tmp_path):
    """MMEngine runs one under the key of its older versions."""
    tree = torch.load(first, weights_only=False)
    tree['meta']['config'] = f'open({str(tmp_path / "run")!r}, "w")'
    torch.save(tree, tmp_path / 'hostile.pth')
    assert run(tmp_path / 'resumed', 3, tmp_path / 'hostile.pth').iter == 6
    assert not (tmp_path / 'run').exists()


def test_a_checkpoint_without_a_config_is_refused_unless_that_is_taken_on_purpose(first, tmp_path):
    tree = torch.load(first, weights_only=False)
    for key in ('cfg', 'identity'):
        del tree['meta'][key]
    torch.save(tree, tmp_path / 'bare.pth')
    with pytest.raises(ConfigError, match=r'config: not in the checkpoint'):
        run(tmp_path / 'run', 3, tmp_path / 'bare.pth')
    assert run(tmp_path / 'run', 3, tmp_path / 'bare.pth', allow_changed=['config'],
               experiment_name='on').iter == 6


@pytest.mark.parametrize('hub', [
    None, 'x', {}, dict(log_scalars=[], runtime_info={}, resumed_keys={}),
    dict(log_scalars={}, runtime_info=3)])
def test_a_checkpoint_whose_history_is_none_is_refused(hub, first, tmp_path):
    tree = torch.load(first, weights_only=False)
    torch.save({**tree, 'message_hub': hub}, tmp_path / 'odd.pth')
    with pytest.raises(CheckpointError, match=r'odd\.pth cannot be resumed: its message_hub is not'):
        run(tmp_path / 'run', 3, tmp_path / 'odd.pth')


def test_a_run_can_be_made_longer_and_its_schedule_goes_on(first, tmp_path):
    longer = run(tmp_path / 'resumed', 4, first)
    rates = longer.message_hub.get_scalar('train/lr').data[0].tolist()
    assert rates == run(tmp_path / 'at_once', 4).message_hub.get_scalar('train/lr').data[0].tolist()
    assert len(set(rates[2:])) == 6, 'the cosine moves in every step'


OF_THE_RUN = [dict(type='WarmupCosineLR', warmup=1, convert_to_iter_based=True)]


def rates_of(runner) -> list[float]:
    return runner.message_hub.get_scalar('train/lr').data[0].tolist()


def test_a_schedule_as_long_as_the_run_is_stretched_with_it(tmp_path):
    """From here on the rate is that of a run which was that long from the start."""
    first = run(tmp_path / 'run', 2, param_scheduler=OF_THE_RUN)
    longer = run(tmp_path / 'run', 4, tmp_path / 'run' / 'epoch_2.pth', param_scheduler=OF_THE_RUN,
                 experiment_name='longer')
    at_once = rates_of(run(tmp_path / 'at_once', 4, param_scheduler=OF_THE_RUN))
    assert rates_of(longer) == rates_of(first) + at_once[4:] and at_once[4] > rates_of(first)[-1]
    change, = history(longer)['changed_on_resume']
    assert change['step'] == 4 and change['changes'] == [
        dict(key='param_scheduler.0.total_steps', then=4, now=8, longer='stretch')]


@pytest.mark.parametrize('saved', ['epoch_3.pth', 'epoch_4.pth'])
def test_a_longer_run_may_restart_at_a_tenth_of_the_peak(saved, tmp_path):
    first = run(tmp_path / 'run', 2, param_scheduler=OF_THE_RUN)
    again = dict(param_scheduler=OF_THE_RUN, longer='restart', default_hooks__checkpoint__max_keep_ckpts=9)
    longer = run(tmp_path / 'run', 5, tmp_path / 'run' / 'epoch_2.pth', experiment_name='longer', **again)
    # Half a cosine over the six steps that are left.
    expected = [0.1 * 0.3 * 0.5 * (1 + np.cos(np.pi * step / 6)) for step in range(6)]
    assert rates_of(longer) == pytest.approx(rates_of(first) + expected)
    # It can be interrupted and resumed as any other.
    resumed = run(tmp_path / 'run', 5, tmp_path / 'run' / saved, experiment_name='resumed', **again)
    assert rates_of(resumed) == pytest.approx(rates_of(longer))


def test_a_seed_that_was_drawn_is_that_of_the_resumed_run_too(tmp_path):
    drawn = run(tmp_path / 'a', 1, randomness=dict(seed=None))
    resumed = run(tmp_path / 'b', 2, tmp_path / 'a' / 'epoch_1.pth', randomness=dict(seed=None))
    assert resumed.seed == drawn.seed == resumed.train_dataloader.sampler.seed


def test_a_checkpoint_without_any_of_this_resumes_as_in_mmengine(first, tmp_path):
    tree = torch.load(first, weights_only=False)
    for key in ('run', 'run_id', 'identity'):
        del tree['meta'][key]
    del tree['random_states']
    torch.save(tree, tmp_path / 'old.pth')
    assert run(tmp_path / 'run', 3, tmp_path / 'old.pth').iter == 6


def test_a_place_beyond_the_epoch_is_refused(first, tmp_path):
    tree = torch.load(first, weights_only=False)
    del tree['meta']['run']
    tree['meta']['iter'] = 7
    torch.save(tree, tmp_path / 'odd.pth')
    with pytest.raises(ConfigError, match='iteration 7 after 2 epochs in the checkpoint, 2 steps per epoch'):
        run(tmp_path / 'run', 3, tmp_path / 'odd.pth')


def test_resuming_where_nothing_is_starts_from_the_beginning_and_says_so(tmp_path):
    tiny_runner(tmp_path, resume=True).train()
    assert f'no checkpoint in {tmp_path}: starting from the beginning' in log_of(tmp_path)


@pytest.mark.parametrize('launcher', ['TORCHELASTIC_RESTART_COUNT', 'SLURM_RESTART_COUNT'])
def test_a_restarted_run_resumes_without_being_told(launcher, tmp_path, monkeypatch):
    tiny_runner(tmp_path, default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1))).train()
    monkeypatch.setenv(launcher, '0')
    tiny_runner(tmp_path / 'other').train()
    assert 'resuming from' not in log_of(tmp_path / 'other')
    monkeypatch.setenv(launcher, '2')
    runner = tiny_runner(tmp_path, experiment_name='again', train_cfg=dict(by_epoch=True, max_epochs=2))
    runner.train()
    assert runner.iter == 4
    assert runner.message_hub.get_info('started_at_iteration') == 2


def test_an_elastic_run_resumes_though_torchrun_counts_no_restart(tmp_path, monkeypatch):
    monkeypatch.setenv('MMSIMCLR_ELASTIC_RANKS', '1')
    monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', '0')
    run(tmp_path, 2)
    again = run(tmp_path, 4, custom_hooks=[dict(type='RunSummaryHook')], experiment_name='again')
    assert again.message_hub.get_info('started_at_iteration') == 4


def test_a_seed_that_the_sampler_has_of_its_own_stays(tmp_path):
    first = run(tmp_path / 'a', 1, train_dataloader__sampler__seed=7)
    resumed = run(tmp_path / 'b', 2, tmp_path / 'a' / 'epoch_1.pth', train_dataloader__sampler__seed=7)
    assert first.train_dataloader.sampler.seed == resumed.train_dataloader.sampler.seed == 7


class PlateauHookForResumeTest(Hook):
    """A validation that never gets better."""

    priority = 'ABOVE_NORMAL'

    def after_train_epoch(self, runner):
        for schedule in runner.param_schedulers:
            schedule.step(dict(loss=1.0))


@pytest.mark.parametrize('schedule', [
    dict(type='OneCycleLR', eta_max=0.1, total_steps=8, by_epoch=False),
    dict(type='MultiStepLR', milestones=[1, 3]),
    dict(type='ReduceOnPlateauLR', monitor='loss', rule='less', patience=0, factor=0.5)],
    ids=lambda schedule: schedule['type'])
def test_a_schedule_with_functions_or_counts_in_its_state_goes_on(schedule, tmp_path):
    changes = dict(param_scheduler=[schedule], custom_hooks=[dict(type=PlateauHookForResumeTest)]
                   if 'monitor' in schedule else [])
    whole = run(tmp_path / 'whole', 4, **changes)
    run(tmp_path / 'parts', 2, **changes)
    resumed = run(tmp_path / 'resumed', 4, tmp_path / 'parts' / 'epoch_2.pth', **changes)
    left, right = (each.message_hub.get_scalar('train/lr').data[0].tolist() for each in (whole, resumed))
    assert left == right and len(left) == 8 and left[0] != left[-1]


@pytest.mark.parametrize('environment', [dict(TORCHELASTIC_MAX_RESTARTS='3'), dict(SLURM_JOB_ID='1')],
                         ids=str)
def test_a_restart_before_the_first_save_does_not_resume_an_older_run(environment, tmp_path, monkeypatch):
    run(tmp_path, 2)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def killed(runner, *args, **kwargs):
        raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(PretrainRunner, 'save_checkpoint', killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, 2, experiment_name='killed')
    monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', '1')
    restarted = run(tmp_path, 2, custom_hooks=[dict(type='RunSummaryHook')], experiment_name='restarted')
    assert not restarted.message_hub.get_info('started_at_iteration') and restarted.iter == 4


def test_a_restart_of_what_was_resumed_from_an_older_version_goes_on(first, tmp_path, monkeypatch):
    tree = torch.load(first, weights_only=False)
    for key in ('run', 'run_id'):
        del tree['meta'][key]
    torch.save(tree, tmp_path / 'epoch_2.pth')
    monkeypatch.setenv('TORCHELASTIC_MAX_RESTARTS', '3')
    monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', '1')
    with monkeypatch.context() as patch:
        patch.setattr(PretrainRunner, 'save_checkpoint', lambda *args, **kwargs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(tmp_path, 4, experiment_name='killed again')
    resumed = run(tmp_path, 4, custom_hooks=[dict(type='RunSummaryHook')], experiment_name='goes on')
    assert resumed.message_hub.get_info('started_at_iteration') == 4


def test_a_last_checkpoint_that_was_saved_elsewhere_is_not_passed_over_in_silence(tmp_path):
    (tmp_path / 'last_checkpoint').write_text('s3://bucket/run/epoch_3.pth')
    with pytest.raises(CheckpointError, match=r's3://bucket/run/epoch_3\.pth.*--resume FILE'):
        tiny_runner(tmp_path, resume=True).train()


class OwnLoopForResumeTest(EpochBasedTrainLoop):
    """A user's own, which begins every epoch at its first batch."""


class OwnResumableLoopForResumeTest(ResumableTrainLoop):
    """A user's own, derived from ours."""


BY_ITERATION = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=-1))


def loop(kind: type, epochs: int = 4) -> dict:
    return dict(_delete_=True, type=kind, max_epochs=epochs)


@pytest.mark.parametrize('done', [2, 3])
def test_a_loop_of_ones_own_that_would_begin_an_epoch_again_is_refused_inside_one(done, tmp_path):
    """After two steps the epoch is over, but a checkpoint by iterations does not count it as done."""
    run(tmp_path / 'whole', default_hooks=BY_ITERATION, train_cfg=loop(OwnLoopForResumeTest))
    path = tmp_path / 'whole' / f'iter_{done}.pth'
    with pytest.raises(ConfigError) as error:
        run(tmp_path / 'resumed', 4, path, train_cfg=loop(OwnLoopForResumeTest))
    said = f'{path} was saved {2 - done % 2} steps into an epoch of 2, and OwnLoopForResumeTest would begin'
    assert said in str(error.value) and 'mmsimclr.runner.ResumableTrainLoop' in str(error.value)


def test_it_goes_on_after_an_epoch_and_one_derived_from_ours_anywhere(tmp_path):
    run(tmp_path / 'own', train_cfg=loop(OwnLoopForResumeTest, 2))
    own = run(tmp_path / 'resumed', 4, tmp_path / 'own' / 'epoch_2.pth', train_cfg=loop(OwnLoopForResumeTest))
    assert own.iter == 8
    run(tmp_path / 'derived', default_hooks=BY_ITERATION, train_cfg=loop(OwnResumableLoopForResumeTest))
    derived = run(tmp_path / 'again', 4, tmp_path / 'derived' / 'iter_3.pth',
                  train_cfg=loop(OwnResumableLoopForResumeTest))
    assert derived.iter == 8


def test_the_global_batch_may_be_split_over_another_number_of_processes(first, tmp_path):
    tree = torch.load(first, weights_only=False)
    tree['meta']['run']['world_size'] = 2
    tree['meta']['identity'] |= {'train_dataloader.batch_size': 4, 'launcher': 'pytorch',
                                 'model_wrapper_cfg.type': 'MMDistributedDataParallel'}
    torch.save(tree, tmp_path / 'of_two.pth')
    assert run(tmp_path, 3, tmp_path / 'of_two.pth').iter == 6
    assert 'was saved by 2 process(es), and there are 1' in log_of(tmp_path)
