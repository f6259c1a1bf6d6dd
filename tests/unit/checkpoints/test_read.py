"""Reading runs nothing, and says what is wrong with a file that is not what it should be."""

import argparse
import builtins
import collections
import contextlib
import io
import operator
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import safetensors.torch
import torch
from mmengine.logging import HistoryBuffer, MessageHub

from mmsimclr.checkpoints import DamagedCheckpointError, UnsafeCheckpointError, read, read_checkpoint
from mmsimclr.files import file_digest


@pytest.mark.parametrize('changes', [1, 99])
def test_weights_and_hash_are_of_one_file_though_a_run_replaces_it(tmp_path, monkeypatch, changes):
    """Another file takes the place of the first after it was hashed and before it is read."""
    def digest(path):
        found = file_digest(path)
        if done.append(found) or len(done) <= changes:
            torch.save({'x': torch.tensor([float(len(done))])}, tmp_path / 'new')
            os.replace(tmp_path / 'new', path)
        return found

    done = []
    torch.save({'x': torch.tensor([0.0])}, tmp_path / 'x.pth')
    monkeypatch.setattr(read, 'file_digest', digest)
    if changes == 99:
        with pytest.raises(DamagedCheckpointError, match=r'x\.pth was written anew'):
            read_checkpoint(tmp_path / 'x.pth')
    else:
        found = read_checkpoint(tmp_path / 'x.pth')
        assert found.tree['x'] == 1 and found.sha256 == file_digest(tmp_path / 'x.pth', 'sha256')


LEGACY = dict(_use_new_zipfile_serialization=False)


class Calls:
    """Pickles as a call, which runs when it is read by an unpickler that is not on its guard."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def attacks(marker: Path) -> dict[str, object]:
    touch = f'touch {marker}'
    return {
        'posix.system': Calls(os.system, touch),
        'subprocess.Popen': Calls(subprocess.Popen, ['touch', str(marker)]),
        'eval': Calls(builtins.eval, f'open({str(marker)!r}, "w")'),
        'getattr': Calls(getattr, HistoryBuffer, '__init__'),
        'operator.attrgetter': Calls(operator.attrgetter, 'system'),
        'torch.jit._serialization.load': Calls(torch.jit.load, str(marker)),
        'torch.serialization.load': Calls(torch.load, str(marker)),
    }


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
@pytest.mark.parametrize('name', attacks(Path('x')))
def test_a_checkpoint_that_would_run_code_is_refused_by_name(name, legacy, tmp_path):
    marker = tmp_path / 'was_run'
    torch.save({'state_dict': {'conv1.weight': torch.ones(2)}, 'hook': attacks(marker)[name]},
               tmp_path / 'x.pth', **(LEGACY if legacy else {}))
    with pytest.raises(UnsafeCheckpointError, match=rf'would call {name}.*None of it was run'):
        read_checkpoint(tmp_path / 'x.pth')
    assert not marker.exists()


def test_the_attack_of_these_tests_works_on_a_careless_reader(tmp_path):
    torch.save(attacks(tmp_path / 'was_run')['posix.system'], tmp_path / 'x.pth')
    torch.load(tmp_path / 'x.pth', weights_only=False)
    assert (tmp_path / 'was_run').exists()


@pytest.mark.parametrize('protocol', [2, 4])
def test_a_pickle_not_of_torch_is_refused_and_not_run(protocol, tmp_path):
    marker = tmp_path / 'was_run'
    (tmp_path / 'x.pkl').write_bytes(pickle.dumps(attacks(marker)['posix.system'], protocol))
    with pytest.raises(DamagedCheckpointError, match='a pickle'):
        read_checkpoint(tmp_path / 'x.pkl')
    assert not marker.exists()


def test_a_whole_pickled_model_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 3), tmp_path / 'x.pth')
    with pytest.raises(UnsafeCheckpointError, match=r'would call torch\.nn\.modules\.linear\.Linear'):
        read_checkpoint(tmp_path / 'x.pth')


def test_a_script_is_refused(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 3)).save(tmp_path / 'x.pt')
    with pytest.raises(UnsafeCheckpointError, match='would call TorchScript'):
        read_checkpoint(tmp_path / 'x.pt')


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
def test_what_mmengine_saves_beside_the_weights_is_read(legacy, tmp_path):
    hub = MessageHub.get_instance('test_read')
    for value in (3., 1., 2.):
        hub.update_scalar('train/loss', value)
    hub.update_info('best', np.float32(0.5))
    torch.save({'message_hub': hub.state_dict(), 'array': np.arange(4), 'slice': slice(1, 2),
                'numbers': [np.float64(1.5), np.int32(7), np.bool_(True)]},
               tmp_path / 'x.pth', **(LEGACY if legacy else {}))
    tree = read_checkpoint(tmp_path / 'x.pth').tree
    history = tree['message_hub']['log_scalars']['train/loss']
    assert history.statistics('max') == 3 and history.current() == 2
    assert tree['message_hub']['runtime_info']['best'] == np.float32(0.5)
    assert tree['array'].tolist() == [0, 1, 2, 3] and tree['slice'] == slice(1, 2)
    assert tree['numbers'] == [1.5, 7, True]


def pickled_by(module: str, name: str, base: type = object) -> object:
    """Return an instance of a class that is not installed here."""
    kind = type(name, (base,), {'__module__': module, '__qualname__': name})
    instance = kind()
    if base is object:
        instance.temperature = 0.5
    else:
        instance['temperature'] = 0.5
    return instance


@pytest.mark.parametrize(('module', 'name', 'base'), [
    ('argparse', 'Namespace', object), ('omegaconf.dictconfig', 'DictConfig', object),
    ('pytorch_lightning.utilities.parsing', 'AttributeDict', dict), ('mmcv.utils.config', 'ConfigDict', dict),
    ('yacs.config', 'CfgNode', dict), ('classy_vision.meters', 'Meter', object)])
def test_settings_of_other_trainers_are_passed_over(module, name, base, tmp_path, monkeypatch):
    instance = pickled_by(module, name, base)
    stub = ModuleType(module)
    setattr(stub, name, type(instance))
    with monkeypatch.context() as patch:
        parts = module.split('.')
        for parent in ('.'.join(parts[:i]) for i in range(1, len(parts))):
            patch.setitem(sys.modules, parent, ModuleType(parent))
        patch.setitem(sys.modules, module, stub)
        torch.save({'hyper_parameters': instance, 'state_dict': {'a': torch.ones(2)}}, tmp_path / 'x.ckpt')
    tree = read_checkpoint(tmp_path / 'x.ckpt').tree
    assert tree['state_dict']['a'].tolist() == [1, 1]
    assert type(tree['hyper_parameters']) is collections.OrderedDict


def test_code_of_a_known_trainer_is_not_run_either(tmp_path):
    """Names of those packages become empty dicts: nothing is looked up, let alone called."""
    torch.save({'x': Calls(argparse.FileType, 'w'), 'state_dict': {'a': torch.ones(2)}}, tmp_path / 'x.pth')
    assert type(read_checkpoint(tmp_path / 'x.pth').tree['x']) is collections.OrderedDict


def test_safetensors_and_its_metadata(tmp_path):
    safetensors.torch.save_file({'a': torch.arange(3)}, tmp_path / 'x.safetensors',
                                {'format': 'pt', 'mmsimclr': '{"version": 1}'})
    checkpoint = read_checkpoint(tmp_path / 'x.safetensors')
    assert checkpoint.tree['a'].tolist() == [0, 1, 2]
    assert checkpoint.meta == {'format': 'pt', 'mmsimclr': {'version': 1}}
    (tmp_path / 'x.safetensors').rename(tmp_path / 'x.bin')
    assert read_checkpoint(tmp_path / 'x.bin').tree['a'].tolist() == [0, 1, 2]


def saved(content: object, **options) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def as_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        archive.writestr('photo.txt', 'not weights')
    return buffer.getvalue()


WHOLE = saved({'state_dict': {'a': torch.rand(1000)}})
OLD = saved({'state_dict': {'a': torch.rand(1000)}}, **LEGACY)
SAFE = safetensors.torch.save({'a': torch.rand(1000)})
DAMAGED = {
    'empty': (b'', 'is empty'),
    'a web page': (b'<!DOCTYPE html><html>404', 'not a checkpoint, but a web page'),
    'a web page after a line': (b'\n <html>', 'not a checkpoint, but a web page'),
    'a pointer': (b'version https://git-lfs.github.com/spec/v1\noid', 'Git LFS pointer'),
    'text': (b'hello', 'not a checkpoint, but of no known kind'),
    'keras': (b'\x89HDF\r\n\x1a\n' + bytes(50), 'HDF5'),
    'zeros': (bytes(1000), 'not a checkpoint'),
    'half a zip': (WHOLE[:len(WHOLE) // 2], r'cannot be read .*cut off or damaged'),
    'a zip short of one byte': (WHOLE[:-1], r'cannot be read .*cut off or damaged'),
    'half a legacy file': (OLD[:len(OLD) // 2], r'cannot be read .*cut off or damaged'),
    'a legacy file short of one byte': (OLD[:-1], r'cannot be read .*cut off or damaged'),
    'a pickle of another kind': (pickle.dumps({'model': {}}), 'not a checkpoint, but a pickle'),
    'half of safetensors': (SAFE[:len(SAFE) // 2], r'cannot be read .*cut off or damaged'),
    'safetensors short of one byte': (SAFE[:-1], r'cannot be read .*cut off or damaged'),
    'another zip': (as_zip(), r'cannot be read'),
    'a list': (saved([1, 2]), 'holds a list, not a dict'),
    'a tensor': (saved(torch.ones(2)), 'holds a Tensor, not a dict'),
}


@pytest.mark.parametrize('name', DAMAGED)
def test_each_damage_has_its_message(name, tmp_path):
    content, message = DAMAGED[name]
    path = tmp_path / 'x.pth'
    path.write_bytes(content)
    with pytest.raises(DamagedCheckpointError, match=message) as raised:
        read_checkpoint(path)
    assert str(path) in str(raised.value)


def test_damage_anywhere_never_escapes_as_another_error(tmp_path):
    """Every cut and every flipped byte of the pickled part: read, or refused with our error."""
    path = tmp_path / 'x.pth'
    rng = np.random.default_rng(0)
    for content in (WHOLE, OLD, SAFE):
        for _ in range(60):
            damaged = bytearray(content[:rng.integers(1, len(content))])
            damaged[rng.integers(len(damaged))] ^= 0xff
            path.write_bytes(damaged)
            with pytest.raises((DamagedCheckpointError, UnsafeCheckpointError)):
                read_checkpoint(path)
            flipped = bytearray(content)
            flipped[rng.integers(len(flipped))] ^= 0xff
            path.write_bytes(flipped)
            with contextlib.suppress(DamagedCheckpointError, UnsafeCheckpointError):
                read_checkpoint(path)


def test_the_hash_in_a_name_must_hold(tmp_path):
    path = tmp_path / 'plain.pth'
    path.write_bytes(WHOLE)
    digest = file_digest(path, 'sha256')
    good = path.rename(tmp_path / f'simclr-{digest[:8]}.pth')
    assert read_checkpoint(good).sha256 == digest
    bad = good.rename(tmp_path / 'simclr-0badc0de.pth')
    with pytest.raises(DamagedCheckpointError, match=rf'begins with {digest[:8]}, not 0badc0de'):
        read_checkpoint(bad)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no checkpoint at .*x\.pth'):
        read_checkpoint(tmp_path / 'x.pth')


def forged_dtype(code: str, fields: dict | None) -> object:
    """Return what pickles as a numpy type that treats the bytes of an array as pointers."""
    class Forged:
        def __reduce__(self):
            names = tuple(fields) if fields else None
            return np.dtype, (code, False, True), (3, '|', None, names, fields, 8 if fields else -1,
                                                   1 if fields else -1, 0 if fields else 63)
    return Forged()


class ForgedArray:
    def __init__(self, dtype: object, content: object = b'A' * 64):
        self.dtype, self.content = dtype, content

    def __reduce__(self):
        from numpy._core.multiarray import _reconstruct
        return _reconstruct, (np.ndarray, (0,), b'b'), (1, (8,), self.dtype, False, self.content)


FORGED = {
    'objects': lambda: ForgedArray(forged_dtype('O8', None)),
    'fields of objects': lambda: ForgedArray(forged_dtype('V8', {'f': (np.dtype('O'), 0)})),
    'an array of objects': lambda: np.array([{}, []], dtype=object),
    'a record': lambda: np.zeros(2, dtype=[('a', 'f4'), ('b', 'O')]),
    'a list for bytes': lambda: ForgedArray(np.dtype('f8'), [1] * 8),
}


@pytest.mark.parametrize('container', ['zip', 'legacy'])
@pytest.mark.parametrize('name', FORGED)
def test_arrays_of_pointers_are_refused(name, container, tmp_path):
    path, content = tmp_path / 'x.pth', {'meta': {'x': FORGED[name]()}}
    torch.save(content, path, **(LEGACY if container == 'legacy' else {}))
    with pytest.raises(UnsafeCheckpointError, match=r'would call numpy'):
        read_checkpoint(path)


def test_reading_a_log_history_changes_nobody_elses_statistics(tmp_path):
    history = HistoryBuffer([1., 2., 30.], [1, 1, 1])
    history.__getstate__()['statistics_methods'] = {'mean': HistoryBuffer.min}
    original = dict(HistoryBuffer._statistics_methods)
    HistoryBuffer._statistics_methods['mean'] = HistoryBuffer.min
    torch.save({'x': history}, tmp_path / 'x.pth')
    HistoryBuffer._statistics_methods.update(original)
    read = read_checkpoint(tmp_path / 'x.pth').tree['x']
    assert type(read) is HistoryBuffer and type(read._log_history) is np.ndarray
    assert HistoryBuffer([1., 2., 30.], [1, 1, 1]).statistics('mean') == 11
    assert read.statistics('mean') == 11


def test_what_was_read_can_be_saved_and_read_by_others(tmp_path):
    torch.save({'a': np.arange(6.).reshape(2, 3).T, 'b': np.array(['x', 'yz']),
                'big': np.arange(3, dtype='>i4')}, tmp_path / 'x.pth')
    tree = read_checkpoint(tmp_path / 'x.pth').tree
    assert tree['a'].tolist() == [[0, 3], [1, 4], [2, 5]] and tree['b'].tolist() == ['x', 'yz']
    assert tree['big'].tolist() == [0, 1, 2]
    plain = pickle.loads(pickle.dumps(tree['a']))
    assert type(plain) is np.ndarray and plain.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_what_the_process_allows_elsewhere_is_not_allowed_here(tmp_path):
    torch.save({'x': Calls(operator.attrgetter, 'system')}, tmp_path / 'x.pth')
    with torch.serialization.safe_globals([operator.attrgetter]):
        with pytest.raises(UnsafeCheckpointError, match='attrgetter'):
            read_checkpoint(tmp_path / 'x.pth')
        assert operator.attrgetter in torch.serialization.get_safe_globals()


def test_a_decayed_byte_is_noticed(tmp_path):
    """Torch does not look at its archive's checksums."""
    decayed = bytearray(WHOLE)
    decayed[len(WHOLE) // 2] ^= 1
    (tmp_path / 'x.pth').write_bytes(decayed)
    torch.load(tmp_path / 'x.pth', weights_only=True)
    with pytest.raises(DamagedCheckpointError, match=r'checksum of .*data/0 in it is wrong'):
        read_checkpoint(tmp_path / 'x.pth')


def test_a_date_in_the_name_is_told_from_a_hash(tmp_path):
    (tmp_path / 'simclr-20221105.pth').write_bytes(WHOLE)
    with pytest.raises(DamagedCheckpointError, match='if that is a date, put something after it'):
        read_checkpoint(tmp_path / 'simclr-20221105.pth')


def test_no_message_advises_to_read_unsafely(tmp_path):
    for number, content in enumerate((WHOLE[:-1], OLD[:-1], saved({'x': FORGED['an array of objects']()}))):
        (tmp_path / f'{number}.pth').write_bytes(content)
        with pytest.raises((DamagedCheckpointError, UnsafeCheckpointError)) as raised:
            read_checkpoint(tmp_path / f'{number}.pth')
        assert 'weights_only' not in str(raised.value)
