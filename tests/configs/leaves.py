"""The leaf configs and what their names say."""

import re
from dataclasses import dataclass
from pathlib import Path

CONFIGS = Path(__file__).parents[2] / 'configs'
LEAVES = sorted((CONFIGS / 'simclr').glob('simclr_resnet*.py'))      # others are in test_timm_leaves.py
GRAMMAR = re.compile(
    r'(?P<method>simclr)_(?P<backbone>[a-z]+(?P<depth>\d+)(?:-(?:(?P<width>\d)x|w(?P<base>\d+)))?)'
    r'_(?P<gpus>\d+)xb(?P<batch>\d+)-(?P<schedule>coslr)-(?P<epochs>\d+)e_(?P<dataset>[a-z0-9]+)')


@dataclass(frozen=True)
class Name:
    """What a leaf's name states."""

    depth: int
    width: int
    base_channels: int
    gpus: int
    batch_per_gpu: int
    epochs: int
    dataset: str

    @property
    def global_batch(self) -> int:
        """Images of one step over all GPUs."""
        return self.gpus * self.batch_per_gpu


def parse_name(stem: str) -> Name:
    """Return what a name states; ValueError if it does not follow the grammar."""
    match = GRAMMAR.fullmatch(stem)
    if match is None:
        raise ValueError(f'{stem} does not follow the grammar of names')
    number = {key: int(value) for key, value in match.groupdict().items() if value and value.isdecimal()}
    return Name(number['depth'], number.get('width', 1), number.get('base', 64), number['gpus'],
                number['batch'], number['epochs'], match['dataset'])
