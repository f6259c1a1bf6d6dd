"""Tasks of the ranks of a test: starts of runs that are refused."""

from pathlib import Path

from tiny_run import tiny_config

from mmsimclr.errors import UserError
from mmsimclr.runner import build_runner


def refusal(work_dir: str, cases: list[dict]) -> list[str | None]:
    """Return what the start of a run is refused with, for each change of the config; None if it is not."""
    messages = []
    for number, case in enumerate(cases):
        config = tiny_config(Path(work_dir) / str(number), launcher='pytorch')
        # The neck and the backbone are parts of the model.
        config.merge_from_dict({key if key.split('.')[0] in config else f'model.{key}': value
                                for key, value in case.items()})
        try:
            build_runner(config).train()
            messages.append(None)
        except UserError as error:
            messages.append(str(error))
    return messages
