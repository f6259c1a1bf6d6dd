import hashlib
import json

import pytest

from mmsimclr.files import file_digest
from mmsimclr.protocols import Result, read_result


def result(**changes) -> Result:
    return Result(**{**dict(protocol='knn', metrics={'knn_accuracy_percent': 61.25},
                            num_images={'train': 60, 'test': 30}, seed=3, checkpoint='epoch_1.pth',
                            tensors_loaded=(62, 62), settings=dict(k=20)), **changes})


def test_what_was_written_is_read_again(tmp_path):
    path = result().write(tmp_path / 'deep' / 'result.json')
    assert read_result(path) == result(versions=read_result(path).versions)


def test_versions_and_hardware_are_filled_in():
    found = result()
    assert found.versions['torch'] and found.versions['mmsimclr']
    assert found.hardware['cores'] >= 1


def test_a_metric_that_is_not_finite_is_never_written(tmp_path):
    with pytest.raises(ValueError, match='not JSON compliant'):
        result(metrics={'loss': float('nan')}).write(tmp_path / 'result.json')
    assert list(tmp_path.iterdir()) == []


def test_writing_again_replaces_the_whole_file(tmp_path):
    path = tmp_path / 'result.json'
    result(command='x' * 10_000).write(path)
    result(seed=4).write(path)
    assert json.loads(path.read_text())['seed'] == 4
    assert [p.name for p in tmp_path.iterdir()] == ['result.json']


@pytest.mark.parametrize('text', ['{"protocol": "knn"', '{"protocol": "knn", "metric": {}}', '[1, 2]'])
def test_another_file_is_refused_by_name(tmp_path, text):
    path = tmp_path / 'other.json'
    path.write_text(text)
    with pytest.raises(ValueError, match=r'other\.json is not a result'):
        read_result(path)


def test_hash_is_that_of_the_content(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(b'abc' * 100_000)
    assert file_digest(path) == hashlib.sha256(b'abc' * 100_000).hexdigest()
    path.write_bytes(b'abc')
    assert file_digest(path) == 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
