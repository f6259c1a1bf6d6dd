"""Results taken over from an earlier process of a cell: whole ones, of its own checkpoint, and no others."""

import hashlib
from pathlib import Path

import pytest
from mmengine.config import Config

from mmsimclr.files import write_json
from mmsimclr.protocols import Result
from mmsimclr.studies import CellResult, cell_process
from mmsimclr.studies.record import read_cell, read_records, write_records


class Measure:
    name, sha256, config = 'knn', 'f' * 64, Path('knn.py')

    def load(self, work_dir):
        return work_dir


class Cell:
    base, at, seed, name, tuning, options = Path('base.py'), ('low',), 0, '0' * 16, False, {}
    config_sha256 = data_sha256 = 'a' * 64
    measures = (Measure(),)

    def load(self, work_dir):
        return Config(dict(work_dir=str(work_dir)))


@pytest.fixture
def work(monkeypatch):
    """Stand in for training and measuring; return what was done and the content of the next checkpoint."""
    done, content = [], [b'first']

    def pretrain(config, config_path, command):
        done.append('pretraining')
        path = Path(config.work_dir) / 'epoch_1.pth'
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content[0])
        return _write(path.parent, 'pretraining', path)

    def run_benchmark(place, checkpoint, **_):
        done.append('knn')
        return _write(place, 'knn', Path(checkpoint))

    monkeypatch.setattr(cell_process, 'pretrain', pretrain)
    monkeypatch.setattr(cell_process, 'run_benchmark', run_benchmark)
    return done, content


def _write(folder, protocol, checkpoint):
    folder.mkdir(exist_ok=True)
    content = checkpoint.read_bytes()
    result = Result(protocol, {'value': float(len(content))}, {}, 0, checkpoint=str(checkpoint),
                    checkpoint_sha256=hashlib.sha256(content).hexdigest())
    result.write(folder / 'result.json')
    return result


def spoil(path):
    path.write_text('{"protocol": ')


def other_checkpoint(folder):
    (folder / 'pretraining/epoch_1.pth').write_bytes(b'of another encoder')


@pytest.mark.parametrize('change, again', [
    (lambda folder: None, []),
    (lambda folder: (folder / 'knn-ffffffff/result.json').unlink(), ['knn']),
    (lambda folder: spoil(folder / 'knn-ffffffff/result.json'), ['knn']),
    (lambda folder: spoil(folder / 'pretraining/result.json'), ['pretraining', 'knn']),
    (other_checkpoint, ['pretraining', 'knn']),
    (lambda folder: (folder / 'pretraining/epoch_1.pth').unlink(), ['pretraining', 'knn'])],
    ids=['nothing', 'no measurement', 'cut-off measurement', 'cut-off pre-training', 'another checkpoint',
         'no checkpoint'])
def test_a_measurement_of_another_checkpoint_is_not_taken_over(tmp_path, work, change, again):
    done, content = work
    first = cell_process.run_cell(Cell(), tmp_path)
    assert done == ['pretraining', 'knn'] and first.metrics['knn.value'] == 5
    done.clear()
    change(tmp_path)
    content[0] = b'the second'                               # as on a device that gives other bits
    found = cell_process.run_cell(Cell(), tmp_path)
    assert done == again
    assert found.metrics['knn.value'] == found.metrics['pretraining.value'] == (
        10 if 'pretraining' in again else 5)
    assert found.provenance['checkpoint_sha256'] == hashlib.sha256(
        (tmp_path / 'pretraining/epoch_1.pth').read_bytes()).hexdigest()


@pytest.mark.parametrize('text', ['', '{"name": ', '[]', '{"name": 3}', 'null'])
def test_a_damaged_record_of_a_cell_counts_as_not_there(tmp_path, text, capfd):
    (tmp_path / 'cell.json').write_text(text)
    assert read_cell(tmp_path / 'cell.json', 'a') is None
    assert 'cell.json' in capfd.readouterr().err


def test_the_record_of_another_cell_is_not_taken(tmp_path):
    result = CellResult('a', ('low',), 0, '', None, {}, {'knn.value': 1.0})
    write_records(tmp_path / 'all.json', dict(name='x'), [result])
    write_json(tmp_path / 'cell.json', vars(result))
    assert read_cell(tmp_path / 'cell.json', 'a') == result
    assert read_cell(tmp_path / 'cell.json', 'b') is None


def test_results_that_are_kept_do_not_say_where_the_data_lie(tmp_path):
    result = CellResult('a', ('low',), 0, '', None, {}, {}, options={'data_root': '/home/me/data', 'lr': 1})
    path = write_records(tmp_path / 'all.json', dict(name='x'), [result])
    assert read_records(path)[0].options == {'lr': 1} and result.options['data_root']
