"""Runs that are killed, changed, moved, damaged and resumed in any order: a result is of what it names.

Each run is a fork of this process. The oracle is the same run in a fresh folder, never interrupted: a result
must have its numbers and its weights, bit by bit, or say what was changed on purpose.
"""

import contextlib
import functools
import gc
import hashlib
import json
import os
import shutil
import signal
import tempfile
import traceback
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from hypothesis import Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from mmengine.hooks import Hook
from tiny_probe import probe_config, save_encoder

from mmsimclr.errors import UserError
from mmsimclr.protocols import run_benchmark
from mmsimclr.runner import PretrainRunner

KILLED, REFUSED, BROKEN, DONE = 9, 3, 1, 0
STEPS_PER_EPOCH = 2
# Each changes what is computed.
SETTINGS = {
    'as it is': {},
    'learning rate': {'optim_wrapper.optimizer.lr': 0.05},
    'momentum': {'optim_wrapper.optimizer.momentum': 0.5},
    'order': {'train_dataloader.sampler.shuffle': False},
    'seed': {'randomness.seed': 1},
    'images': {'train_dataloader.dataset.seed': 3},
    'test images': {'test_dataloader.dataset.seed': 5},
    'head': {'model.heads.pooled.init_std': 0.1},
    'batch': {'train_dataloader.batch_size': 9},
    'schedule': {'param_scheduler.0.warmup': 1}}
# None changes anything.
IDLE = ({}, {'log_level': 'ERROR'}, {'default_hooks.checkpoint.interval': 2},
        {'test_dataloader.batch_size': 3}, {'env_cfg': dict(cudnn_benchmark=True)})


# What may be changed on purpose: the values of a run as it is, by the keys of its record.
PLAIN = {'train_dataloader.sampler.shuffle': True, 'train_dataloader.dataset.seed': 'not set',
         'test_dataloader.dataset.seed': 'not set', 'model.heads.pooled.init_std': 0}
LISTS = {f'data.{part}{end}': f'{part}_dataloader.dataset.seed'
         for part in ('train', 'test') for end in ('', '.sample')}


class Asked(NamedTuple):
    """What decides the numbers of a run."""

    encoder: int = 0
    settings: str = 'as it is'
    epochs: int = 2

    @property
    def steps(self) -> int:
        return STEPS_PER_EPOCH * self.epochs


class Kill(NamedTuple):
    """When and how a run ends early: at a step by leaving or by an error, or at the n-th rename of a file."""

    how: str = 'never'
    when: int = 0


NEVER = Kill()
KILLS = st.one_of(st.just(NEVER), st.builds(Kill, st.sampled_from(['leave', 'raise']), st.integers(1, 4)),
                  st.builds(Kill, st.just('rename'), st.integers(1, 16)))


ASKED = st.fixed_dictionaries({}, optional=dict(
    encoder=st.integers(0, 1), settings=st.sampled_from(sorted(SETTINGS)), epochs=st.integers(1, 2)))
CHANGES = st.one_of(st.just({}), st.just({}), ASKED)


class EndEarlyForResumeMachine(Hook):
    """Ends the process after a step, before or after the checkpoint of that step."""

    def __init__(self, how: str, step: int) -> None:
        self.how, self.step = how, step

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.step:
            if self.how == 'raise':
                raise RuntimeError('killed for a test')
            os._exit(KILLED)


@functools.cache
def encoders() -> list[Path]:
    folder = Path(tempfile.mkdtemp(prefix='resume-machine-encoders-'))
    return [save_encoder(folder, seed) for seed in range(2)]


def attempt(folder: Path, asked: Asked, resume: bool = False, kill: Kill = NEVER, allowed: tuple = (),
            idle: dict | None = None) -> tuple[int, str]:
    """Run a fine-tuning in a fork; return how it ended and what it printed last."""
    log = folder.with_name(f'{folder.name}.log')
    log.parent.mkdir(parents=True, exist_ok=True)
    if (process := os.fork()) == 0:
        status = BROKEN
        try:
            signal.alarm(120)
            gc.freeze()                     # MMEngine collects for each dataset
            os.fsync = lambda descriptor: None              # what is killed is a process, not the machine
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for stream in (1, 2):
                os.dup2(descriptor, stream)
            with open(log, 'a', encoding='utf-8') as file, contextlib.redirect_stdout(file), \
                    contextlib.redirect_stderr(file):
                status = _run(folder, asked, resume, kill, allowed, idle or {})
        finally:
            os._exit(status)
    _, waited = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(waited), log.read_text(encoding='utf-8')[-4000:]


def _run(folder: Path, asked: Asked, resume: bool, kill: Kill, allowed: tuple, idle: dict) -> int:
    config = probe_config(folder)
    config.merge_from_dict({
        'protocol': dict(_delete_=True, type='SemiSupervised', labels='10%'), 'model.frozen': False,
        'train_dataloader.dataset.num_images': 20, 'test_dataloader.dataset.num_images': 10,
        'train_cfg.max_epochs': asked.epochs, 'param_scheduler.0.total': 2, 'resume': resume,
        'default_hooks.checkpoint': dict(by_epoch=False, interval=1, max_keep_ckpts=2),
        'custom_hooks': [], 'allow_changed': list(allowed), **SETTINGS[asked.settings], **idle})
    if kill.how in ('leave', 'raise'):
        train = PretrainRunner.train

        def end_early(runner):
            # An odd step before its checkpoint is written, an even one after it.
            runner.register_hook(EndEarlyForResumeMachine(kill.how, kill.when),
                                 priority='HIGH' if kill.when % 2 else 'LOWEST')
            return train(runner)
        PretrainRunner.train = end_early                    # not in the config, which would be another
    if kill.how == 'rename':
        rename, left = os.replace, [kill.when]

        def replace(*args, **kwargs):
            left[0] -= 1
            if not left[0]:
                os._exit(KILLED)
            return rename(*args, **kwargs)
        os.replace = replace
    object.__setattr__(config, '_format_python_code', False)              # yapf would take most of the time
    try:
        run_benchmark(config, str(encoders()[asked.encoder]), device='cpu')
    except UserError as error:
        print(error)
        return REFUSED
    except RuntimeError as error:
        traceback.print_exc()
        return KILLED if 'killed for a test' in str(error) else BROKEN
    except BaseException:
        traceback.print_exc()
        return BROKEN
    return DONE


def weights_of(folder: Path, steps: int) -> dict[str, torch.Tensor]:
    return torch.load(folder / f'iter_{steps}.pth', weights_only=False)['state_dict']


@functools.cache
def uninterrupted(asked: Asked) -> tuple[dict, dict[str, torch.Tensor]]:
    """Return the result and the weights of a run in a fresh folder."""
    with tempfile.TemporaryDirectory(prefix='resume-machine-') as root:
        status, log = attempt(Path(root) / 'run', asked)
        assert status == DONE, log
        return json.loads((Path(root) / 'run/result.json').read_text()), weights_of(
            Path(root) / 'run', asked.steps)


def values_of(asked: Asked) -> dict:
    own = SETTINGS[asked.settings]
    return {'encoder.sha256': hashlib.sha256(encoders()[asked.encoder].read_bytes()).hexdigest(),
            **{key: own.get(key, value) for key, value in PLAIN.items()},
            **{key: value for key, value in own.items() if key not in PLAIN}}


def explained(changed: list[dict], start: Asked, asked: Asked) -> bool:
    """Whether recorded changes lead from the values of one run to those of another, each from the last."""
    values, steps = values_of(start), [resume['step'] for resume in changed]
    for resume in changed:
        changes = {each['key']: (each['then'], each['now']) for each in resume['changes']}
        listed = {LISTS[key] for key in changes if key in LISTS}
        if not changes or listed != changes.keys() & set(LISTS.values()):
            return False
        for key, (then, now) in changes.items():
            if then == now or (key not in LISTS and values.get(key) != then):
                return False
            values |= {} if key in LISTS else {key: now}
    return values == values_of(asked) and steps == sorted(steps)


def test_changes_are_explained_by_all_that_differs_and_nothing_else():
    start, end = Asked(), Asked(encoder=1, settings='head')
    encoder = dict(key='encoder.sha256', then=values_of(start)['encoder.sha256'],
                   now=values_of(end)['encoder.sha256'])
    head = dict(key='model.heads.pooled.init_std', then=0, now=0.1)
    assert explained([dict(step=1, changes=[encoder, head])], start, end)
    assert explained([dict(step=1, changes=[encoder]), dict(step=2, changes=[head])], start, end)
    for wrong in ([], [dict(step=1, changes=[encoder])], [dict(step=1, changes=[head])],
                  [dict(step=1, changes=[encoder, dict(head, now=0.2)])],
                  [dict(step=1, changes=[encoder, dict(head, then=0.2)])],
                  [dict(step=1, changes=[encoder, head, dict(key='lr', then=1, now=2)])],
                  [dict(step=2, changes=[encoder]), dict(step=1, changes=[head])]):
        assert not explained(wrong, start, end)
    assert not explained([dict(step=1, changes=[encoder])], start, Asked(encoder=1, settings='learning rate'))


class ResumeMachine(RuleBasedStateMachine):
    """A work directory and what is done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix='resume-machine-'))
        self.folder, self.moves = self.root / 'run 0', 0
        self.asked, self.idle = Asked(), {}
        self.begun: set[tuple[int, str]] = set()        # encoder and settings of all runs in this folder
        self.is_damaged = self.was_allowed = False

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    @precondition(lambda self: self.folder.exists())
    @rule()
    def move(self):
        self.moves += 1
        self.folder = self.folder.rename(self.root / f'run {self.moves}')

    @precondition(lambda self: any(self.folder.glob('*.pth')))
    @rule(which=st.integers(0, 3), how=st.sampled_from(['delete', 'cut', 'spoil', 'lose the manifest']))
    def damage(self, which, how):
        paths = sorted(self.folder.glob('*.pth'))
        path = paths[which % len(paths)]
        if how == 'lose the manifest':
            path.with_name(f'{path.name}.json').unlink(missing_ok=True)
            return
        self.is_damaged = True
        content = bytearray(path.read_bytes())
        if how == 'delete':
            path.unlink()
        elif how == 'cut':
            path.write_bytes(content[:len(content) // 2])
        else:
            content[len(content) // 2] ^= 1
            path.write_bytes(content)

    @initialize(asked=ASKED, kill=st.builds(Kill, st.sampled_from(['leave', 'raise']), st.integers(2, 4)))
    def begin(self, asked, kill):
        self.asked = self.asked._replace(**asked)
        self._attempt(False, kill, ())

    @rule(change=CHANGES, kill=KILLS)
    def start_anew(self, change, kill):
        self.asked = self.asked._replace(**change)
        self._attempt(False, kill, ())

    @rule(change=CHANGES, idle=st.sampled_from(IDLE), kill=KILLS)
    def resume(self, change, idle, kill):
        self.asked, self.idle = self.asked._replace(**change), idle
        self._attempt(True, kill, ())

    @rule(change=CHANGES, kill=KILLS)
    def resume_with_changes_on_purpose(self, change, kill):
        self.asked = self.asked._replace(**change)
        self._attempt(True, kill, ('encoder', 'train_dataloader', 'test_dataloader', 'model', 'data'))

    def _attempt(self, resume: bool, kill: Kill, allowed: tuple[str, ...]) -> None:
        asked, path = self.asked, self.folder / 'result.json'
        before = path.read_bytes() if path.is_file() else None
        steps = [int(each.stem.removeprefix('iter_')) for each in self.folder.glob('iter_*.pth')]
        status, log = attempt(self.folder, asked, resume, kill, allowed, self.idle)
        note(f'{asked}, resume={resume}, {kill}: {status}')
        assert status != BROKEN, log
        others = self.begun - {asked[:2]}
        self.begun.add(asked[:2])
        self.was_allowed |= bool(allowed)
        if status == REFUSED:
            assert resume and (others or self.is_damaged or max(steps, default=0) > asked.steps), log
        if status != DONE:
            # Nothing was measured: there is the result of before, or none.
            assert not path.is_file() or path.read_bytes() == before, log
            return
        result, (want, weights) = json.loads(path.read_text()), uninterrupted(asked)
        assert result['checkpoint_sha256'] == want['checkpoint_sha256']
        assert result['settings']['steps'] == asked.steps == want['settings']['steps']
        changed = result['settings'].get('changed_on_resume')
        if changed:
            assert self.was_allowed and resume
            assert any(explained(changed, Asked(*start), asked) for start in self.begun), changed
            return
        assert result['metrics'] == want['metrics'], log
        found = weights_of(self.folder, asked.steps)
        assert found.keys() == weights.keys()
        assert all(torch.equal(found[key], value) for key, value in weights.items()), log


@pytest.fixture(scope='module', autouse=True)
def warm_process(tmp_path_factory):
    """Do once what a process does once: the forks are sooner through."""
    with open(os.devnull, 'w') as sink, contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        assert _run(tmp_path_factory.mktemp('warm') / 'run', Asked(), False, NEVER, (), {}) == DONE


TestResumeMachine = pytest.mark.timeout(1200)(ResumeMachine.TestCase)
# A sequence is short enough to be read, and each of a thousand shorter ones would be run.
TestResumeMachine.settings = settings(settings(), phases=[Phase.explicit, Phase.reuse, Phase.generate])


@pytest.mark.parametrize('kind', [key for key in SETTINGS if key not in ('as it is', 'test images')])
def test_every_setting_of_the_machine_decides_something(kind):
    """Otherwise the machine would find nothing."""
    _, plain = uninterrupted(Asked())
    _, other = uninterrupted(Asked(settings=kind))
    assert any(not torch.equal(plain[key], other[key]) for key in plain)
