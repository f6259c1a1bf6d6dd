"""Odd entries of a work directory: the newest intact checkpoint is found beside any, and none is deleted."""

import json
import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_run import log_of, tiny_runner

from mmsimclr.checkpoints import DamagedCheckpointError
from mmsimclr.runner import newest_checkpoint, remove_leftovers, require_any, save_whole


def save(path, iteration, run_id='a'):
    save_whole({'meta': dict(iter=iteration, epoch=iteration, run_id=run_id), 'message_hub': {},
                'state_dict': {'weight': torch.full((4,), float(iteration))}, 'optimizer': {}}, path, run_id)


@pytest.fixture(scope='module')
def good(tmp_path_factory):
    """Return a folder with three intact checkpoints."""
    folder = tmp_path_factory.mktemp('good')
    for iteration in (1, 2, 3):
        save(folder / f'iter_{iteration}.pth', iteration)
    return folder


def _socket(path, good):
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(path.parent)                           # the names of sockets are short
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)


def _folder(path, good):
    path.mkdir()
    (path / 'kept.txt').write_text('kept')


def _cut(path, good):
    content = (good / 'iter_3.pth').read_bytes()
    path.write_bytes(content[:len(content) // 2])


def _flipped(path, good):
    """A checkpoint of iteration 99, with its manifest, and a bit that has changed."""
    save(path, 99)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


# Each makes what is no intact checkpoint of this run.
ODD_CHECKPOINTS = {
    'dangling': lambda path, good: path.symlink_to(path.parent / 'nowhere' / 'x'),
    'loop': lambda path, good: path.symlink_to(path.name),
    'folder': _folder, 'fifo': lambda path, good: os.mkfifo(path), 'socket': _socket,
    'empty': lambda path, good: path.touch(), 'cut': _cut, 'flipped': _flipped,
    'text': lambda path, good: path.write_text('<html>'), 'noise': lambda path, good: path.write_bytes(
        b'\x80\x02' + bytes(range(256)) * 4),
}
MANIFESTS = {
    'deep': b'[' * 100_000, 'binary': b'\xff\xfe\x00', 'empty': b'', 'list': b'[1, 2]',
    'numbers': b'{"iteration": 1e999}',
    'long': b'{"iteration": ' + b'9' * 5000 + b'}',
    'others': json.dumps(dict(mine='results of a friend')).encode(),
}
TEXTS = {'binary': b'\xff\xfe', 'zero': b'/a\0b', 'long': b'/' + b'x/' * 3000, 'empty': b'',
         'lines': b'a\nb\n', 'relative': b'x.pth', 'name too long': b'/' + b'y' * 300 + b'/z.pth'}
ENTRIES = {'dangling', 'loop', 'folder', 'fifo', 'socket'}              # which may stand for any file
NAMES = st.text(st.characters(blacklist_characters='/\0', blacklist_categories=()), min_size=1, max_size=12)


def snapshot(folder) -> dict[bytes, object]:
    """Return what is in a folder, by name: kind, and the content of files and the goals of links."""
    found = {}
    for root, folders, files in os.walk(os.fsencode(folder)):
        for name in (*folders, *files):
            path = os.path.join(root, name)
            status = os.lstat(path)
            content = os.readlink(path) if os.path.islink(path) else \
                Path(os.fsdecode(path)).read_bytes() if os.path.isfile(path) else None
            found[path] = status.st_mode, content
    return found


def put(folder, name, make, good) -> Path | None:
    """Make an odd entry, unless its name is taken or cannot be one."""
    path = Path(os.fsdecode(os.fsencode(folder) + b'/' + name.encode('utf-8', 'replace')))
    if os.path.lexists(path):
        return None
    try:
        make(path, good)
    except (OSError, ValueError):
        return None
    return path


@settings(deadline=None)
@given(newest=st.sampled_from([1, 2, 3]),
       odd=st.lists(st.tuples(st.sampled_from(sorted(ODD_CHECKPOINTS)), NAMES), max_size=6),
       manifests=st.lists(st.tuples(st.sampled_from(sorted(MANIFESTS)), NAMES), max_size=3),
       broken_manifest=st.sampled_from([None, *sorted(MANIFESTS), *sorted(ENTRIES)]),
       run_id=st.sampled_from([None, 'good', *sorted(ENTRIES), 'binary', 'zero', 'empty']),
       last=st.sampled_from([None, *sorted(ENTRIES), *sorted(TEXTS)]))
def test_the_newest_intact_one_is_taken_and_nothing_of_others_is_deleted(
        good, newest, odd, manifests, broken_manifest, run_id, last):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for iteration in range(1, newest + 1):
            for suffix in ('', '.json'):
                shutil.copy(good / f'iter_{iteration}.pth{suffix}', folder)
        if broken_manifest:
            manifest = folder / f'iter_{newest}.pth.json'
            manifest.unlink()
            if broken_manifest in MANIFESTS:
                manifest.write_bytes(MANIFESTS[broken_manifest])
            else:
                ODD_CHECKPOINTS[broken_manifest](manifest, good)
        for place, kind in (('run_id', run_id), ('last_checkpoint', last)):
            if kind in ENTRIES:
                ODD_CHECKPOINTS[kind](folder / place, good)
            elif kind in TEXTS:
                (folder / place).write_bytes(TEXTS[kind])
            elif kind:
                (folder / place).write_text('a\n')
        passed_over = [put(folder, f'{stem}.pth', ODD_CHECKPOINTS[kind], good) for kind, stem in odd]
        for kind, stem in manifests:
            put(folder, f'{stem}.pth.json', lambda path, text: path.write_bytes(text), MANIFESTS[kind])
        before = snapshot(folder)

        assert remove_leftovers(folder) == []
        search = newest_checkpoint(folder)
        assert search.path == folder / f'iter_{newest}.pth' and search.iteration == newest
        require_any(search, may_start_anew=False)
        said = '\n'.join(search.notes)
        for path in passed_over:
            assert path is None or f'{path} is passed over' in said or path in search.of_other_runs
        if broken_manifest:
            assert f'{folder}/iter_{newest}.pth.json is not a manifest' in said
        if run_id not in (None, 'good'):
            assert f'{folder}/run_id names no run' in said
        assert snapshot(folder) == before


@pytest.mark.parametrize('kind', sorted(ODD_CHECKPOINTS))
def test_beside_nothing_intact_the_run_does_not_start_from_the_beginning_in_silence(kind, tmp_path, good):
    ODD_CHECKPOINTS[kind](tmp_path / 'iter_5.pth', good)
    search = newest_checkpoint(tmp_path)
    assert search.path is None and search.damaged == [tmp_path / 'iter_5.pth']
    with pytest.raises(DamagedCheckpointError, match='iter_5'):
        require_any(search, may_start_anew=True)


def test_the_manifest_of_a_link_whose_disk_is_away_is_kept(tmp_path, good):
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'run').mkdir()
    shutil.copy(good / 'iter_3.pth', tmp_path / 'disk')
    shutil.copy(good / 'iter_3.pth.json', tmp_path / 'run')
    (tmp_path / 'run' / 'iter_3.pth').symlink_to(tmp_path / 'disk' / 'iter_3.pth')
    (tmp_path / 'disk').rename(tmp_path / 'away')
    assert remove_leftovers(tmp_path / 'run') == []
    assert newest_checkpoint(tmp_path / 'run').path is None
    (tmp_path / 'away').rename(tmp_path / 'disk')
    search = newest_checkpoint(tmp_path / 'run')
    assert search.path == tmp_path / 'run' / 'iter_3.pth' and search.notes == []


def test_a_file_that_may_not_be_read_is_passed_over(tmp_path, good, monkeypatch):
    """Root may read all, so the refusal is made up."""
    for iteration in (2, 3):
        for suffix in ('', '.json'):
            shutil.copy(good / f'iter_{iteration}.pth{suffix}', tmp_path)
    shutil.copy(good / 'iter_3.pth', tmp_path / 'bare.pth')
    for name, original in (('builtins.open', open), ('os.open', os.open)):
        def refuse(path, *args, original=original, **kwargs):
            if str(path).endswith(('iter_3.pth', 'bare.pth')):
                raise PermissionError(13, 'Permission denied', str(path))
            return original(path, *args, **kwargs)
        monkeypatch.setattr(name, refuse)
    search = newest_checkpoint(tmp_path)
    assert search.path == tmp_path / 'iter_2.pth'
    assert sorted(search.damaged) == [tmp_path / 'bare.pth', tmp_path / 'iter_3.pth']
    assert all('Permission denied' in note for note in search.notes)


def test_leftovers_that_are_no_files_stay(tmp_path):
    (tmp_path / '.iter_1.pth.1.tmp').mkdir()
    os.mkfifo(tmp_path / '.iter_2.pth.1.tmp')
    (tmp_path / '.iter_3.pth.1.tmp').symlink_to(tmp_path)
    before = snapshot(tmp_path)
    assert remove_leftovers(tmp_path) == [] and snapshot(tmp_path) == before


def test_a_run_goes_on_beside_all_of_them(tmp_path, good):
    """Twice as long as without, it has the same bits."""
    work_dir, other = tmp_path / 'run', tmp_path / 'whole'
    schedule = [dict(type='WarmupCosineLR', warmup=1, total=2, convert_to_iter_based=True)]
    longer = dict(train_cfg=dict(by_epoch=True, max_epochs=2), param_scheduler=schedule)
    tiny_runner(work_dir, param_scheduler=schedule).train()
    for number, (_, make) in enumerate(sorted(ODD_CHECKPOINTS.items())):
        make(work_dir / f'odd_{number}.pth', good)
    (work_dir / 'run_id').write_bytes(b'\xff')
    (work_dir / 'epoch_1.pth.json').write_bytes(b'[' * 10_000)
    _folder(work_dir / 'interrupted.pth', good)
    odd = {path: state for path, state in snapshot(work_dir).items()
           if b'odd_' in path or b'interrupted' in path}
    runner = tiny_runner(work_dir, resume=True, **longer)
    runner.train()
    assert runner.iter == 4
    assert {path: state for path, state in snapshot(work_dir).items() if path in odd} == odd
    logs = ''.join(path.read_text(encoding='utf-8') for path in work_dir.glob('*/*.log'))
    assert f'the newest intact checkpoint, {work_dir}/epoch_1.pth' in logs
    assert all(f'odd_{number}.pth is passed over' in logs for number in range(len(ODD_CHECKPOINTS)))
    tiny_runner(other, **longer).train()
    weights = [torch.load(folder / 'epoch_2.pth', weights_only=False)['state_dict']
               for folder in (work_dir, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    assert 'newest intact' not in log_of(other)
