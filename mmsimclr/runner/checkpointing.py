"""Checkpoints of a run: their content, their manifests, and the newest intact one."""

import errno
import hashlib
import io
import json
import os
import re
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mmengine
import torch
from torch.utils._pytree import tree_map_only

from mmsimclr.checkpoints import RECORD_KEY, describe_model
from mmsimclr.checkpoints.errors import CheckpointError, DamagedCheckpointError, listed
from mmsimclr.checkpoints.read import read_checkpoint
from mmsimclr.distributed import unwrap_model
from mmsimclr.errors import MissingFileError, UserError
from mmsimclr.files import atomic_writer, difference, read_json, read_regular
from mmsimclr.runner.resume import run_settings, state_of

RESUMABLE_KEYS = {'state_dict', 'optimizer', 'message_hub'}
MAX_TEXT_BYTES = 1 << 16                # of manifests, run_id and last_checkpoint
RUN_ID = re.compile('[0-9A-Za-z_-]{1,64}')
LEFTOVER = re.compile(r'\.(.+\.pth(\.json)?|last_checkpoint|run_id)\.\d+\.tmp')


class SaveError(UserError, OSError):
    """A checkpoint could not be written; what was there before is untouched."""


@dataclass
class Search:
    """The checkpoints in the work directory of a run that it may go on from."""

    path: Path | None = None                                          # the newest that is intact
    iteration: int = -1
    notes: list[str] = field(default_factory=list)                    # why others were passed over
    damaged: list[Path] = field(default_factory=list)                 # of this run
    of_other_runs: list[Path | str] = field(default_factory=list)     # of an earlier run, or saved elsewhere

    def pass_over(self, path: Path, reason: str) -> None:
        """Note that something called like a checkpoint is none that can be gone on from."""
        self.damaged.append(path)
        self.notes.append(f'{path} is passed over: {reason}')


def manifest_of(path: Path) -> Path:
    """Return the path of a checkpoint's manifest."""
    return path.with_name(f'{path.name}.json')


def save_whole(tree: Mapping, path: Path, run_id: str) -> None:
    """Write a checkpoint, then its manifest, each whole or not at all; raise SaveError if that cannot be."""
    try:
        _require_folder(path)
        # An older file of this name stays usable without its manifest, and never has a wrong one.
        manifest_of(path).unlink(missing_ok=True)
        content = io.BytesIO()              # torch's writer would make another error of a disk's
        torch.save(tree, content)
        with atomic_writer(path) as file:
            file.write(content.getbuffer())
        manifest = dict(
            sha256=hashlib.sha256(content.getbuffer()).hexdigest(), bytes=content.tell(), run_id=run_id,
            iteration=tree['meta']['iter'], epoch=tree['meta']['epoch'], resumable=_is_resumable(tree))
        write_text(manifest_of(path), json.dumps(manifest, indent=2) + '\n')
    except OSError as error:
        raise SaveError(f'{path} could not be written ({error.strerror or error})') from error


def write_text(path: Path, text: str) -> None:
    """Write a small file, whole or not at all; its folder must be there."""
    _require_folder(path)
    with atomic_writer(path) as file:
        file.write(os.fsencode(text))               # names of folders need not be UTF-8


def read_text(path: Path) -> str | None:
    """Return what :func:`write_text` wrote; None if there is no such file, or something else."""
    with suppress(OSError, ValueError):
        return os.fsdecode(read_regular(path, MAX_TEXT_BYTES)).strip()
    return None


def _require_folder(path: Path) -> None:
    if not path.parent.is_dir():        # made again, it would be on another disk if a mount has gone
        raise MissingFileError(errno.ENOENT, 'the folder has vanished', str(path.parent))


def remove_leftovers(folder: Path) -> list[str]:
    """Remove what killed runs left half-written, where no other run works; return the names."""
    removed = []
    for path in folder.iterdir():
        with suppress(OSError):
            if LEFTOVER.fullmatch(path.name) and stat.S_ISREG(path.lstat().st_mode):
                path.unlink()
                removed.append(path.name)
    return sorted(removed)


def newest_checkpoint(folder: Path) -> Search:
    """Find the intact checkpoint with the most iterations, of the run that saved there last.

    A checkpoint with a manifest is intact if it has that size and SHA-256. One without, as MMEngine or a kill
    leaves them, is intact if it can be read to its end. Whatever else is called ``*.pth`` counts as damaged.
    """
    search = Search()
    run_id = read_text(named := folder / 'run_id')
    if os.path.lexists(named) and not RUN_ID.fullmatch(run_id or ''):
        search.notes.append(f'{named} names no run: it is passed over, and the checkpoint with the most '
                            'iterations is taken, of whichever run')
        run_id = None
    described = [(manifest, path) for path in sorted(folder.glob('*.pth'))
                 if (manifest := _described(path, search)) and manifest['resumable']]
    for manifest, path in sorted(described, key=lambda each: (each[0]['iteration'], 'sha256' in each[0]),
                                 reverse=True):
        if run_id and manifest['run_id'] != run_id:
            search.of_other_runs.append(path)
        elif 'sha256' in manifest and (wrong := _damage(path, manifest)):
            search.pass_over(path, f'damaged: {wrong}')
        else:
            search.path, search.iteration = path, manifest['iteration']
            if 'sha256' not in manifest:
                search.notes.append(f'{path} has no manifest, so its SHA-256 is not known; it can be read to '
                                    'its end')
            return search
    last = read_text(folder / 'last_checkpoint')
    if last and os.path.dirname(last) != str(folder):             # an older version could save elsewhere
        search.of_other_runs.append(last)
    return search


def _described(path: Path, search: Search) -> dict | None:
    """Return a checkpoint's manifest, or as much as the file itself says; None if it is none."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        link = 'a link to what is not there' if path.is_symlink() else 'not accessible'
        return search.pass_over(path, f'{link} ({error.strerror})')
    if not stat.S_ISREG(mode):
        return search.pass_over(path, 'a folder' if stat.S_ISDIR(mode) else 'no regular file')
    if manifest := read_manifest(path):
        return manifest
    if os.path.lexists(manifest_of(path)):
        search.notes.append(f'{manifest_of(path)} is not a manifest')
    try:
        checkpoint = read_checkpoint(path)
    except (UserError, OSError) as error:
        return search.pass_over(path, str(error))
    iteration = checkpoint.meta.get('iter')
    return dict(iteration=iteration, run_id=checkpoint.meta.get('run_id'),
                resumable=_is_resumable(checkpoint.tree) and isinstance(iteration, int))


def _damage(path: Path, manifest: Mapping) -> str:
    try:
        return difference(path, {'sha256': manifest['sha256']}, manifest['bytes'])
    except OSError as error:
        return error.strerror or str(error)


def require_any(search: Search, may_start_anew: bool) -> None:
    """Raise CheckpointError rather than start from nothing where there are checkpoints."""
    if search.path is None and search.damaged:
        raise DamagedCheckpointError(
            f'no checkpoint to resume from is intact: {listed(search.damaged)}. Without --resume the run '
            'starts from the beginning')
    if search.path is None and search.of_other_runs and not may_start_anew:
        raise CheckpointError(
            'the run that was started last has saved nothing in this work directory; these checkpoints are '
            f'elsewhere, or of an earlier one: {listed(search.of_other_runs)}. Name the one to resume '
            '(--resume FILE)')


def _is_resumable(tree: Mapping) -> bool:
    return RESUMABLE_KEYS.issubset(tree)


def read_manifest(checkpoint: Path) -> dict | None:
    """Return the manifest of a checkpoint; None if it has none, or something else in its place."""
    try:
        manifest = read_json(manifest_of(checkpoint), 'a manifest', MAX_TEXT_BYTES)
        if (isinstance(manifest['iteration'], int) and isinstance(manifest['bytes'], int)
                and re.fullmatch('[0-9a-f]{64}', manifest['sha256'])
                and {'run_id', 'resumable'} <= {*manifest}):
            return manifest
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def checkpoint_content(runner, meta: dict[str, Any], random_states: list[dict], save_optimizer: bool = True,
                       save_param_scheduler: bool = True) -> dict[str, Any]:
    """Return a checkpoint on the CPU: what MMEngine's hold, the encoder's record, and what resuming needs.

    ``meta`` has the run's config, its id and its place, and ``random_states`` those of every rank.
    """
    model = unwrap_model(runner.model)
    record = describe_model(model)
    meta = {
        **meta, 'seed': runner.seed, 'experiment_name': runner.experiment_name,
        'time': time.strftime('%Y%m%d_%H%M%S'), 'mmengine_version': mmengine.__version__,
        'dataset_meta': getattr(runner.train_dataloader.dataset, 'metainfo', None),
        'run': run_settings(runner), **({RECORD_KEY: record} if record else {})}
    tree = dict(meta=meta, state_dict=model.state_dict(), message_hub=runner.message_hub.state_dict(),
                random_states=random_states)
    if save_optimizer:
        tree['optimizer'] = runner.optim_wrapper.state_dict()
        if not runner.optim_wrapper.should_update():
            runner.logger.warning('the gradient accumulated so far is not saved: a run resumed from here '
                                  'is not bit-identical (save after a multiple of accumulative_counts)')
    if save_param_scheduler and runner.param_schedulers:
        tree['param_schedulers'] = [state_of(each) for each in runner.param_schedulers]
    metadata = tree['state_dict']._metadata
    tree = tree_map_only(torch.Tensor, lambda tensor: tensor.detach().cpu(), tree)
    tree['state_dict']._metadata = metadata
    return tree
