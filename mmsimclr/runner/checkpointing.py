"""Checkpoints of a run: their content, their manifests, and the newest intact one."""

import errno
import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mmengine
import torch
from mmengine.optim import OptimWrapper
from torch.utils._pytree import tree_map_only

from mmsimclr.checkpoints import RECORD_KEY, describe_model
from mmsimclr.checkpoints.errors import CheckpointError, DamagedCheckpointError, listed
from mmsimclr.checkpoints.read import read_checkpoint
from mmsimclr.distributed import unwrap_model
from mmsimclr.errors import InputTypeError, MissingFileError, UserError
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
    """The checkpoints in the folders of a run that it may go on from."""

    path: Path | None = None                                          # the newest that is intact
    iteration: int = -1
    notes: list[str] = field(default_factory=list)                    # why others were passed over
    damaged: list[Path] = field(default_factory=list)                 # of this run
    of_other_runs: list[Path] = field(default_factory=list)           # left in the folder by an earlier run

    def pass_over(self, path: Path, reason: str) -> None:
        """Note that something called like a checkpoint is none that can be gone on from."""
        self.damaged.append(path)
        self.notes.append(f'{path} is passed over: {reason}')


def manifest_of(path: Path) -> Path:
    """Return the path of a checkpoint's manifest."""
    return path.with_name(f'{path.name}.json')


def save_whole(tree: Mapping, path: Path, run_id: str) -> None:
    """Write a checkpoint, then its manifest; each whole or not at all.

    Raises:
        SaveError: If the folder is gone or cannot be written to; an older checkpoint is still there.
    """
    try:
        _require_folder(path)
        # An older file of this name stays usable without its manifest, and never has a wrong one.
        manifest_of(path).unlink(missing_ok=True)
        with atomic_writer(path) as file:
            hashed = _HashedFile(file)
            torch.save(tree, hashed)
            if hashed.error is not None:
                raise hashed.error
        manifest = dict(
            sha256=hashed.sha256.hexdigest(), bytes=hashed.num_bytes, run_id=run_id,
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
    """Remove what killed runs left half-written, and manifests without a checkpoint; return the names.

    No other run may work in the folder. What is no regular file, or no manifest, is not of a run, and stays.
    """
    removed = []
    for path in folder.iterdir():
        # A checkpoint that is a link to a disk which is away has its manifest still.
        orphan = path.name.endswith('.pth.json') and not os.path.lexists(path.with_suffix('')) \
            and _manifest_in(path) is not None
        with suppress(OSError):
            if (orphan or LEFTOVER.fullmatch(path.name)) and stat.S_ISREG(path.lstat().st_mode):
                path.unlink()
                removed.append(path.name)
    return sorted(removed)


def newest_checkpoint(folders: list[Path]) -> Search:
    """Find the intact checkpoint with the most iterations, of the run that saved there last.

    A checkpoint with a manifest is intact if it has that size and SHA-256. One without, as MMEngine or a kill
    leaves them, is intact if it can be read to its end. The first folder has the ``run_id``. Whatever else is
    called ``*.pth`` counts as damaged.
    """
    search, paths = Search(), []
    run_id = read_text(named := folders[0] / 'run_id')
    if os.path.lexists(named) and not RUN_ID.fullmatch(run_id or ''):
        search.notes.append(f'{named} names no run: it is passed over, and the checkpoint with the most '
                            'iterations is taken, of whichever run')
        run_id = None
    for path in sorted(path for folder in folders if folder.is_dir() for path in folder.glob('*.pth')):
        if wrong := _no_file(path):
            search.pass_over(path, wrong)
        else:
            paths.append(path)
    described = {path: manifest for path in paths if (manifest := _read_manifest(path, search))}
    for path, manifest in sorted(described.items(), key=lambda item: item[1]['iteration'], reverse=True):
        if not manifest['resumable']:
            continue
        if run_id and manifest['run_id'] != run_id:
            search.of_other_runs.append(path)
            continue
        try:
            wrong = difference(path, {'sha256': manifest['sha256']}, manifest['bytes'])
        except OSError as error:
            wrong = error.strerror or str(error)
        if wrong:
            search.pass_over(path, f'damaged: {wrong}')
        else:
            search.path, search.iteration = path, manifest['iteration']
            break
    # All of them are read: a copied folder's dates do not tell which has the most iterations.
    for path in sorted(path for path in paths if path not in described):
        _consider(path, run_id, search)
    if search.path and search.path not in described:
        search.notes.append(f'{search.path} has no manifest, so its SHA-256 is not known; it can be read to '
                            'its end')
    return search


def _no_file(path: Path) -> str:
    """Say why a name cannot be that of a checkpoint; return an empty string if it can."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        link = 'a link to what is not there' if path.is_symlink() else 'not accessible'
        return f'{link} ({error.strerror})'
    return '' if stat.S_ISREG(mode) else 'a folder' if stat.S_ISDIR(mode) else 'no regular file'


def _consider(path: Path, run_id: str | None, search: Search) -> None:
    """Take a checkpoint without a manifest if it has more iterations than what was found."""
    try:
        checkpoint = read_checkpoint(path)
    except (UserError, OSError) as error:
        search.pass_over(path, str(error))
        return
    iteration = checkpoint.meta.get('iter')
    if not _is_resumable(checkpoint.tree) or not isinstance(iteration, int):
        return
    if run_id and checkpoint.meta.get('run_id') != run_id:
        search.of_other_runs.append(path)
    elif iteration > search.iteration:
        search.path, search.iteration = path, iteration


def require_any(search: Search, may_start_anew: bool) -> None:
    """Refuse to start from nothing where there are checkpoints.

    Raises:
        DamagedCheckpointError: If all that could be resumed is damaged.
        CheckpointError: If all is of an earlier run, and this one may not start anew.
    """
    if search.path is None and search.damaged:
        raise DamagedCheckpointError(
            f'no checkpoint to resume from is intact: {listed(search.damaged)}. Without --resume the run '
            'starts from the beginning')
    if search.path is None and search.of_other_runs and not may_start_anew:
        raise CheckpointError(
            'the run that was started last in this work directory has saved nothing, and the checkpoints '
            f'there are of an earlier one: {listed(search.of_other_runs)}. '
            'Name the one to resume (--resume FILE)')


def _is_resumable(tree: Mapping) -> bool:
    return RESUMABLE_KEYS.issubset(tree)


def _read_manifest(path: Path, search: Search) -> dict | None:
    manifest = _manifest_in(manifest_of(path))
    if manifest is None and os.path.lexists(manifest_of(path)):
        search.notes.append(f'{manifest_of(path)} is not a manifest')
    return manifest


def _manifest_in(path: Path) -> dict | None:
    try:
        manifest = read_json(path, 'a manifest', MAX_TEXT_BYTES)
        if (isinstance(manifest['iteration'], int) and isinstance(manifest['bytes'], int)
                and re.fullmatch('[0-9a-f]{64}', manifest['sha256'])
                and {'run_id', 'resumable'} <= {*manifest}):
            return manifest
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


class _HashedFile:
    """Counts and hashes what ``torch.save`` writes; raises the error of a failed write when it is through.

    Torch's writer would report an error of its own, and write on in its destructor.
    """

    def __init__(self, file) -> None:
        self.file, self.sha256, self.num_bytes, self.error = file, hashlib.sha256(), 0, None

    def write(self, data) -> int:
        size = memoryview(data).nbytes
        if self.error is None:
            try:
                self.file.write(data)
            except OSError as error:
                self.error = error
            self.sha256.update(data)
            self.num_bytes += size
        return size

    def flush(self) -> None:
        """Do nothing: the file is flushed when it is complete."""


def folders_of_run(work_dir: Path) -> Iterator[Path]:
    """Yield the work directory, and the folder its last checkpoint went to if that is another."""
    yield work_dir
    last = read_text(work_dir / 'last_checkpoint')
    with suppress(OSError, ValueError):                             # an odd name is that of no folder
        folder = Path(last).parent if last else work_dir
        if folder.is_dir() and not folder.samefile(work_dir):
            yield folder


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
        if not isinstance(runner.optim_wrapper, OptimWrapper):
            raise InputTypeError(f'the optimizer cannot be saved: {type(runner.optim_wrapper).__name__} is '
                                 'no OptimWrapper')
        tree['optimizer'] = runner.optim_wrapper.state_dict()
        if not runner.optim_wrapper.should_update():
            runner.logger.warning('the gradient accumulated so far is not saved: a run resumed from here '
                                  'is not bit-identical (save after a multiple of accumulative_counts)')
    if save_param_scheduler and runner.param_schedulers:
        schedulers = runner.param_schedulers
        tree['param_schedulers'] = (
            {name: [state_of(each) for each in group] for name, group in schedulers.items()}
            if isinstance(schedulers, dict) else [state_of(each) for each in schedulers])
    metadata = tree['state_dict']._metadata
    tree = tree_map_only(torch.Tensor, lambda tensor: tensor.detach().cpu(), tree)
    tree['state_dict']._metadata = metadata
    return tree
