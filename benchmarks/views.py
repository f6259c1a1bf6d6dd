"""Two random views of an image on one core, beside the SimCLR pipelines of other libraries.

    python benchmarks/views.py --out benchmarks/results/views.json

At 224 pixels from JPEG files of about 500 pixels (generated, or those of --folder): reading and decoding
count. At 32 pixels from arrays in memory, with the policy for CIFAR-10: jitter of strength 0.5, no blur. Each
library makes what it ships: mmpretrain and this one uint8 tensors, lightly normalised floats.
"""

import argparse
import os
import random
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
import view_peers
from measure import alternate, parse, peer_versions, ratios, write
from photographs import photograph, write_photographs

from mmsimclr.transforms import LoadImage, LoadImageForCrops, MultiView, PackViews, SimCLRView


def ours(size: int, in_memory: bool, max_reduction: int = 1) -> Callable[[object], None]:
    view = SimCLRView(32, strength=0.5, blur=False) if in_memory else SimCLRView(size)
    key = 'img' if in_memory else 'img_path'
    load = LoadImageForCrops(max_reduction) if max_reduction > 1 else LoadImage()
    steps = [load, MultiView([view]), PackViews()]

    def make(source: object) -> None:
        results = {key: source}
        for step in steps:
            results = step(results)
    return make


def measure(makers: dict[str, Callable[[object], None]], sources: list, rounds: int) -> dict:
    """Return the seconds for one image (two views), medians, and their ratios to ours."""
    def run(make: Callable[[object], None]) -> None:
        for source in sources:
            make(source)
    rows = ratios(alternate({name: partial(run, make) for name, make in makers.items()}, rounds), 'ours')
    for row in rows.values():
        row['images_per_s'] = len(sources) / row.pop('median_s')
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--folder', type=Path, help='JPEG files to read instead of generated ones')
    parser.add_argument('--images', type=int, default=64, help='files (default: %(default)s)')
    parser.add_argument('--arrays', type=int, default=512, help='images in memory (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=3, help='rounds that count (default: %(default)s)')
    args = parse(parser, quick=dict(images=2, arrays=4, rounds=1))
    if hasattr(os, 'sched_setaffinity'):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    random.seed(0)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        files = sorted(args.folder.glob('*.jp*g'))[:args.images] if args.folder else write_photographs(
            Path(folder), args.images)
        makers = {'ours': ours(224, False), **view_peers.from_files(224)}
        from_files = measure(makers, [str(path) for path in files], args.rounds)
        for seed in range(args.images // 8 or 1):            # cameras' pixels are smooth: twice enlarged
            large = cv2.resize(photograph(seed, 768, 1024), (2048, 1536), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(f'{folder}/large_{seed}.jpg', large)
        reduced = measure({'ours': ours(224, False), 'ours, reduced decoding': ours(224, False, 8)},
                          sorted(map(str, Path(folder).glob('large_*.jpg'))), args.rounds)
        mean_bytes = int(np.mean([path.stat().st_size for path in files]))
    arrays = [cv2.resize(photograph(seed, 64, 64), (32, 32), interpolation=cv2.INTER_AREA)
              for seed in range(args.arrays)]
    makers = {'ours': ours(32, True), **view_peers.from_arrays(32)}
    write(args.out, benchmark='views', images=len(files), source=str(args.folder or 'generated'),
          mean_bytes_of_a_file=mean_bytes, arrays=len(arrays), rounds=args.rounds, threads=1,
          rows={'224 px from JPEG files': from_files,
                '32 px from memory': measure(makers, arrays, args.rounds),
                '224 px from JPEG files of 2048 x 1536': reduced}, peers=peer_versions())


if __name__ == '__main__':
    main()
