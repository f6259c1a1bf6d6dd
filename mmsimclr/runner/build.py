"""Building a runner from a checked config."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from mmsimclr import distributed
from mmsimclr.config import ConfigError, canonical
from mmsimclr.config.check import check_trains, check_values
from mmsimclr.files import Lease, leased
from mmsimclr.registry import RUNNERS
from mmsimclr.runner.adapt import adapt
from mmsimclr.runner.log import show_little
from mmsimclr.runner.profile import ProfileHook
from mmsimclr.runner.runner import PretrainRunner


@contextmanager
def working_in(folder: str | Path, label: str) -> Iterator[Lease | None]:
    """Hold a folder's lease for all ranks of this run during the block; yield it on the first rank.

    Raises:
        HeldError: On every rank, if another run works there.
    """
    with ExitStack() as held:
        leases = []
        distributed.from_first_rank(lambda: leases.append(held.enter_context(leased(folder, label))))
        yield leases[0] if leases else None


def build_runner(config: Config) -> Runner:
    """Adapt a config to this machine and build its Runner; ``train()`` of it starts the training.

    One config serves one CPU process and many GPUs: without GPUs, groups use gloo and batch norm stays per
    process. The config, from :func:`mmsimclr.config.load_config`, is changed in place, so that what is
    dumped into the work directory is what ran. A list ``allow_changed`` in it becomes the Runner's
    ``allowed_changes``, a text ``go_on`` its ``go_on``, and so many steps as ``profile`` are profiled.
    ``load_from`` is the checkpoint to resume with ``resume=True``, and weights to begin with with ``'auto'``.

    Raises:
        InputError, InputTypeError: If the config lacks a part that training needs, names a Runner that is not
            ours, or has a value that can only fail later, gives wrong numbers or has no name, such as a
            lambda.
        MachineError: If a launcher is named but its environment variables are not there.
        HeldError: If another run works in the work directory.
    """
    if config.get('launcher', 'none') != 'none':
        distributed.start(config.launcher, config.get('env_cfg', {}).get('dist_cfg', {}))
    show_little(MMLogger.get_current_instance())              # which is heard before the run has its own
    warnings.filterwarnings('ignore', category=UserWarning, module='mmengine')
    check_trains(config)
    check_values(config)
    canonical(config)                                   # what has no name would fail at the first save
    adapt(config)
    allowed_changes, go_on = config.pop('allow_changed', ()), config.pop('go_on', None)
    longer, profile = config.pop('longer', 'stretch'), config.pop('profile', None)
    kind = config.get('runner_type')
    with working_in(config.work_dir, 'start of a training'):        # a Runner writes there when it is built
        runner = _build(config, kind)
    runner.allowed_changes, runner.go_on, runner.longer = allowed_changes, go_on, longer
    if profile:
        runner.register_hook(ProfileHook(profile))
    return runner


def _build(config: Config, kind: str | type | None) -> Runner:
    if not kind:
        return PretrainRunner.from_cfg(config)
    runner_class = RUNNERS.get(kind) if isinstance(kind, str) else kind
    if runner_class is None or not issubclass(runner_class, PretrainRunner):
        raise ConfigError(f'runner_type must be a subclass of mmsimclr.runner.PretrainRunner, whose '
                          f'checkpoints the hooks rely on, or its registered name; got {kind!r}')
    return RUNNERS.build(config)
