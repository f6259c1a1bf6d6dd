"""Scalars are read on the host where a log or a checkpoint needs them; a log line names what is watched."""

import collections
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_run import log_of, tiny_runner
from torch.utils._python_dispatch import TorchDispatchMode

from mmsimclr.engine import warmup_cosine_lr
from mmsimclr.runner import DeferredMessageHub, PretrainRunner, log

BACKENDS = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
SCALARS = ('loss', 'contrastive_accuracy', 'contrastive_entropy', 'lr', 'images_per_second')


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """Return the work directory of a run of two iterations."""
    work_dir = tmp_path_factory.mktemp('run')
    tiny_runner(work_dir, visualizer=dict(type='Visualizer', vis_backends=BACKENDS)).train()
    return work_dir


def lines_of(work_dir) -> list[dict]:
    file = next(work_dir.glob('*/vis_data/scalars.json'))
    return [json.loads(line) for line in file.read_text(encoding='utf-8').splitlines()]


def test_every_backend_receives_all_scalars_at_every_iteration(finished):
    lines = lines_of(finished)
    assert [line['step'] for line in lines] == [1, 2]
    events = EventAccumulator(str(next(finished.glob('*/vis_data'))))
    events.Reload()
    for name in SCALARS:
        recorded = events.Scalars(name)
        assert [event.step for event in recorded] == [1, 2], name
        assert [event.value for event in recorded] == pytest.approx([line[name] for line in lines])


def test_scalars_are_plausible_for_an_untrained_encoder(finished):
    for index, line in enumerate(lines_of(finished)):
        assert 0 < line['loss'] < 2 * math.log(15)
        assert line['contrastive_accuracy'] * 8 == pytest.approx(round(line['contrastive_accuracy'] * 8))
        assert 0 <= line['contrastive_entropy'] <= math.log(8) + 1e-6
        assert line['lr'] == pytest.approx(warmup_cosine_lr(index, 0.3, 2, 4))
        assert line['images_per_second'] == pytest.approx(8 / line['time'])


def test_terminal_line_names_what_is_watched_and_nothing_twice(finished):
    line = next(line for line in log_of(finished).splitlines() if 'step 2/2' in line)
    for part in ('epoch 1/1', '  loss ', '  accuracy ', '  entropy ', '  lr 0.15  ', ' images/s',
                 '  ETA 0:00:00'):
        assert line.count(part) == 1, part
    assert 'contrastive_' not in line and 'base_lr' not in line


def test_iteration_based_runs_count_iterations(tmp_path):
    tiny_runner(tmp_path, train_cfg=dict(by_epoch=False, max_iters=3), param_scheduler=[],
                default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
                log_processor=dict(type='PretrainLogProcessor', window_size=1, by_epoch=False)).train()
    text = log_of(tmp_path)
    assert all(f'step {step}/3  ETA 0:00:00  loss' in text for step in (1, 2, 3))
    assert 'epoch 1/1' not in text


def test_what_else_the_model_logs_is_shown_under_its_own_name(tmp_path):
    config = dict(optimizer=dict(type='LARS', lr=0.3), clip_grad=dict(max_norm=5.0))
    tiny_runner(tmp_path, optim_wrapper=config).train()
    assert '  grad_norm ' in log_of(tmp_path)


def updated(kind: type[MessageHub], name: str) -> MessageHub:
    hub = kind(name)
    for step in range(3):
        hub.update_scalar('train/loss', torch.tensor(0.1, requires_grad=True) * step)
        hub.update_scalar('train/lr', 0.5)
        hub.update_scalars(dict(accuracy=dict(value=torch.tensor([2.5]), count=4)))
        hub.update_scalar('once', torch.tensor(7, dtype=torch.int64), resumed=False)
    hub.update_scalar('train/loss', 9.0)
    return hub


def contents(histories) -> dict:
    return {key: [part.tolist() for part in history.data] for key, history in histories.items()}


@pytest.mark.parametrize('look', [
    lambda hub: contents(hub.log_scalars), lambda hub: hub.get_scalar('train/loss').data[0].tolist(),
    lambda hub: contents(hub.state_dict()['log_scalars']),
    lambda hub: dict(hub.state_dict()['resumed_keys'])])
def test_whoever_looks_sees_what_mmengines_hub_holds(look):
    assert look(updated(DeferredMessageHub, 'ours')) == look(updated(MessageHub, 'theirs'))


def test_values_are_those_of_their_time_and_keep_no_graph():
    hub, value = DeferredMessageHub('of their time'), torch.tensor(1.0, requires_grad=True)
    hub.update_scalar('loss', value * 1)
    with torch.no_grad():
        value += 1
    running = torch.tensor(3.0)
    hub.update_scalar('loss', running)
    running += 1
    assert not any(waiting.requires_grad for waiting, *_ in hub._waiting['loss'])
    assert hub.get_scalar('loss').data[0].tolist() == [1.0, 3.0]


def test_a_tensor_of_several_values_is_refused_as_by_mmengine():
    with pytest.raises(AssertionError):
        DeferredMessageHub('several').update_scalar('loss', torch.zeros(2))


class CountReads(TorchDispatchMode):
    """Count, by iteration, how often the value of a tensor is asked for."""

    def __init__(self, runner):
        super().__init__()
        self.runner, self.reads = runner, collections.Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._local_scalar_dense.default:
            self.reads[self.runner.iter] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize('views', ['loader', 'device'])
def test_an_iteration_without_a_log_line_asks_for_no_value(tmp_path, monkeypatch, views):
    shapes = dict(type='Shapes', num_images=80, image_size=16, pipeline=[
        dict(type='MultiView', transforms=[dict(type='SimCLRView', size=16)]), dict(type='PackViews')])
    runner = tiny_runner(
        tmp_path, views=views, log_processor=dict(type='PretrainLogProcessor', window_size=4),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=4),
                           preemption=dict(type='PreemptionHook')),
        train_dataloader=dict(batch_size=8, num_workers=0, drop_last=True, dataset=shapes,
                              sampler=dict(type='SeededSampler', shuffle=True)))
    assert MessageHub.get_current_instance() is runner.message_hub
    read, lists = log.numbers_in, collections.Counter()

    def counted(tensors):
        lists[runner.iter] += bool(tensors)
        return read(tensors)
    monkeypatch.setattr(log, 'numbers_in', counted)
    with CountReads(runner) as counter:
        runner.train()
    assert runner.iter == 10
    # The first creates the weights and the loader, and is shown; two log lines, each of which reads what is
    # there since the last at once; the epoch's end and its checkpoint.
    assert set(counter.reads) <= {0, 9, 10}
    assert {step for step, count in lists.items() if count} <= {0, 3, 7, 9, 10} and lists[3] == lists[7] == 1


class GrowingHubForLogTest(DeferredMessageHub):
    """Keeps MMEngine's histories."""

    def _shorten(self, key):
        pass


def test_logged_scalars_are_those_of_mmengines_histories(monkeypatch, tmp_path):
    lines = []
    for hub in (DeferredMessageHub, GrowingHubForLogTest):
        monkeypatch.setattr(PretrainRunner, 'build_message_hub', lambda self, *_, hub=hub: hub.get_instance(
            self.experiment_name))
        custom = [dict(data_src='loss', log_name=f'loss_{window}', method_name='mean', window_size=window)
                  for window in ('epoch', 'global', 3)]
        tiny_runner(tmp_path / hub.__name__, train_cfg=dict(by_epoch=True, max_epochs=3), log_processor=dict(
            type='PretrainLogProcessor', window_size=2, custom_cfg=custom)).train()
        lines.append([{key: value for key, value in line.items() if 'time' not in key and 'per' not in key}
                      for line in lines_of(tmp_path / hub.__name__)])
    assert lines[0] == lines[1] and len(lines[0]) == 6 and 'loss_global' in lines[0][0]


@pytest.mark.parametrize('windows, kept', [([], 10_000), ([3, 20_000], 20_000), (['epoch'], 1_000_000),
                                           (['global', 5], 1_000_000), ([None], 1_000_000)])
def test_as_many_values_are_kept_as_the_log_averages_over(windows, kept):
    hub = DeferredMessageHub('windows')
    hub.keep_for(SimpleNamespace(window_size=10, custom_cfg=[
        {} if window is None else dict(window_size=window) for window in windows]))
    assert hub.num_values == kept


def test_a_checkpoint_of_many_steps_is_small_and_one_with_long_histories_shrinks(tmp_path):
    """MMEngine's histories of many steps are resumed, and the next checkpoint has the last values only."""
    tiny_runner(tmp_path).train()
    path = tmp_path / 'epoch_1.pth'
    tree = torch.load(path, weights_only=False)
    names = [name for name in tree['message_hub']['log_scalars'] if name != 'train/time']
    long = np.arange(200_000.0)
    for name in names:
        tree['message_hub']['log_scalars'][name] = HistoryBuffer(long, np.ones(200_000, int))
    torch.save(tree, path)
    (tmp_path / 'epoch_1.pth.json').unlink()
    large = path.stat().st_size
    runner = tiny_runner(tmp_path, resume=True, train_cfg=dict(by_epoch=True, max_epochs=2),
                         param_scheduler=[dict(type='WarmupCosineLR', warmup=1, total=2,
                                               convert_to_iter_based=True)])
    runner.train()
    history = runner.message_hub.get_scalar('train/loss')
    assert history.data[0][:-2].tolist() == long[-9_998:].tolist() and len(history.data[0]) == 10_000
    assert history.mean(50) == pytest.approx((long[-48:].sum() + history.data[0][-2:].sum()) / 50)
    saved = tmp_path / 'epoch_2.pth'
    assert saved.stat().st_size < large - len(names) * 16 * 180_000
    again = torch.load(saved, weights_only=False)['message_hub']['log_scalars']['train/loss']
    assert type(again) is HistoryBuffer and again.data[0].tolist() == history.data[0].tolist()


def test_scalars_do_not_pile_up_on_the_device_where_nothing_is_logged():
    hub = DeferredMessageHub('unread')
    for step in range(2500):
        hub.update_scalar('train/loss', torch.tensor(float(step)))
    assert len(hub._waiting['train/loss']) <= 1000
    assert hub.get_scalar('train/loss').data[0].tolist() == list(range(2500))
