"""Model cards of encoders, written from result files."""

from collections.abc import Sequence
from pathlib import Path

from mmsimclr.checkpoints import EncoderWeights
from mmsimclr.reporting.summary import read_results
from mmsimclr.reporting.table import markdown_code, markdown_text, metric_title, text_table

CARD = """---
library_name: mmsimclr
pipeline_tag: image-feature-extraction
tags: [simclr, self-supervised-learning, image-feature-extraction]
---

# {title}

An image encoder, pre-trained without labels by SimCLR
(Chen et al. 2020, https://arxiv.org/abs/2002.05709) with mmsimclr.

```python
from mmsimclr import Embedder
features = Embedder('{address}')(['image.jpg'])        # float32 [N, C]
```

| | |
|---|---|
{facts}

## Results

{results}
"""


def model_card(encoder: EncoderWeights, address: str, folders: Sequence[str | Path] = ()) -> str:
    """Return the model card, Markdown, of an encoder that is published at an address.

    Its numbers are those of the result files below ``folders`` that are of this very checkpoint.
    """
    results = [result for result in (read_results(folders) if folders else ())
               if result.checkpoint_sha256 == encoder.sha256]
    facts = {'encoder': encoder.kind, 'settings': ', '.join(
        f'{name}={value!r}' for name, value in encoder.settings.items() if name != 'type'),
        'images': str(encoder.input), 'checkpoint, SHA-256': encoder.sha256}
    trained = next((result for result in results if result.protocol == 'pretraining'), None)
    if trained is not None:
        said = {'epochs': trained.settings.get('max_epochs'), **trained.settings}
        facts |= {'training images': trained.num_images.get('train'), 'dataset': trained.dataset,
                  'iterations': said.get('checkpoint_iterations', said.get('iterations')),
                  **{name: said.get(name) for name in ('epochs', 'global_batch')}}
    rows = [(result.protocol, result.dataset or 'not named', metric_title(name),
             f'{value:.4g}{" %" * name.endswith("_percent")}')
            for result in results for name, value in result.metrics.items()]
    return CARD.format(
        title=markdown_text(address.removeprefix('hf://')), address=address,
        facts='\n'.join(f'| {name} | {markdown_code(value)} |' for name, value in facts.items()
                        if value is not None),
        results=text_table(('protocol', 'data', 'metric', 'value'), rows, markdown=True) if rows else
        'None were published with it.')
