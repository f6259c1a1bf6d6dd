"""Whole training steps of ResNet-50 at 224 pixels on a GPU, from JPEG files: ours beside mmpretrain's.

    python benchmarks/gpu_step.py --out benchmarks/results/gpu/gpu_step.json

Ours is the recipe for ImageNet with --amp bf16, ``views='device'`` and ``compile=True``; mmpretrain's is its
SimCLR config as it ships: float32, 32 images, views made in the loader; once more in its favour, in bfloat16
autocast, channels-last and with the batch of ours. All have the same number of loader processes and read the
same files, about 500 pixels long; they train one after the other, and what the loader has made in advance is
used up before the clock runs. Batches wait in /dev/shm, 200 MB each of ours.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from measure import in_turn, parse, peer_versions, ratios, write
from mmengine.config import Config
from mmengine.dataset import default_collate as mmengine_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from peers import mmpretrain_config
from photographs import write_photographs
from step import trainer
from torch.utils.data import Dataset, default_collate

from mmsimclr.engine import BFloat16OptimWrapper
from mmsimclr.registry import MODELS, TRANSFORMS
from mmsimclr.runner import compile_encoder
from mmsimclr.runner.build import place_views

CONFIG = Path(__file__).parents[1] / 'configs/simclr/simclr_resnet50_8xb32-coslr-200e_in1k.py'


class Files(Dataset):
    """The same few files over and over, through a pipeline."""

    def __init__(self, paths: list[str], length: int, steps: list[Callable]) -> None:
        self.paths, self.length, self.steps = paths, length, steps

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        results = {'img_path': self.paths[index % len(self.paths)], 'sample_idx': index}
        for step in self.steps:
            results = step(results)
        return results


def ours(paths: list[str], args: argparse.Namespace, device: str) -> Callable[[], None]:
    init_default_scope('mmsimclr')
    cfg = Config.fromfile(CONFIG)
    cfg.views = 'device'
    place_views(cfg)
    model = MODELS.build(cfg.model).to(device)
    if device == 'cuda':
        compile_encoder(model)
    wrapper = build_optim_wrapper(model, {**cfg.optim_wrapper, 'type': BFloat16OptimWrapper, 'enabled': True})
    pipeline = [TRANSFORMS.build(step) for step in cfg.train_dataloader.dataset.pipeline]
    return trainer(model, wrapper, Files(paths, 100 * args.images, pipeline), default_collate, args,
                   pin_memory=device == 'cuda')              # as the config has it


def mmpretrain(paths: list[str], args: argparse.Namespace, device: str, favoured: bool = False
               ) -> Callable[[], None]:
    from mmpretrain.registry import MODELS as PEER_MODELS
    from mmpretrain.registry import TRANSFORMS as PEER_TRANSFORMS
    cfg = mmpretrain_config()
    model = PEER_MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor}).to(device)
    pipeline = [PEER_TRANSFORMS.build(step) for step in cfg.train_pipeline]
    wrapper = cfg.optim_wrapper
    if favoured:
        model = model.to(memory_format=torch.channels_last)
        wrapper = {**wrapper, 'type': BFloat16OptimWrapper, 'enabled': True}
    return trainer(model, build_optim_wrapper(model, wrapper),
                   Files(paths, 100 * args.images, pipeline), mmengine_collate, args)


FAVOURED = 'mmpretrain, AMP and channels-last'
RUNS = {'ours': ours, 'mmpretrain': mmpretrain, FAVOURED: partial(mmpretrain, favoured=True)}


def seconds_of_rounds(name: str, folder: Path, args: argparse.Namespace) -> list[float]:
    """Train; return the seconds of each round, once what the loader made before the first is used up."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    torch.backends.cudnn.benchmark = True                        # as both libraries' configs have it
    train = RUNS[name](sorted(map(str, folder.glob('*.jpg'))), args, device)
    seconds = []
    for _ in range(2 * args.workers // args.steps + 2 + args.rounds):
        started = time.perf_counter()
        train()
        if device == 'cuda':
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return seconds[-args.rounds:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=256, help='images of our batch (default: %(default)s)')
    parser.add_argument('--steps', type=int, default=8, help='steps of a round (default: %(default)s)')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='default: one for each core')
    parser.add_argument('--rounds', type=int, default=9, help='rounds that count (default: %(default)s)')
    parser.add_argument('--only', nargs=2, metavar=('NAME', 'FOLDER'), help=argparse.SUPPRESS)
    args = parse(parser, quick=dict(images=2, steps=1, workers=0, rounds=1))
    if args.only:
        print(json.dumps(seconds_of_rounds(args.only[0], Path(args.only[1]), args)))
        return
    # The peer's batch is 32 as it ships, so it does more steps for as many images.
    batches = {'ours': args.images, 'mmpretrain': min(32, args.images), FAVOURED: args.images}
    with tempfile.TemporaryDirectory() as folder:
        write_photographs(Path(folder), min(256, args.images))
        rows = ratios(in_turn(__file__, {name: [
            '--images', batch, '--steps', args.steps * args.images // batch, '--workers', args.workers,
            '--rounds', args.rounds, '--only', name, folder] for name, batch in batches.items()
            if find_spec('mmpretrain') or name == 'ours'}), 'ours')
    for row in rows.values():
        row['images_per_s'] = args.images * args.steps / row.pop('median_s')
    write(args.out, benchmark='gpu_step', device='cuda' if torch.cuda.is_available() else 'cpu',
          images=args.images, steps=args.steps, workers=args.workers, rounds=args.rounds, rows=rows,
          peers=peer_versions())


if __name__ == '__main__':
    main()
