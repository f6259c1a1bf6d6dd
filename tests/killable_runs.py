"""Tiny runs in processes of their own, to be killed; every attempt resumes."""

import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

import mmengine.runner.runner
import torch
import torch.distributed as dist
from processes import CONTEXT
from tiny_run import tiny_config

from mmsimclr.models import NTXentLoss
from mmsimclr.registry import MODELS
from mmsimclr.runner import build_runner, plain_errors

STEPS_PER_EPOCH = 4


@MODELS.register_module(force=True)
class NoisyLossForKillTest(NTXentLoss):
    """NT-Xent that draws from torch's generator, as dropout would."""

    def forward(self, view_1, view_2, temperature):
        """Return the loss, scaled at random."""
        return super().forward(view_1, view_2, temperature) * (0.5 + torch.rand(()))


def run_config(work_dir: Path, epochs: int, world_size: int = 1, **changes):
    """Return the config of a run that saves after every iteration and evaluates after every epoch."""
    images = dict(type='Shapes', image_size=16, pipeline=[dict(type='PackImage')])
    config = tiny_config(
        Path(work_dir),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        param_scheduler=[dict(type='WarmupCosineLR', warmup=1, total=epochs, convert_to_iter_based=True)],
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1), preemption=dict(type='PreemptionHook'),
                           checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1,
                                           max_keep_ckpts=2)),
        custom_hooks=[dict(type='RunSummaryHook'), dict(type='FiniteLossHook'),
                      dict(type='OnlineKNNHook', bank=dict(images, num_images=12), interval=1,
                           queries=dict(images, num_images=6, split='test'), classifier=dict(
                               type='KNNClassifier', k=3))],
        env_cfg=dict(dist_cfg=dict(timeout=20)))
    config.train_dataloader.batch_size = 4 // world_size
    config.model.head.loss = dict(type='NoisyLossForKillTest')
    config.launcher = 'pytorch' if world_size > 1 else 'none'
    config.merge_from_dict(changes)
    return config


def start(work_dir: Path, epochs: int, rank: int = 0, world_size: int = 1, rendezvous: Path | None = None,
          prepare: Callable[[], None] | None = None, **changes) -> BaseProcess:
    """Start one rank of a run that resumes if there is something to resume.

    Its output goes to ``WORK_DIR.rank.log``, which gets a line for every start.

    Args:
        rendezvous: A file that is not there yet, where the ranks find each other.
        prepare: Called in the process before it builds the run.
    """
    process = CONTEXT.Process(
        target=_main, args=(str(work_dir), epochs, rank, world_size, rendezvous, prepare, changes))
    process.start()
    return process


def log(work_dir: Path, rank: int = 0) -> str:
    """Return what a rank has printed in all its lives."""
    path = Path(f'{work_dir}.{rank}.log')
    return path.read_text(encoding='utf-8') if path.is_file() else ''


def steps(work_dir: Path) -> int:
    """Return how many steps the log files of a run have, of all its lives; the console shows few of them."""
    return sum(path.read_text(encoding='utf-8').count('  step ') for path in work_dir.glob('*/*.log'))


def _main(work_dir: str, epochs: int, rank: int, world_size: int, rendezvous: Path | None, prepare,
          changes: dict) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)        # a shell's background job ignores it
    file = os.open(f'{work_dir}.{rank}.log', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout, sys.stderr = (os.fdopen(stream, 'w', encoding='utf-8', buffering=1, closefd=False)
                              for stream in (1, 2))
    torch.set_num_threads(1)
    os.environ.update(CUDA_VISIBLE_DEVICES='', RANK=str(rank), LOCAL_RANK=str(rank),
                      WORLD_SIZE=str(world_size))
    mmengine.runner.runner.collect_env = dict            # asks compilers, which takes a second
    with plain_errors():
        if prepare:
            prepare()
        config = run_config(Path(work_dir), epochs, world_size, **changes)
        config.resume = True
        if world_size > 1:
            dist.init_process_group(
                'gloo', init_method=f'file://{rendezvous}', rank=rank, world_size=world_size,
                timeout=timedelta(seconds=20))
        build_runner(config).train()
    sys.exit(0)


def state(path: Path) -> dict:
    """Return all that a checkpoint holds which an interruption must not change."""
    tree = torch.load(path, weights_only=False)
    scalars = tree['message_hub']['log_scalars']
    return dict(
        weights=tree['state_dict'], optimizer=tree['optimizer']['state'],
        rates=[group['lr'] for group in tree['optimizer']['param_groups']],
        schedule=tree['param_schedulers'][0]['last_step'], torch_generators=[
            each['torch'] for each in tree['random_states']],
        losses=torch.from_numpy(scalars['train/loss']._log_history),
        knn=tree['message_hub']['runtime_info']['knn_accuracy_at_start'],
        iteration=tree['meta']['iter'])


def assert_identical(got: object, want: object, place: str = '') -> None:
    """Compare trees bit by bit."""
    assert type(got) is type(want), place
    if isinstance(want, dict):
        assert got.keys() == want.keys(), place
        for key in want:
            assert_identical(got[key], want[key], f'{place}.{key}')
    elif isinstance(want, list | tuple):
        assert len(got) == len(want), place
        for number, pair in enumerate(zip(got, want, strict=True)):
            assert_identical(*pair, f'{place}[{number}]')
    elif isinstance(want, torch.Tensor):
        assert torch.equal(got, want), place
    else:
        assert got == want, place


def wait_until(happened: Callable[[], bool], process: BaseProcess, timeout_s: float = 60) -> bool:
    """Wait until something happens or the process ends; return whether the process is alive then."""
    deadline = time.monotonic() + timeout_s
    while not happened() and process.is_alive():
        assert time.monotonic() < deadline, 'it never happened'
        time.sleep(0.002)
    return process.is_alive()
