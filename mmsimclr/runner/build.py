"""Building a runner: a config adapted to its switches and to this machine, in place, and its Runner."""

import inspect
import logging
import os
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.config.lazy import LazyAttr, LazyObject
from mmengine.hooks import CheckpointHook
from mmengine.logging import MMLogger, print_log
from mmengine.runner import Runner
from mmengine.utils import get_object_from_string

from mmsimclr import distributed, transforms
from mmsimclr.config import ConfigError, canonical
from mmsimclr.config.check import check_trains, check_values
from mmsimclr.datasets import InMemoryImages
from mmsimclr.engine import scaled_lr
from mmsimclr.errors import InputError
from mmsimclr.models import ViewPreprocessor
from mmsimclr.registry import HOOKS, RUNNERS, class_of, is_of_type
from mmsimclr.runner.log import show_little
from mmsimclr.runner.profile import ProfileHook
from mmsimclr.runner.runner import PretrainRunner, working_in
from mmsimclr.transforms.operators import OPERATORS

PLACES_OF_VIEWS = ('loader', 'device')
# A batch that finds no room in /dev/shm is lost without a word, and torch would wait for it forever.
LOADER_TIMEOUT_S = 600
# Components that end up in the config are named as text, because the config is dumped.
REPLACING = 'mmsimclr.ReplaceUnreadable'


def build_runner(config: Config) -> Runner:
    """Adapt a config to this machine and build its Runner; ``train()`` of it starts the training.

    One config serves one CPU process and many GPUs: without GPUs, groups use gloo and batch norm stays per
    process. The config, from :func:`mmsimclr.config.load_config`, is changed in place, so that what is
    dumped into the work directory is what ran. A list ``allow_changed`` in it becomes the Runner's
    ``allowed_changes``, a text ``go_on`` its ``go_on``, and so many steps as ``profile`` are profiled.
    ``load_from`` is the checkpoint to resume with ``resume=True``, and weights to begin with with ``'auto'``.

    Raises:
        InputError, InputTypeError: If the config lacks a part that training needs, names a Runner that is not
            ours, or has a value that gives wrong numbers, fails later or has no name, such as a lambda.
        MachineError: If a launcher is named but its environment variables are not there.
        HeldError: If another run works in the work directory.
    """
    distributed.start_as(config)
    show_little(MMLogger.get_current_instance())              # which is heard before the run has its own
    warnings.filterwarnings('ignore', category=UserWarning, module='mmengine')
    check_trains(config)
    check_values(config)
    canonical(config)                                   # what has no name would fail at the first save
    adapt(config)
    allowed_changes, go_on = config.pop('allow_changed', ()), config.pop('go_on', None)
    longer, profile = config.pop('longer', 'stretch'), config.pop('profile', None)
    kind = class_of(config.get('runner_type') or PretrainRunner, RUNNERS)
    if not (isinstance(kind, type) and issubclass(kind, PretrainRunner)):
        raise ConfigError('runner_type must be a subclass of mmsimclr.runner.PretrainRunner, on whose '
                          f'checkpoints the hooks rely, or its registered name; got {config.runner_type!r}')
    with working_in(config.work_dir, 'start of a training'):        # a Runner writes there when it is built
        runner = kind.from_cfg(config)
    runner.allowed_changes, runner.go_on, runner.longer = allowed_changes, go_on, longer
    if profile:
        runner.register_hook(ProfileHook(profile))
    return runner


def adapt(config: Config) -> None:
    """Adapt a config that trains to its switches and to this machine, in place."""
    share_batch(config)
    allow_bad_images(config)
    place_views(config)
    adapt_to_determinism(config)
    adapt_to_device(config)
    save_atomically(config)
    scale_learning_rate(config)
    write_types_as_text(config)


def share_batch(config: Config) -> None:
    """Share the batch that an elastic run has on most ranks out to those that there are."""
    if most := distributed.elastic_ranks():
        loader, ranks = config.train_dataloader, distributed.world_size()
        batch = most * loader.batch_size
        if batch % ranks:
            raise ConfigError(f'the global batch of {batch} images, {loader.batch_size} on each of {most} '
                              f'processes (train_dataloader.batch_size), cannot be shared out to {ranks}: it '
                              'must divide by every number of processes that there may be')
        loader.batch_size = batch // ranks


def set_auto_scale_lr(config: Config) -> None:
    """Have the learning rate scaled to the real global batch; raise InputError if the config has no rule."""
    if not config.get('auto_scale_lr'):
        raise InputError('the config has no auto_scale_lr=dict(base_batch_size=..., rule=...), so the batch '
                         'its learning rate is for is not known')
    config.auto_scale_lr.enable = True


def set_deterministic(config: Config) -> None:
    """Have a config's run use torch's deterministic algorithms only, and fail where torch has none."""
    config.randomness = {'seed': None, **(config.get('randomness') or {}), 'deterministic': True}


def allow_bad_images(config: Config) -> None:
    """Let a part of the training images be unreadable, as ``bad_images=dict(max_fraction=...)`` says.

    Without that key, or with 0, the first unreadable image ends the run.
    """
    allowed = (config.pop('bad_images', None) or {}).get('max_fraction', 0)
    if not allowed:
        return
    loader = config.train_dataloader
    loader.dataset = dict(type=REPLACING, dataset=loader.dataset, max_fraction=allowed)
    config.custom_hooks = [*(config.get('custom_hooks') or ()), dict(type='mmsimclr.UnreadableImagesHook')]


def place_views(config: Config) -> None:
    """Have the views made where the config's ``views`` says, and take that key out.

    With 'device', the loader ships whole images and the model's preprocessor makes the views, by the same
    policy. Images that need no reading (CIFAR10, Shapes) are put on the device, without loader processes.
    Raise ConfigError if the views are others than the device can make, or images in memory may be bad.
    """
    place = config.pop('views', 'loader')
    if place not in PLACES_OF_VIEWS:
        raise ConfigError(f'views must be one of {", ".join(PLACES_OF_VIEWS)}, got {place!r}')
    if place == 'loader':
        return
    loader, owner = config.train_dataloader, config.train_dataloader.dataset
    while not owner.get('pipeline') and isinstance(owner.get('dataset'), Mapping):
        owner = owner.dataset
    reading, num_views, policy = _split_pipeline(owner.get('pipeline') or [])
    preprocessor = config.model.get('data_preprocessor') or dict(type=ViewPreprocessor)
    views = dict(type=transforms.DeviceViews, num_views=num_views, **policy)
    config.model.data_preprocessor = {**preprocessor, 'views': views}
    if reading:
        owner.pipeline = [*reading, dict(type=transforms.PackForDevice)]
        loader.collate_fn = dict(type='default_collate')
        source = 'of the images that the loader reads'
    elif loader.dataset.get('type') == REPLACING:
        raise ConfigError("bad_images is about files, and this dataset has its images in memory with "
                          "views='device': take bad_images out")
    else:
        loader.pop('prefetch_factor', None)
        loader.update(num_workers=0, persistent_workers=False, pin_memory=False,
                      collate_fn=dict(type='mmsimclr.as_fetched'))
        loader.dataset = dict(type=InMemoryImages, dataset=loader.dataset)
        source = 'of images in its memory; the loader has no processes'
    MMLogger.get_current_instance().info(f'views are made on the device, {source}')


def _split_pipeline(pipeline: list) -> tuple[list, int, dict]:
    """Return the steps before the views, the number of views, and the further arguments of DeviceViews."""
    *reading, views, pack = pipeline if len(pipeline) >= 2 else (None, None)
    if is_of_type(views, transforms.MultiView) and is_of_type(pack, transforms.PackViews):
        steps, num_views = views.get('transforms') or [], views.get('num_views', 2)
        if views.get('shared'):
            raise ConfigError("views='device' has no shared steps, and MultiView.shared names "
                              f"{len(views['shared'])}; make these views in the loader (views='loader')")
        if len(steps) == 1 and isinstance(steps[0], list | tuple):
            steps = steps[0]
        if isinstance(num_views, list | tuple) and len(num_views) == 1:
            num_views, = num_views
        policy, *operators = steps or (None,)
        if is_of_type(policy, transforms.SimCLRView) and isinstance(num_views, int) and all(
                any(is_of_type(step, kind) for kind in OPERATORS) for step in operators):
            policy = {name: value for name, value in policy.items() if name != 'type'}
            if operators:
                policy['operators'] = operators
            # The device draws the boxes, so nothing is known of them when a file is decoded.
            reading = [dict(type=transforms.LoadImage) if is_of_type(step, transforms.LoadImageForCrops)
                       else step for step in reading]
            return reading, num_views, policy
    raise ConfigError("views='device' needs a pipeline that ends in MultiView of one SimCLRView (for all "
                      f'views; after it {", ".join(kind.__name__ for kind in OPERATORS)} may come) and '
                      "PackViews; make other views in the loader (views='loader')")


def adapt_to_determinism(config: Config) -> None:
    """Have cuDNN and cuBLAS be deterministic if the run is to be."""
    if (config.get('randomness') or {}).get('deterministic'):
        config.setdefault('env_cfg', {}).update(cudnn_benchmark=False)
        # Read once, when cuBLAS starts: https://docs.nvidia.com/cuda/cublas/#results-reproducibility
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')


def adapt_to_device(config: Config) -> None:
    """Take out what torch refuses on a CPU, and set what loader processes need, or refuse without any."""
    loader = config.get('train_dataloader')
    if loader and loader.get('num_workers'):
        loader.setdefault('timeout', LOADER_TIMEOUT_S)
    elif loader:
        loader.update(persistent_workers=False, timeout=0)
        loader.pop('prefetch_factor', None)
    if torch.cuda.is_available():
        return
    if config.get('sync_bn'):
        config.sync_bn = None
        if distributed.is_distributed():
            print_log('no GPU: batch norm statistics are per process (sync_bn is for GPUs)', 'current',
                      logging.WARNING)
    if distributed.is_distributed():
        usual = dict(type='MMDistributedDataParallel', broadcast_buffers=False)
        config.model_wrapper_cfg = {**(config.get('model_wrapper_cfg') or usual), 'device_ids': None}


def save_atomically(config: Config) -> None:
    """Have every checkpoint hook of MMEngine's be ours, however the config names it."""
    if config.get('default_hooks') is None:
        config.default_hooks = {}
    config.default_hooks.setdefault('checkpoint', dict(interval=1))
    if config.default_hooks.checkpoint is not None:
        config.default_hooks.checkpoint.setdefault('type', 'CheckpointHook')
    for hook in (*config.default_hooks.values(), *(config.get('custom_hooks') or ())):
        if is_of_type(hook, CheckpointHook, HOOKS):
            hook['type'] = 'mmsimclr.AtomicCheckpointHook'


def write_types_as_text(config: Config) -> None:
    """Put names in the place of classes and functions, so that the config can be read when it is dumped.

    MMEngine does so with whatever a lazy config imports, also plain values, and not with what comes later.
    """
    def text_of(value: Any) -> Any:
        if isinstance(value, LazyAttr | LazyObject):
            built = value.build()
            return value if callable(built) or inspect.ismodule(built) else text_of(built)
        if isinstance(value, list | tuple):
            return type(value)(map(text_of, value))
        if isinstance(value, dict):
            for key, child in [*dict.items(value)]:          # a lazy config's own imports stay as they are
                if (text := text_of(child)) is not child:
                    value[key] = text
        elif inspect.isclass(value) or inspect.isroutine(value):
            name = f'{value.__module__}.{value.__qualname__}'
            return name if get_object_from_string(name) is value else value
        return value

    text_of(config._cfg_dict)


def scale_learning_rate(config: Config) -> None:
    """Scale the learning rate to the real global batch if ``auto_scale_lr`` is enabled."""
    scaling = config.get('auto_scale_lr')
    if not scaling or not scaling.pop('enable', False):
        return
    batch = config.train_dataloader.batch_size * distributed.world_size()
    batch *= config.optim_wrapper.get('accumulative_counts', 1)
    optimizer, rule = config.optim_wrapper.optimizer, scaling.get('rule', 'linear')
    lr = optimizer.lr * scaled_lr(1.0, batch, rule) / scaled_lr(1.0, scaling.base_batch_size, rule)
    MMLogger.get_current_instance().info(
        f'learning rate {optimizer.lr:g} at a global batch of {scaling.base_batch_size} becomes {lr:g} at '
        f'{batch} ({rule} rule)')
    optimizer.lr = lr
