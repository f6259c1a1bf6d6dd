"""The two scripts for a GPU that is at hand for half an hour, rehearsed on the CPU at tiny sizes."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from processes import ROOT
from tiny_cifar10 import NAMES, TinyCIFAR10

pytestmark = pytest.mark.timeout(1200)
# Lets the table of official sums hold those of the made-up batches, in every process that reads it.
PATCH = '''
import importlib.util, sys
sys.path.append({tests!r})

class Patch:
    def find_spec(self, name, path=None, target=None):
        if name != 'mmsimclr.datasets.cifar10':
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module
        def patched(module):
            execute(module)
            sys.modules['mmsimclr.datasets'].cifar10 = module
            from tiny_cifar10 import TinyCIFAR10
            TinyCIFAR10().make_official(type('Now', (), dict(setitem=staticmethod(dict.__setitem__))))
        spec.loader.exec_module = patched
        return spec

sys.meta_path.insert(0, Patch())
'''
TINY = ['width=4', 'batch_size=16', 'workers=0', 'custom_hooks.3.num_images=16', 'custom_hooks.2.max_bank=40',
        'custom_hooks.2.max_queries=20', 'param_scheduler.0.warmup=0']


def run(script: str, *args: object, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ['bash', str(ROOT / 'benchmarks/gpu' / script), *map(str, args)], capture_output=True, text=True,
        timeout=800, env={**os.environ, 'PYTHON': sys.executable, 'QUICK': '1', 'CUDA_VISIBLE_DEVICES': '',
                          **environment})


def test_check_runs_each_part_once_and_writes_its_json(tmp_path):
    done = run('check.sh', OUT=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    parts = json.loads((tmp_path / 'check.json').read_text())
    assert list(parts) == ['tests', 'profile', 'lars', 'device_views', 'gpu_step']
    assert {part['status'] for part in parts.values()} == {0}
    for name in ('lars', 'device_views', 'gpu_step'):
        assert json.loads((tmp_path / f'{name}.json').read_text())['benchmark'] == name
    assert 'backward' in (tmp_path / 'profiled/profile/table.txt').read_text()
    (tmp_path / 'check.json').write_text(json.dumps({**parts, 'lars': dict(status=1, seconds=0)}))
    again = run('check.sh', OUT=str(tmp_path))
    assert [line.split(':')[1].split()[0] for line in again.stdout.splitlines()[:5]] == [
        'done', 'done', 'status', 'done', 'done']


@pytest.fixture
def parts(tmp_path) -> dict[str, bytes]:
    """Return the parts of an archive of the made-up batches, and their sums."""
    archive, batches = io.BytesIO(), TinyCIFAR10()
    with tarfile.open(fileobj=archive, mode='w:gz') as tar:
        for name in NAMES:
            header = tarfile.TarInfo(f'cifar-10-batches-bin/{name}.bin')
            header.size = len(content := batches.binary(name))
            tar.addfile(header, io.BytesIO(content))
    content = archive.getvalue()
    third = len(content) // 3 + 1
    found = {f'part.{number:02}': content[third * number:third * (number + 1)] for number in range(3)}
    sums = ''.join(f'{hashlib.md5(part).hexdigest()}  {name}\n' for name, part in found.items())
    return {**found, 'parts.md5': sums.encode()}


def test_cifar10_waits_for_its_parts_trains_outside_of_the_shell_and_goes_on(tmp_path, parts):
    arrived, patch, out = (tmp_path / name for name in ('arrived', 'patch', 'out'))
    arrived.mkdir()
    patch.mkdir()
    (patch / 'sitecustomize.py').write_text(PATCH.format(tests=str(ROOT / 'tests')))
    where = dict(OUT=str(out), PYTHONPATH=str(patch))
    assert run('cifar10.sh', arrived, **where).returncode == 75                       # nothing is there
    for name in ('parts.md5', 'part.01'):
        (arrived / name).write_bytes(parts[name])
    (arrived / 'part.00').write_bytes(parts['part.00'][:-1])                          # still arriving
    waiting = run('cifar10.sh', arrived, **where)
    assert waiting.returncode == 75 and not (out / 'data').exists()
    assert 'part.00: damaged or still arriving' in waiting.stdout
    assert 'part.02: not there yet' in waiting.stdout
    (arrived / 'part.01').unlink()                                                    # it was taken
    for name in ('part.00', 'part.02'):
        (arrived / name).write_bytes(parts[name])
    begun = run('cifar10.sh', arrived, *TINY, WAIT='0', **where)
    assert begun.returncode == 75, begun.stdout + begun.stderr
    process = int((out / 'pid').read_text())
    assert os.getpgid(process) == process                                             # it outlives the shell
    os.killpg(process, signal.SIGKILL)                                                # the machine went back
    result = run('cifar10.sh', arrived, *TINY, **where)
    assert result.returncode == 0, result.stdout + result.stderr + (out / 'log').read_text()[-3000:]
    assert int((out / 'pid').read_text()) != process
    record = json.loads((out / 'cifar10_run.json').read_text())
    row = record['rows']['ResNet-18']
    assert 0 <= row['top_1_percent'] <= 100 and row['minutes'] > 0 and row['linear_minutes'] > 0
    assert len(json.loads((out / 'run/stretches.json').read_text())) == 1 + ('stretches' in os.listdir(out))
    again = run('cifar10.sh', Path('/nowhere'), **where)                              # nothing is left to do
    assert again.returncode == 0 and json.loads((out / 'cifar10_run.json').read_text()) == record
