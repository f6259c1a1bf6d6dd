"""Encoders whose layers are numbered: ``nn.Sequential(*resnet.children())``, as in lightly."""

import re
from collections.abc import Iterable

STAGE = re.compile(r'(.*?)(\d+)\.0\.conv1\.weight')


def sequential_prefixes(names: Iterable[str]) -> dict[str, int]:
    """Return, for each prefix of numbered ResNet layers, the number of its first stage.

    The convolution is number 0, its norm 1; ReLU and max pool may take numbers or not (torchvision's
    children have both; CIFAR variants drop the pool), and four stages follow.
    """
    stages: dict[str, set[int]] = {}
    for name in names:
        if found := STAGE.fullmatch(name):
            stages.setdefault(found[1], set()).add(int(found[2]))
    names = set(names)
    return {prefix: min(numbers) for prefix, numbers in stages.items()
            if len(numbers) == 4 and max(numbers) - min(numbers) == 3 and min(numbers) in (2, 3, 4)
            and f'{prefix}0.weight' in names and f'{prefix}1.weight' in names}


def canonical_key(key: str, first_stage: int) -> str:
    """Return torchvision's key of a numbered one: ``4.0.conv1.weight`` is ``layer1.0.conv1.weight``.

    What follows the stages (a pool has no tensors, a classifier has) keeps its name.
    """
    number, _, rest = key.partition('.')
    if not number.isdigit() or not rest:
        return key
    place = int(number)
    if place in (0, 1):
        return f'{("conv1", "bn1")[place]}.{rest}'
    if first_stage <= place < first_stage + 4:
        # Some CIFAR variants call the projection 'shortcut'.
        return f'layer{place - first_stage + 1}.{rest.replace("shortcut.", "downsample.")}'
    return key
