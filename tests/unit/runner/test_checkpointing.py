"""Checkpoints on disk: whole or not there, and the newest intact one found."""

import hashlib
import json
import os
import time

import pytest
import torch

from mmsimclr.checkpoints import CheckpointError, DamagedCheckpointError
from mmsimclr.runner import (
    SaveError,
    newest_checkpoint,
    remove_leftovers,
    require_any,
    save_whole,
    write_text,
)
from mmsimclr.runner.checkpointing import manifest_of


def tree(iteration: int, run_id: str = 'a', **changes) -> dict:
    return {'meta': dict(iter=iteration, epoch=iteration // 2, run_id=run_id), 'message_hub': {},
            'state_dict': {'weight': torch.full((50, 50), float(iteration))}, 'optimizer': {}, **changes}


def save(folder, iteration: int, run_id: str = 'a', name: str | None = None, **changes):
    path = folder / (name or f'iter_{iteration}.pth')
    save_whole(tree(iteration, run_id, **changes), path, run_id)
    return path


def damage(path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_what_is_saved_is_what_torch_saves_and_the_manifest_describes_it(tmp_path):
    path = save(tmp_path, 4)
    assert torch.equal(torch.load(path)['state_dict']['weight'], torch.full((50, 50), 4.0))
    assert json.loads(manifest_of(path).read_text()) == dict(
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(), bytes=path.stat().st_size, run_id='a',
        iteration=4, epoch=2, resumable=True)
    assert sorted(os.listdir(tmp_path)) == ['iter_4.pth', 'iter_4.pth.json']


def test_the_one_with_the_most_iterations_is_the_newest_whatever_the_clock_and_the_names_say(tmp_path):
    paths = [save(tmp_path, iteration, name=name) for iteration, name in (
        (9, 'epoch_1.pth'), (10, 'interrupted.pth'), (2, 'iter_11.pth'))]
    os.utime(paths[1], (1, 1))
    search = newest_checkpoint(tmp_path)
    assert (search.path, search.iteration, search.notes) == (paths[1], 10, [])


@pytest.mark.parametrize('harm', ['bit', 'cut', 'empty'])
@pytest.mark.parametrize('has_manifest', [True, False])
def test_a_damaged_checkpoint_is_passed_over_with_a_note(harm, has_manifest, tmp_path):
    good, bad = save(tmp_path, 1), save(tmp_path, 2)
    if harm == 'bit':
        damage(bad)
    else:
        os.truncate(bad, 0 if harm == 'empty' else bad.stat().st_size // 2)
    if not has_manifest:
        manifest_of(bad).unlink()
    search = newest_checkpoint(tmp_path)
    assert search.path == good
    note, = search.notes
    assert str(bad) in note and 'passed over' in note


def test_if_all_are_damaged_the_run_does_not_start_from_the_beginning_in_silence(tmp_path):
    for iteration in (1, 2):
        damage(save(tmp_path, iteration))
    search = newest_checkpoint(tmp_path)
    assert search.path is None
    for may_start_anew in (True, False):
        with pytest.raises(DamagedCheckpointError, match=r'is intact: .*iter_2\.pth.*Without --resume'):
            require_any(search, may_start_anew)


@pytest.mark.parametrize('newer', [True, False])
def test_a_readable_one_without_a_manifest_counts_by_its_own_iteration(newer, tmp_path):
    described, bare = save(tmp_path, 5), save(tmp_path, 6 if newer else 4)
    manifest_of(bare).unlink()
    search = newest_checkpoint(tmp_path)
    assert search.path == (bare if newer else described)
    assert ('has no manifest' in ''.join(search.notes)) == newer


def test_checkpoints_of_mmengine_without_any_of_this_are_found(tmp_path):
    for number in (2, 10):
        content = tree(number)
        del content['meta']['run_id']
        torch.save(content, tmp_path / f'epoch_{number}.pth')
        time.sleep(0.01)
    assert newest_checkpoint(tmp_path).path == tmp_path / 'epoch_10.pth'


def test_a_manifest_that_is_none_is_said_to_be_none_and_the_file_read(tmp_path):
    path = save(tmp_path, 3)
    for text in ('', '[]', '{"iteration": "3"}', '{"iteration": 3, "bytes": 1, "sha256": "x"}'):
        manifest_of(path).write_text(text)
        search = newest_checkpoint(tmp_path)
        assert search.path == path and 'is not a manifest' in search.notes[0]


def test_what_cannot_be_resumed_is_not_taken(tmp_path):
    path = save(tmp_path, 1)
    lacking = tree(9)
    del lacking['optimizer']
    save_whole(lacking, tmp_path / 'best.pth', 'a')
    torch.save(dict(lacking, meta=dict(iter=10)), tmp_path / 'published-x.pth')
    search = newest_checkpoint(tmp_path)
    assert search.path == path and not search.damaged


def test_an_earlier_run_in_the_same_folder_is_not_resumed_by_mistake(tmp_path):
    old = save(tmp_path, 100, run_id='old')
    bare = save(tmp_path, 90, run_id='old')
    manifest_of(bare).unlink()
    write_text(tmp_path / 'run_id', 'new\n')
    search = newest_checkpoint(tmp_path)
    assert search.path is None and sorted(search.of_other_runs) == sorted([old, bare])
    require_any(search, may_start_anew=True)
    with pytest.raises(CheckpointError, match=r'earlier one: .*iter_100\.pth.*--resume FILE'):
        require_any(search, may_start_anew=False)
    new = save(tmp_path, 2, run_id='new')
    assert newest_checkpoint(tmp_path).path == new


def test_only_what_a_save_leaves_is_removed(tmp_path):
    save(tmp_path, 1)
    kept = ['.iter_1.pth.tmp', '.notes.12.tmp', 'iter_1.pth.tmp', 'result.json', '.hidden.pth', 'x.pth.txt',
            'results.pth.json']
    gone = ['.iter_2.pth.123.tmp', '.iter_2.pth.json.1.tmp', '.last_checkpoint.7.tmp', '.run_id.7.tmp']
    for name in (*kept, *gone):
        (tmp_path / name).touch()
    assert remove_leftovers(tmp_path) == sorted(gone)
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, 'iter_1.pth', 'iter_1.pth.json'])


def test_a_full_disk_is_said_and_leaves_what_was_there(tmp_path):
    """The kernel itself answers that no space is left: the temporary file leads to /dev/full."""
    path = save(tmp_path, 1)
    before = path.read_bytes()
    (tmp_path / f'.iter_1.pth.{os.getpid()}.tmp').symlink_to('/dev/full')
    with pytest.raises(SaveError, match=r'iter_1\.pth could not be written \(No space left on device\)'):
        save(tmp_path, 1, state_dict={'weight': torch.zeros(300, 300)})
    assert path.read_bytes() == before and os.listdir(tmp_path) == ['iter_1.pth']
    assert newest_checkpoint(tmp_path).path == path


def test_a_full_tmpfs_keeps_the_last_good_one(small_disk):
    path = save(small_disk, 1)
    with pytest.raises(SaveError, match='No space left on device'):
        save(small_disk, 2, state_dict={'weight': torch.zeros(1000, 1000)})
    assert newest_checkpoint(small_disk).path == path and remove_leftovers(small_disk) == []
    assert save(small_disk, 2).is_file()


def test_a_vanished_folder_is_not_made_again(tmp_path):
    with pytest.raises(SaveError, match='the folder has vanished'):
        save(tmp_path / 'gone', 1)
    assert not (tmp_path / 'gone').exists()


def test_an_older_file_of_the_name_never_has_the_new_ones_manifest(tmp_path, monkeypatch):
    path = save(tmp_path, 1)
    monkeypatch.setattr(os, 'replace', lambda *paths: (_ for _ in ()).throw(OSError(5, 'Input/output error')))
    with pytest.raises(SaveError, match='Input/output error'):
        save(tmp_path, 7, name='iter_1.pth')
    monkeypatch.undo()
    search = newest_checkpoint(tmp_path)
    assert (search.path, search.iteration) == (path, 1)


def test_of_those_without_a_manifest_the_one_with_the_most_iterations_whatever_the_dates_of_copies(tmp_path):
    for iteration, date in ((5, 3), (20, 1), (10, 2)):
        path = save(tmp_path, iteration)
        manifest_of(path).unlink()
        os.utime(path, (date, date))
    search = newest_checkpoint(tmp_path)
    assert search.path == tmp_path / 'iter_20.pth' and len(search.notes) == 1
