"""Ranks that resume, of which one sees another folder than the first."""

from pathlib import Path

from tiny_run import tiny_config

from mmsimclr import distributed
from mmsimclr.runner import Search, build_runner, checkpointing


def train(work_dir: Path, name: str, epochs: int, resume: bool) -> dict:
    """Train two steps an epoch, saving after each; return where it began and ended, and a weight."""
    config = tiny_config(
        work_dir, experiment_name=name, resume=resume, launcher='pytorch',
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        param_scheduler=[dict(type='WarmupCosineLR', warmup=1, total=2, convert_to_iter_based=True)],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1)))
    config.train_dataloader.batch_size = 4
    runner = build_runner(config)
    runner.train()
    info = runner.message_hub
    return dict(began=info.get_info('started_at_iteration'), ended=runner.iter, run_id=runner._run_id,
                weight=runner.model.module.neck.fc0.weight.detach().clone())


def resume_where_the_last_rank_sees(seen: str, work_dir: str) -> list[dict]:
    """Train one epoch and go on to the second, where the last rank sees an older checkpoint or none."""
    folder = Path(work_dir)
    first = train(folder, 'first', 1, resume=False)
    if distributed.rank():
        checkpointing.newest_checkpoint = lambda folder: Search() if seen == 'nothing' else Search(
            folder / 'iter_1.pth', 1)
    return [first, train(folder, 'second', 2, resume=True)]
