"""Linear warm-up, then cosine decay without restarts; learning rates from the global batch size."""

import math

from mmengine.optim.scheduler.param_scheduler import INF, _ParamScheduler

from mmsimclr.errors import InputError
from mmsimclr.registry import PARAM_SCHEDULERS

SCALING_RULES = ('linear', 'sqrt', 'none')


def scaled_lr(base_lr: float, global_batch: int, rule: str = 'linear') -> float:
    """Return the learning rate of a global batch, the images of all ranks and accumulated steps.

    ``'linear'``: base_lr * global_batch / 256, with 0.3; ``'sqrt'``: base_lr * sqrt(global_batch), with
    0.075, better at small batches and short schedules; ``'none'``: base_lr.

    Source:
        Chen et al. 2020, sections 2.2 and B.1.
    """
    if rule not in SCALING_RULES:
        raise InputError(f'rule must be one of {", ".join(SCALING_RULES)}, got {rule!r}')
    if global_batch < 1 or not base_lr >= 0:
        raise InputError(f'base_lr must be >= 0 and global_batch >= 1, got {base_lr} and {global_batch}')
    return base_lr * {'linear': global_batch / 256, 'sqrt': math.sqrt(global_batch), 'none': 1.0}[rule]


def warmup_cosine_lr(step: int, base_lr: float, warmup_steps: int, total_steps: int) -> float:
    """Return the learning rate of an update.

    It is ``base_lr * step / warmup_steps`` during warm-up, so the first update, step 0, has rate 0; then half
    a cosine from ``base_lr`` to 0 at ``total_steps``, warm-up included; 0 beyond.

    Source:
        google-research/simclr, tf2/model.py, ``WarmUpAndCosineDecay``.
    """
    if step < warmup_steps:
        return base_lr * step / warmup_steps
    if total_steps <= warmup_steps:
        return base_lr
    progress = min((step - warmup_steps) / (total_steps - warmup_steps), 1.0)
    return base_lr * 0.5 * (1 + math.cos(math.pi * progress))


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(_ParamScheduler):
    """The official code's schedule: warm-up and cosine in one, per step.

    Args:
        optimizer: The optimizer, or MMEngine's wrapper of it; its learning rate is the peak.
        warmup: Length of the warm-up, in epochs (in steps with ``by_epoch=False``).
        total: Length of the whole schedule, in the same unit; by default that of the run.
        last_step, verbose: As in MMEngine's schedulers.
        by_epoch: Unit of ``warmup`` and ``total``. Epochs need ``convert_to_iter_based=True`` in the config.
    """

    def __init__(self, optimizer, warmup: float, total: float | None = None, last_step: int = -1,
                 by_epoch: bool = True, verbose: bool = False, begin: int = 0, end: int = INF) -> None:
        total = end if total is None else total                # MMEngine sets end to the run's length
        _check_lengths(warmup, total, 'epochs' if by_epoch else 'steps')
        if total == INF:
            raise InputError('total must be given where the length of the run is not known')
        if by_epoch:
            raise InputError('WarmupCosineLR works per step: set convert_to_iter_based=True beside it, '
                             'or by_epoch=False with warmup and total in steps')
        self.warmup_steps, self.total_steps = round(warmup), round(total)
        super().__init__(optimizer, 'lr', begin=begin, end=end, last_step=last_step, by_epoch=by_epoch,
                         verbose=verbose)

    @classmethod
    def build_iter_from_epoch(cls, *args, warmup: float, epoch_length: int, total: float | None = None,
                              by_epoch: bool = True, begin: int = 0, end: int = INF,
                              **kwargs) -> 'WarmupCosineLR':
        """Build the schedule from lengths in epochs of ``epoch_length`` steps; MMEngine calls this."""
        if not by_epoch:
            raise InputError('convert_to_iter_based=True goes with by_epoch=True')
        total = end if total is None else total
        _check_lengths(warmup, total, 'epochs')
        total, begin, end = (INF if n == INF else n * epoch_length for n in (total, begin, end))
        return cls(*args, warmup=warmup * epoch_length, total=total, by_epoch=False, begin=begin, end=end,
                   **kwargs)

    def _get_value(self) -> list[float]:
        return [warmup_cosine_lr(self.last_step, base, self.warmup_steps, self.total_steps)
                for base in self.base_values]


def _check_lengths(warmup: float, total: float, unit: str) -> None:
    if not (isinstance(warmup, int | float) and isinstance(total, int | float) and 0 <= warmup < total):
        raise InputError(f'warmup must be >= 0 and shorter than total (by default the run), got {warmup} and '
                         f'{total} {unit}; set param_scheduler.0.warmup')
