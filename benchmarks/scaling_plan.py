"""The tables of docs/explanation/scaling.md: what a step on W GPUs sends, holds and reads, by computing."""

from collections.abc import Iterator

from torch.nn.modules.batchnorm import _BatchNorm

from mmsimclr.engine import scaled_lr
from mmsimclr.models import NonLinearNeck, ResNet

WIDTH = 128                                     # of a projection, D
FLOAT_BYTES = 4
# Views of ResNet-50 at 224 pixels through forward and backward pass, per GPU and second: one A100's figure in
# NVIDIA's DeepLearningExamples (ResNet50 v1.5 for PyTorch, mixed precision), and an assumed twice that.
VIEWS_PER_S = (2_470, 5_000)
SLOW_GB_PER_S, FAST_GB_PER_S, WITHIN_NODE_GB_PER_S = 10, 40, 300       # effective, per GPU and direction
GPUS_PER_NODE = 8
FILE_BYTES = 115_000                            # ILSVRC2012's training archive over its 1,281,167 images
IMAGES = {'1000 epochs of ImageNet-1k': 1_281_167 * 1000, '100 of ImageNet-22k': 14_197_122 * 100}
# GPUs and images on each: the paper's batch of 4,096 on ever more of them; then 256 on each.
SETTINGS = ((8, 512), (16, 256), (32, 128), (64, 64), (128, 32), (32, 256), (64, 256), (128, 256))


def parts(width: int = 1) -> tuple[int, int, int]:
    """Return the parameters of ResNet-50 with its head, the number of batch norms, and their channels."""
    modules = (ResNet(depth=50, width_multiplier=width),
               NonLinearNeck(2048 * width, 2048 * width, WIDTH, num_layers=2))
    norms = [norm for part in modules for norm in part.modules() if isinstance(norm, _BatchNorm)]
    parameters = sum(p.numel() for part in modules for p in part.parameters() if p.requires_grad)
    return parameters, len(norms), sum(norm.num_features for norm in norms)


def loss_bytes(gpus: int, images: int) -> int:
    """Bytes a rank sends to gather both views, of which the log takes the second, and their sums."""
    return (gpus - 1) * images * (2 * WIDTH + 2) * FLOAT_BYTES


def norm_bytes(gpus: int, num_norms: int, channels: int) -> float:
    """Bytes a rank sends to gather means, deviations and counts, and to add up two gradients a channel."""
    gathered, added = 2 * channels + num_norms, 2 * channels
    return ((gpus - 1) * gathered + 2 * (gpus - 1) / gpus * added) * FLOAT_BYTES


def gradient_bytes(gpus: int, parameters: int) -> float:
    """Bytes a rank sends in a ring all-reduce."""
    return 2 * (gpus - 1) / gpus * parameters * FLOAT_BYTES


def kept_bytes(gpus: int, images: int) -> int:
    """Bytes of the loss between its passes: everyone's rows and sums, the own rows, losses and gradient."""
    return 2 * images * (gpus * (WIDTH + 1) + 2 * WIDTH + 1) * FLOAT_BYTES


def communication() -> Iterator[tuple]:
    parameters, num_norms, channels = parts()
    yield ('GPUs W', 'images each n', 'batch N', 'loss MB', 'batch norm MB', 'gradients MB', 'computing ms',
           'gradients on slow links ms', 'on fast links ms')
    for gpus, images in SETTINGS:
        gradients = gradient_bytes(gpus, parameters) / 1e6
        fast = FAST_GB_PER_S if gpus > GPUS_PER_NODE else WITHIN_NODE_GB_PER_S
        computing = (f'{2e3 * images / views:.0f}' for views in reversed(VIEWS_PER_S))
        yield (gpus, images, f'{gpus * images:,}', f'{loss_bytes(gpus, images) / 1e6:.1f}',
               f'{norm_bytes(gpus, num_norms, channels) / 1e6:.1f}', f'{gradients:.0f}',
               ' to '.join(computing), f'{gradients / SLOW_GB_PER_S:.0f}', f'{gradients / fast:.1f}')


def widths() -> Iterator[tuple]:
    yield ('ResNet-50 and head', 'parameters M', 'batch norms', 'channels', 'gradients MB', 'slow links ms',
           'fast links ms')
    for width in (1, 2, 4):
        parameters, num_norms, channels = parts(width)
        gradients = gradient_bytes(32, parameters) / 1e6
        yield (f'{width}x', f'{parameters / 1e6:.1f}', num_norms, f'{channels:,}', f'{gradients:,.0f}',
               f'{gradients / SLOW_GB_PER_S:.0f}', f'{gradients / FAST_GB_PER_S:.0f}')


def memory() -> Iterator[tuple]:
    yield 'GPUs W', 'batch N', 'kept MB', 'own rows of the matrix MB', 'whole matrix GB'
    for gpus, images in SETTINGS:
        batch = gpus * images
        own_rows = 2 * images * 2 * batch * FLOAT_BYTES
        yield (gpus, f'{batch:,}', f'{kept_bytes(gpus, images) / 1e6:.1f}', f'{own_rows / 1e6:,.0f}',
               f'{own_rows * gpus / 1e9:.2f}')


def data() -> Iterator[tuple]:
    yield ('views/s per GPU', 'images/s per node', 'reading GB/s', 'cores at 150 images/s', 'at 500 images/s',
           'to the GPUs GB/s, views made in the loader', 'on the device')
    for views in VIEWS_PER_S:
        images = GPUS_PER_NODE * views / 2
        yield (f'{views:,}', f'{images:,.0f}', f'{images * FILE_BYTES / 1e9:.1f}', f'{images / 150:.0f}',
               f'{images / 500:.0f}', f'{images * 2 * 3 * 224**2 / 1e9:.1f}',
               f'{images * 3 * 512**2 / 1e9:.1f}')


def duration() -> Iterator[tuple]:
    yield 'GPUs W', *(f'{name}, hours' for name in IMAGES)
    for gpus in (8, 16, 32, 64, 128):
        yield gpus, *(' to '.join(f'{2 * images / gpus / views / 3600:.1f}'
                                  for views in reversed(VIEWS_PER_S)) for images in IMAGES.values())


def learning_rates() -> Iterator[tuple]:
    yield 'batch N', 'linear: 0.3 N / 256', 'square root: 0.075 √N'
    for batch in (256, 1024, 4096, 8192, 16384, 32768):
        yield f'{batch:,}', f'{scaled_lr(0.3, batch):.2f}', f'{scaled_lr(0.075, batch, "sqrt"):.2f}'


TABLES = (communication, widths, memory, data, duration, learning_rates)


def markdown(rows: Iterator[tuple]) -> str:
    """Return rows, the first of them the header, as a table."""
    header, *body = (f'| {" | ".join(map(str, row))} |' for row in rows)
    return '\n'.join([header, '|' + '---:|' * (header.count('|') - 1), *body])


if __name__ == '__main__':
    print(*(markdown(table()) for table in TABLES), sep='\n\n')
