"""What a checkpoint of a run holds."""

import time
from typing import Any

import mmengine
import torch
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from torch.utils._pytree import tree_map_only

from mmsimclr.checkpoints import RECORD_KEY, describe_model
from mmsimclr.config.resuming import run_settings, state_of


def bare_model(runner) -> torch.nn.Module:
    """Return a runner's model without the wrapper that shares it among ranks."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def checkpoint_content(runner, meta: dict[str, Any], random_states: list[dict], save_optimizer: bool = True,
                       save_param_scheduler: bool = True) -> dict[str, Any]:
    """Return what MMEngine's checkpoints hold, the encoder's record and what a resumed run needs; on the CPU.

    Args:
        runner: The run.
        meta: What the run alone knows: its config, its id, its place.
        random_states: Of every rank.
        save_optimizer: Whether the optimizer's state is wanted.
        save_param_scheduler: Whether those of the schedules are.

    Raises:
        TypeError: If the optimizer has a wrapper that is not MMEngine's.
    """
    model = bare_model(runner)
    record = describe_model(model)
    meta = {
        **meta, 'seed': runner.seed, 'experiment_name': runner.experiment_name,
        'time': time.strftime('%Y%m%d_%H%M%S'), 'mmengine_version': mmengine.__version__,
        'dataset_meta': getattr(runner.train_dataloader.dataset, 'metainfo', None),
        'run': run_settings(runner), **({RECORD_KEY: record} if record else {})}
    tree = dict(meta=meta, state_dict=model.state_dict(), message_hub=runner.message_hub.state_dict(),
                random_states=random_states)
    if save_optimizer:
        if not isinstance(runner.optim_wrapper, OptimWrapper):
            raise TypeError(f'the optimizer cannot be saved: {type(runner.optim_wrapper).__name__} is no '
                            'OptimWrapper')
        tree['optimizer'] = runner.optim_wrapper.state_dict()
        if not runner.optim_wrapper.should_update():
            runner.logger.warning('the gradient accumulated so far is not saved: a run resumed from here '
                                  'is not bit-identical (save after a multiple of accumulative_counts)')
    if save_param_scheduler and runner.param_schedulers:
        schedulers = runner.param_schedulers
        tree['param_schedulers'] = (
            {name: [state_of(each) for each in group] for name, group in schedulers.items()}
            if isinstance(schedulers, dict) else [state_of(each) for each in schedulers])
    metadata = tree['state_dict']._metadata
    tree = tree_map_only(torch.Tensor, lambda tensor: tensor.detach().cpu(), tree)
    tree['state_dict']._metadata = metadata
    return tree
