"""Encoders from and to the Hugging Face Hub, at addresses ``hf://owner/name``."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from mmsimclr.checkpoints.zoo import FetchError
from mmsimclr.errors import InputError, needing

ADDRESS = re.compile(r'hf://([\w.-]+/[\w.-]+?)(?:/([^@]+?))?(?:@([\w./-]+))?/?')
FILE = 'model.safetensors'                                   # what the Hub's libraries call it


def fetch_from_hub(address: str) -> Path:
    """Return the file at ``hf://owner/name``, perhaps with ``/FILE`` and ``@REVISION`` behind it, fetched.

    Server, cache and token are those of huggingface_hub (``HF_ENDPOINT``, ``HF_HOME``, ``HF_TOKEN``).

    Raises:
        InputError: If the address is none.
        FetchError: If it is not there, or the Hub cannot be reached.
    """
    name, file, revision = _parts(address)
    offline = os.environ.get('MMSIMCLR_OFFLINE', '0') not in ('', '0')
    return Path(_ask(address, lambda hub: hub.hf_hub_download(
        name, file or FILE, revision=revision, local_files_only=offline)))


def upload_to_hub(folder: Path, address: str) -> str:
    """Put the files of a folder into the repository ``hf://owner/name``, made if missing; return its page.

    Errors are those of :func:`fetch_from_hub`.
    """
    name, file, revision = _parts(address)
    if file:
        raise InputError(f'a model is published as a whole repository, hf://{name}, got {address!r}')

    def upload(hub: ModuleType) -> str:
        api = hub.HfApi()
        page = str(api.create_repo(name, exist_ok=True))
        api.upload_folder(repo_id=name, folder_path=folder, revision=revision,
                          commit_message='Publish with mmsimclr')
        return page
    return _ask(address, upload)


def _parts(address: str) -> tuple[str, str | None, str | None]:
    if not (found := ADDRESS.fullmatch(address)):
        raise InputError('an address on the Hugging Face Hub must be hf://owner/name, perhaps with /FILE and '
                         f'@REVISION behind it, got {address!r}')
    return found.groups()


def _ask(address: str, ask: Callable[[ModuleType], Any]) -> Any:
    with needing('hub', 'hf://'):
        import huggingface_hub
    try:
        return ask(huggingface_hub)
    except Exception as error:              # its own, or of whatever library it asks the network by
        reason = ' '.join(str(error).split())[:300] or type(error).__name__
        raise FetchError(
            f'{address}: {reason}. Asked was {huggingface_hub.constants.ENDPOINT} (HF_ENDPOINT names '
            'another server; `hf auth login` or HF_TOKEN let you in). Without a network, fetch the file '
            'elsewhere and name its path') from error
