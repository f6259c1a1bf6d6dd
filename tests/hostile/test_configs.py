"""Configs with random edits: refused by an error of the user, or a run whose first two steps are sound.

Each run is a fork of this process, of a leaf that was made small. torch and MMEngine refuse some values by
errors of their own, before the first step; these count as refusals too. What is not allowed: an error out of
this package that is none of the user's, an error after the first step, a loss that is 0 or not finite, a rate
below 0, a run without a step, a crash, and a run that hangs.
"""

import contextlib
import gc
import math
import os
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import event, given, note
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.hooks import Hook

from mmsimclr.config import check_config, load_config
from mmsimclr.errors import UserError
from mmsimclr.protocols import pretrain
from mmsimclr.runner import PretrainRunner

ROOT = Path(__file__).parents[2]
LEAVES = sorted(path.stem for path in (ROOT / 'configs/simclr').glob('*.py'))
SOUND, REFUSED, REFUSED_ELSEWHERE, BROKEN = 0, 3, 4, 1
# What makes an encoder small, by its name in timm; of a ResNet, which has none.
SMALL = {None: dict(base_channels=4), 'convnext_atto': dict(depths=[1, 1, 1, 1], dims=[8, 8, 8, 8]),
         'vit_tiny_patch16_224': dict(depth=1, embed_dim=16, num_heads=2)}
SECONDS, MEMORY = 90, 4_000_000_000
# Nothing that only takes long or needs a large machine.
VALUES = [0, -1, 1, 2, 3, 0.5, -0.5, 1e-30, math.nan, math.inf, '', 'x', None, True, False, [], {}, [1],
          [-1, 'x'], dict(type='Unknown'), dict(lr_mult=-1)]
EDITS = st.lists(st.tuples(st.sampled_from(['set', 'set', 'set', 'drop', 'misspell', 'add']), st.floats(0, 1),
                           st.sampled_from(range(len(VALUES)))), min_size=1, max_size=3)
# Keys that other components know, in whatever place.
ADDED = ['lr_mult', 'gamma', 'eta_min', 'batch_sampler', 'val_interval', 'interval', 'save_last', 'begin',
         'end', 'accumulative_counts', 'clip_grad', 'paramwise_cfg', 'drop_last', 'prefetch_factor', 'type']


def small(leaf: str, work_dir: Path) -> Config:
    """Return a leaf's config, of a few images that are drawn, with a narrow encoder, in two steps."""
    config = load_config(ROOT / f'configs/simclr/{leaf}.py', {
        'model.neck.hid_channels': 8, 'train_dataloader.batch_size': 4,
        'train_dataloader.num_workers': 0, 'train_dataloader.persistent_workers': False,
        'train_cfg.max_epochs': 1, 'optim_wrapper.optimizer.lr': 0.1,
        'default_hooks.checkpoint.interval': 1}, work_dir)
    backbone = config.model.backbone
    backbone.update(SMALL[backbone.get('name')])
    config.model.neck.pop('in_channels', None)
    if 'warmup' in config.param_scheduler[0]:
        config.param_scheduler[0].warmup = 0
    pipeline = [step for step in config.train_dataloader.dataset.pipeline
                if not getattr(step.get('type'), '__name__', step.get('type')).startswith('Load')]
    config.train_dataloader.dataset = dict(type='Shapes', num_images=8, image_size=32, pipeline=pipeline)
    config.custom_hooks = [hook for hook in config.custom_hooks if not {'bank', 'held_out'} & {*hook}]
    return config


def places(node: Any, place: tuple = ()) -> Iterator[tuple]:
    """Yield the place of every value of a config."""
    for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
        yield (*place, key)
        if isinstance(value, Mapping | list | tuple):
            yield from places(value, (*place, key))


def edit(config: Config, how: str, share: float, value: Any) -> str:
    """Edit one place of a config; return what was done."""
    config = config._cfg_dict
    known = [place for place in places(config) if place[0] not in ('work_dir', 'launcher', 'default_scope')]
    *parents, key = known[min(int(share * len(known)), len(known) - 1)]
    node = config
    for parent in parents:
        node = node[parent]
    if isinstance(node, tuple):
        return 'nothing'
    if how == 'add':
        added = ADDED[int(share * 1e6) % len(ADDED)]
        target = node if isinstance(node, Mapping) else config
        target[added] = value
        key = added
    elif how == 'set':
        node[key] = value
    elif how == 'drop' or isinstance(node, list):
        del node[key]
    else:
        node[f'{key}x'] = node.pop(key)
    return f'{how} {".".join(map(str, (*parents, key)))} {value!r}'


class SoundStepsHook(Hook):
    """Ends the process after two sound steps."""

    priority = 'LOWEST'

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        rates = [group[key] for group in runner.optim_wrapper.param_groups for key in ('lr', 'weight_decay')]
        loss = float(outputs['loss'])
        assert math.isfinite(loss) and loss > 0, f'the loss is {loss}'
        assert min(rates) >= 0, f'rates are {sorted(set(rates))}'
        if runner.iter + 1 >= 2:
            assert all(torch.isfinite(each).all() for each in runner.model.parameters()), 'not finite'
            os._exit(SOUND)


def run(leaf: str, edits: list, work_dir: Path) -> int:
    """Run an edited leaf; return how it ended."""
    config, train, steps = small(leaf, work_dir), PretrainRunner.train, []

    def with_hook(runner):
        runner.register_hook(SoundStepsHook())
        steps.append(runner)
        return train(runner)
    PretrainRunner.train = with_hook
    try:
        for how, share, number in edits:
            print('EDIT', edit(config, how, share, VALUES[number]), flush=True)
        check_config(config)
        object.__setattr__(config, '_format_python_code', False)
        pretrain(config, leaf, '')
    except UserError as error:
        print(f'{type(error).__name__}: {error}')
        return REFUSED
    except BaseException as error:
        traceback.print_exc()
        last = traceback.extract_tb(error.__traceback__)[-1].filename
        begun = bool(steps) and getattr(steps[0]._train_loop, 'iter', 0) > 0       # iter itself builds it
        ours = str(ROOT / 'mmsimclr') in last or str(ROOT / 'tests') in last
        return BROKEN if ours or begun else REFUSED_ELSEWHERE
    return SOUND if steps and steps[0].iter >= 1 else BROKEN                # it has one step, say


def attempt(leaf: str, edits: list) -> tuple[int, str]:
    """Run an edited leaf in a fork; return how it ended, and what it printed last."""
    with tempfile.TemporaryDirectory(prefix='hostile-configs-') as folder:
        log = Path(folder) / 'log'
        if (process := os.fork()) == 0:
            status = BROKEN
            try:
                signal.alarm(SECONDS)
                gc.freeze()
                pages = int(Path('/proc/self/statm').read_text().split()[0])
                resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
                os.fsync = lambda descriptor: None
                descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                for stream in (1, 2):
                    os.dup2(descriptor, stream)
                os.chdir(folder)
                with open(log, 'a', buffering=1, encoding='utf-8') as file, \
                        contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
                    status = run(leaf, edits, Path(folder) / 'run')
            finally:
                sys.stdout.flush()
                os._exit(status)
        _, waited = os.waitpid(process, 0)
        return os.waitstatus_to_exitcode(waited), log.read_text(encoding='utf-8', errors='replace')


@pytest.mark.slow
@pytest.mark.parametrize('leaf', LEAVES)
def test_every_leaf_as_it_is_makes_two_sound_steps(leaf):
    status, log = attempt(leaf, [])
    assert status == SOUND, log[-3000:]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@given(leaf=st.sampled_from(LEAVES), edits=EDITS)
def test_an_edited_config_is_refused_or_makes_two_sound_steps(leaf, edits):
    status, log = attempt(leaf, edits)
    event({SOUND: 'sound', REFUSED: 'refused', REFUSED_ELSEWHERE: 'refused by torch or MMEngine'}.get(
        status, 'broken'))
    note('\n'.join(line for line in log.splitlines() if line.startswith('EDIT')))
    assert status in (SOUND, REFUSED, REFUSED_ELSEWHERE), f'{status}\n{log[-3000:]}'


@pytest.mark.slow
@pytest.mark.parametrize('key, value, status', [
    ('train_dataloader.batch_size', 1, REFUSED), ('optim_wrapper.optimizer.lr', -1, REFUSED),
    ('train_cfg.val_interval', 0, REFUSED), ('randomness.seed', 1, SOUND)])
def test_the_outcomes_are_told_apart(key, value, status, monkeypatch):
    def edit_key(config, *_):
        config.merge_from_dict({key: value})
        return key
    monkeypatch.setattr(sys.modules[__name__], 'edit', edit_key)
    assert attempt(LEAVES[-1], [('set', 0.0, 0)])[0] == status
