"""A model zoo of two models, one with weights, whose files lie wherever a test wants them."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from mmsimclr.checkpoints import zoo_index
from mmsimclr.files import shipped

FOLDER = 'mmselfsup/1.x/simclr/tiny'


class TinyZoo:
    """An index that stands for the real one.

    Args:
        root: Folder for the index.
        content: What the published file holds.
        hosts: Addresses that publish it, the first under ``Weights``.
        config: Config of both models.
        sha256: The whole digest that the index names for the first.

    Attributes:
        file_name: Name of the published file.
        published_path: The path it was published under.
    """

    def __init__(self, root: Path, content: bytes, hosts: list[str], config: Path,
                 sha256: str | None = None) -> None:
        self.content = content
        self.file_name = f'tiny_20260101-{hashlib.sha256(content).hexdigest()[:8]}.pth'
        self.published_path = f'{FOLDER}/{self.file_name}'
        meta = {'Epochs': 5, 'Batch Size': 128, 'FLOPs': 1, 'Parameters': 2, 'Training Data': 'Shapes'}
        model = {'In Collection': 'SimCLR', 'Metadata': meta, 'Config': str(config)}
        metafile = {
            'Collections': [{'Name': 'SimCLR', 'Metadata': {'Weights Hosts': hosts}}],
            'Models': [{'Name': 'tiny', **model, 'Weights': f'{hosts[0]}/{self.published_path}'},
                       {'Name': 'tiny-untrained', **model}]}
        if sha256:
            metafile['Models'][0]['Weights SHA256'] = sha256
        (root / 'metafile.yml').write_text(yaml.safe_dump(metafile))
        (root / 'model-index.yml').write_text('Import: [metafile.yml]')

        self.root = root

    @contextmanager
    def in_use(self) -> Iterator['TinyZoo']:
        """Let the package read this index."""
        functions = zoo_index.model_entries, zoo_index._metafiles
        package, shipped.PACKAGE = shipped.PACKAGE, self.root / 'mmsimclr'
        for function in functions:
            function.cache_clear()
        yield self
        shipped.PACKAGE = package
        for function in functions:
            function.cache_clear()
