"""What the device computed is read on the host where a log or a checkpoint needs it, and only there."""

import collections

import pytest
import torch
from mmengine.logging import MessageHub
from tiny_run import tiny_runner
from torch.utils._python_dispatch import TorchDispatchMode

from mmsimclr.runner import DeferredMessageHub


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
def test_an_iteration_without_a_log_line_asks_for_no_value(tmp_path, views):
    shapes = dict(type='Shapes', num_images=80, image_size=16, pipeline=[
        dict(type='MultiView', transforms=[dict(type='SimCLRView', size=16)]), dict(type='PackViews')])
    runner = tiny_runner(
        tmp_path, views=views, log_processor=dict(type='PretrainLogProcessor', window_size=4),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=4),
                           preemption=dict(type='PreemptionHook')),
        train_dataloader=dict(batch_size=8, num_workers=0, drop_last=True, dataset=shapes,
                              sampler=dict(type='SeededSampler', shuffle=True)))
    assert MessageHub.get_current_instance() is runner.message_hub
    with CountReads(runner) as counter:
        runner.train()
    assert runner.iter == 10
    # The first creates the weights and the loader; two log lines; the epoch's end and its checkpoint.
    assert set(counter.reads) <= {0, 3, 7, 9, 10} and counter.reads[3] == counter.reads[7] == 12
