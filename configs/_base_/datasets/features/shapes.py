"""The built-in images for benchmarks: Shapes, 32 pixels, rendered in memory."""

from mmsimclr.datasets import Shapes

dataset_name = 'Shapes'
train = dict(type=Shapes, num_images=4_000, split='train', pipeline=[])
test = dict(type=Shapes, num_images=2_000, split='test', pipeline=[])
