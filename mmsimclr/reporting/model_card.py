"""Model cards of encoders, written from result files."""

from collections.abc import Sequence
from pathlib import Path

from mmsimclr.checkpoints import EncoderWeights
from mmsimclr.reporting.summary import read_results
from mmsimclr.reporting.table import metric_title, template


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
        facts |= {'training images': trained.num_images.get('train'), 'dataset': trained.dataset,
                  **{name: trained.settings.get(name) for name in ('max_epochs', 'global_batch')}}
    rows = [(result.protocol, result.dataset or 'not named', metric_title(name),
             f'{value:.4g}{" %" * name.endswith("_percent")}')
            for result in results for name, value in result.metrics.items()]
    return template('model_card.md.jinja').render(address=address, facts=facts, rows=rows)
