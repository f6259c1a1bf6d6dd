"""Files of strangers: nothing in them is run, and nothing outside their place is read or written."""

import ast
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import yaml

from mmsimclr.checkpoints import CheckpointError, zoo_index
from mmsimclr.features import read_features
from mmsimclr.files import DownloadError, download, shipped

ROOT = Path(__file__).parents[2]


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mknod, (self.path,)


@pytest.fixture
def proof(tmp_path):
    """Return the path of the file that a payload makes; it must not be there in the end."""
    yield tmp_path / 'executed'
    assert not (tmp_path / 'executed').exists()


MANIFEST = json.dumps(dict(
    format='mmsimclr features 2', stages={'pooled': 4}, encoder={}, dtype='float32', batch_size=4,
    images=dict(root='', num=3, sha256='', classes=[], num_unreadable=0, unreadable=[])))


def test_a_payload_in_the_array_of_an_npz_is_refused(tmp_path, proof):
    objects = np.array([Payload(proof)] * 3, dtype=object)
    np.savez(tmp_path / 'features.npz', manifest=np.array(MANIFEST), pooled=objects)
    with pytest.raises(ValueError, match=r'features\.npz holds no .*pooled'):
        read_features(tmp_path / 'features.npz')


def test_a_payload_in_the_manifest_of_an_npz_is_refused(tmp_path, proof):
    manifest = np.array(Payload(proof), dtype=object)
    np.savez(tmp_path / 'features.npz', manifest=manifest, pooled=np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r'features\.npz holds no features of mmsimclr, or is damaged'):
        read_features(tmp_path / 'features.npz')


def test_a_payload_in_a_folder_of_features_is_refused(tmp_path, proof):
    (tmp_path / 'features').mkdir()
    (tmp_path / 'features' / 'manifest.json').write_text(MANIFEST)
    np.save(tmp_path / 'features' / 'pooled.npy', np.array([Payload(proof)] * 3, dtype=object))
    with pytest.raises(ValueError, match=r'pooled\.npy is damaged'):
        read_features(tmp_path / 'features')


@pytest.fixture
def redirecting():
    """A server that redirects every request to an address of the test's choice."""
    class Handler(BaseHTTPRequestHandler):
        target = ''

        def do_GET(self):
            self.send_response(302)
            self.send_header('Location', self.target)
            self.send_header('Content-Length', '0')
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield Handler, f'http://127.0.0.1:{server.server_port}/weights.pth'
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize('target', ['file:///etc/hostname', 'ftp://127.0.0.1/weights.pth', 'data:,text'])
def test_a_redirection_away_from_the_web_is_refused(redirecting, tmp_path, target):
    redirecting[0].target = target
    with pytest.raises(DownloadError, match=r'weights\.pth.*(not allowed|no web address|302)'):
        download(redirecting[1], tmp_path / 'weights.pth', attempts=1)
    assert not (tmp_path / 'weights.pth').exists()


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A copy of the model index that may be spoiled."""
    shutil.copy(ROOT / 'model-index.yml', tmp_path)
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
    monkeypatch.setattr(shipped, 'PACKAGE', tmp_path / 'mmsimclr')
    for function in (zoo_index.model_entries, zoo_index._metafiles):
        function.cache_clear()
    yield tmp_path
    for function in (zoo_index.model_entries, zoo_index._metafiles):
        function.cache_clear()


@pytest.mark.parametrize('path', ['/etc/passwd', '../outside.yml', 'configs/../../outside.yml',
                                  'http://example.org/metafile.yml', 'file:///etc/passwd'])
def test_an_index_that_points_elsewhere_is_refused(index, path):
    assert zoo_index.model_names()
    zoo_index.model_entries.cache_clear()
    zoo_index._metafiles.cache_clear()
    (index / 'model-index.yml').write_text(yaml.safe_dump({'Import': [path]}))
    with pytest.raises(CheckpointError, match='not a path below it'):
        zoo_index.model_names()


def test_weights_that_lie_elsewhere_than_on_the_web_are_refused(index):
    path = index / 'configs' / 'simclr' / 'metafile.yml'
    metafile = yaml.safe_load(path.read_text(encoding='utf-8'))
    metafile['Models'][0]['Weights'] = 'file:///etc/passwd'
    path.write_text(yaml.safe_dump(metafile), encoding='utf-8')
    with pytest.raises(CheckpointError, match='no web address'):
        zoo_index.model_names()


SOURCES = sorted([*(ROOT / 'mmsimclr').rglob('*.py'), *(ROOT / 'tools').rglob('*.py')])
FORBIDDEN = {'eval', 'exec', 'compile', '__import__', 'os.system', 'os.popen', 'pickle.load', 'pickle.loads',
             'yaml.load', 'joblib.load', 'marshal.loads', 'shelve.open'}


@pytest.mark.slow
def test_no_source_runs_text_or_opens_a_pickle_freely():
    for path in SOURCES:
        for call in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if not isinstance(call, ast.Call):
                continue
            name, arguments = ast.unparse(call.func), {word.arg: word.value for word in call.keywords}
            assert name not in FORBIDDEN, f'{path}:{call.lineno}: {name}'
            for key, wanted in (('shell', False), ('allow_pickle', False), ('weights_only', True)):
                if key in arguments:
                    assert ast.literal_eval(arguments[key]) is wanted, f'{path}:{call.lineno}: {key}'
            if name == 'torch.load':
                assert 'weights_only' in arguments, f'{path}:{call.lineno}'


# What reads a file of others without a bound, or raises what is not the user's: the readers of mmsimclr.files
# stand between.
UNGUARDED = {'json.load', 'json.loads', 'np.load', 'ElementTree.parse', 'ElementTree.fromstring',
             'Image.open', 'csv.reader', 'csv.DictReader', 'Config.fromfile'}
GUARDS = {
    'mmsimclr/config/load.py': {'Config.fromfile'},             # of what was looked through before
    'mmsimclr/moved.py': {'json.loads'},                        # of a file that comes with it
    'mmsimclr/files/reading.py': {'json.loads', 'ElementTree.fromstring', 'csv.DictReader', 'Image.open'},
    'mmsimclr/transforms/load.py': {'Image.open'},              # of bytes that are a plain JPEG's
    'mmsimclr/runner/resume.py': {'json.loads'},                # of what was dumped on the same line
    'mmsimclr/studies/cell_process.py': {'json.loads'},         # likewise
    'mmsimclr/encoders.py': {'json.loads'},                     # likewise
    'mmsimclr/checkpoints/publish.py': {'json.loads'},          # likewise
}


@pytest.mark.slow
def test_files_of_others_are_read_by_the_guarded_readers_alone():
    for path in SOURCES:
        allowed = GUARDS.get(str(path.relative_to(ROOT)), set())
        for call in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(call, ast.Call) and (name := ast.unparse(call.func)) in UNGUARDED:
                assert name in allowed, f'{path}:{call.lineno}: {name}; use mmsimclr.files'


@pytest.mark.slow
def test_bandit_finds_nothing():
    program = shutil.which('bandit', path=f'{Path(sys.executable).parent}:{os.environ["PATH"]}')
    if program is None:
        pytest.skip('bandit is not installed (requirements/full.lock)')
    ran = subprocess.run([program, '--quiet', '--configfile', 'pyproject.toml', '--recursive', 'mmsimclr',
                          'tools', 'setup.py'], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
