"""Held-out images during training: the model on all ranks, what hooks measure, and stopping early by it."""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from mmengine.hooks import EarlyStoppingHook as OfMMEngine
from torch import Tensor, nn

from mmsimclr import distributed
from mmsimclr.errors import InputError, did_you_mean
from mmsimclr.registry import HOOKS


@contextmanager
def evaluating(model: nn.Module, compiled: bool = False) -> Iterator[None]:
    """Have a model evaluate without gradients; afterwards each part is in the mode it was in.

    ``compiled``: through its compiled encoder, if it has one; batches should then have one size.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    # A compiled encoder would be compiled again for batches of other sizes, and then for any size.
    try:
        with torch.no_grad(), torch.compiler.set_stance('default' if compiled else 'force_eager'):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def same_random_state() -> Iterator[None]:
    """Put the generators of Python, numpy and torch's CPU back to where they were."""
    python, arrays = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)


def evenly_spaced(num_images: int, limit: int) -> list[int]:
    """Return the places of at most ``limit`` of so many images, evenly spaced."""
    places = torch.linspace(0, num_images - 1, min(num_images, limit), dtype=torch.float64)
    return places.round().long().tolist()


def in_order(rows: Tensor) -> Tensor:
    """Return the rows of all ranks, of which each has every W-th of W ranks, in their order."""
    return distributed.gather_rows(rows.contiguous()).unflatten(
        0, (distributed.world_size(), len(rows))).transpose(0, 1).flatten(0, 1)


def record(runner, figures: Mapping[str, float]) -> dict[str, float]:
    """Show figures in the log's backends, keep them in the checkpoints, and return those of rank 0.

    There ``save_best`` and :class:`EarlyStoppingHook` look for them; a hook that calls this names its figures
    in ``measures``.
    """
    figures = distributed.from_first_rank(dict, figures)         # all ranks must decide alike
    runner.visualizer.add_scalars(dict(figures), step=runner.iter)
    earlier, place = recorded(runner), dict(iteration=runner.iter, epoch=runner.epoch + bool(runner.iter))
    if earlier and earlier[-1]['iteration'] == runner.iter:
        place = earlier.pop()
    runner.message_hub.update_info('recorded_figures', [*earlier, {**place, **figures}])
    return figures


def recorded(runner, of_now: bool = False) -> list[dict]:
    """Return all figures recorded, by evaluation; with ``of_now`` those after the last step, if there are.

    Those from before the first step, of random weights, are none to choose by.
    """
    found = list(runner.message_hub.runtime_info.get('recorded_figures', ()))
    return [each for each in found if each['iteration'] == runner.iter > 0] if of_now else found


def require_measured(runner, names: Sequence[str], argument: str) -> None:
    """Raise InputError at a name of what no hook measures, in a run without validation."""
    measured = [name for hook in runner.hooks for name in getattr(hook, 'measures', ())]
    for name in names:
        if runner._val_loop is None and name not in measured:
            raise InputError(f'{argument} must be one of {", ".join(measured) or "nothing"}, which the hooks '
                             f'of this run measure, got {name!r}{did_you_mean(name, measured)}')


class KnownRules:
    """Mixin of MMEngine's hooks that compare figures: of which more is better, or the user must say it."""

    _default_greater_keys = [*OfMMEngine._default_greater_keys, 'rankme', 'lidar']

    def _init_rule(self, *arguments):
        try:
            return super()._init_rule(*arguments)
        except (KeyError, ValueError) as error:
            raise InputError(f"{error.args[0]} Give rule='greater' if more of it is better, else rule='less'"
                             ) from error


@HOOKS.register_module()
class EarlyStoppingHook(KnownRules, OfMMEngine):
    """MMEngine's ``EarlyStoppingHook`` (same arguments), also by what hooks measure after an epoch.

    ``monitor`` is a name such as ``'health/pooled_rankme'`` or ``'knn_accuracy'``. A resumed run counts on
    from what was measured before. The last epoch is saved, and hooks with ``measure(runner)`` measure it.
    """

    priority = 80                                            # after what measures, before CheckpointHook

    def before_train(self, runner) -> None:
        require_measured(runner, [self.monitor], 'monitor of EarlyStoppingHook')
        self._look(runner, recorded(runner))

    def after_train_epoch(self, runner) -> None:
        self._look(runner, recorded(runner, of_now=True))
        known = {name for figures in recorded(runner, of_now=True) for name in figures}
        for hook in runner.hooks if runner.train_loop.stop_training else ():
            if hasattr(hook, 'measure') and not known.intersection(hook.measures):
                hook.measure(runner)

    def _look(self, runner, evaluations: list[dict]) -> None:
        for figures in evaluations:
            if figures['iteration'] and self.monitor in figures:
                self.after_val_epoch(runner, figures)
