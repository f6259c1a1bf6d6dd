"""Write the features of images to a file: python tools/extract_features.py SOURCE CHECKPOINT --out FILE."""

import argparse
import os
import shlex
import sys

from mmsimclr import distributed
from mmsimclr.config import ConfigOptions
from mmsimclr.features import Embedder, extract_to_files, named_images
from mmsimclr.files import ProgressLine
from mmsimclr.runner import plain_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Write the features of images to a file')
    parser.add_argument('source', help='folder of images, or config (.py) that names a dataset')
    parser.add_argument('checkpoint', help='file, address or model-zoo name of the encoder')
    parser.add_argument('--out', required=True, help='FILE.npz, or a folder for memory-mapped arrays')
    parser.add_argument('--dataset-key', metavar='KEY', help='place of the dataset in the config (default: '
                        'that of test_dataloader, val_dataloader or train_dataloader, the first there is)')
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, metavar='KEY=VALUE')
    parser.add_argument('--stages', nargs='+', default=['pooled'], help='pooled (default), stem, layer1 ...')
    parser.add_argument('--dtype', default='float32', help='float32 (default) or float16')
    parser.add_argument('--normalise', action='store_true', help='scale each feature to length 1')
    parser.add_argument('--resize-px', type=int, help='short side (default: 256, CIFAR stem 32)')
    parser.add_argument('--crop-px', type=int, help='central crop (default: 224, CIFAR stem 32)')
    parser.add_argument('--select', help='address of the encoder, where the checkpoint has several')
    parser.add_argument('--skip-unreadable', action='store_true', help='leave out and list bad images')
    parser.add_argument('--batch-size', type=int, default=64, help='of each process (default: %(default)s)')
    parser.add_argument('--num-workers', type=int, default=2, help='of each process (default: %(default)s)')
    parser.add_argument('--device', default='auto', help='default: the GPU if there is one')
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, help='set by some launchers; unused')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    distributed.start(args.launcher, dict(timeout=86_400))    # the fast ranks wait for the slow ones
    images = named_images(args.source, args.dataset_key, args.cfg_options)
    embedder = Embedder(args.checkpoint, args.device, stages=args.stages, normalise=args.normalise,
                        batch_size=args.batch_size, resize_px=args.resize_px, crop_px=args.crop_px,
                        select=args.select)
    command = os.environ.get('MMSIMCLR_COMMAND') or shlex.join(['python', *sys.argv])
    with ProgressLine() as progress:
        features = extract_to_files(
            embedder, images, args.out, dtype=args.dtype, num_workers=args.num_workers, command=command,
            skip_unreadable=args.skip_unreadable, progress=progress)
    if distributed.rank() == 0:
        print(f'{args.out}: {features}')
    distributed.stop()


if __name__ == '__main__':
    with plain_errors('interrupted; the same command goes on from here'):
        main()
