"""The Hugging Face Hub, played by a server on this machine: encoders from it, and a run published to it."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from tiny_run import tiny_runner

from mmsimclr.checkpoints import FetchError, build_encoder, find_checkpoint
from mmsimclr.checkpoints.hub import fetch_from_hub, upload_to_hub
from mmsimclr.errors import InputError
from mmsimclr.protocols import Result

COMMIT = '0123456789' * 4


class Hub(BaseHTTPRequestHandler):
    """The endpoints that a download and an upload ask for; files are kept in ``store`` by path."""

    protocol_version = 'HTTP/1.1'
    store: dict[str, bytes] = {}
    tokens: set[str] = set()

    def log_message(self, *args):
        pass

    def reply(self, status, body=b'', **headers):
        self.send_response(status)
        for name, value in {'Content-Length': len(body), 'X-Repo-Commit': COMMIT, **headers}.items():
            self.send_header(name.replace('_', '-'), str(value))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    def answer(self, value):
        self.reply(200, json.dumps(value).encode(), Content_Type='application/json')

    def do_GET(self):
        path = self.path.split('?')[0]
        if '/resolve/' in path:
            owner, name, _, _, *file = path.strip('/').split('/')
            key = '/'.join((owner, name, *file))
            if key not in self.store:
                return self.reply(404, X_Error_Code='EntryNotFound')
            return self.reply(200, self.store[key], ETag=f'"{hashlib.sha256(self.store[key]).hexdigest()}"')
        if path.startswith('/api/models/'):
            repo = '/'.join(path.split('/')[3:5])
            return self.answer(dict(id=repo, modelId=repo, sha=COMMIT, private=False, siblings=[], tags=[]))
        return self.reply(404)

    do_HEAD = do_GET

    def do_PUT(self):
        self.store[self.path] = self.rfile.read(int(self.headers['Content-Length']))
        self.reply(200, ETag='"x"')

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        self.tokens.add(self.headers.get('Authorization', ''))
        host = f'http://{self.headers["Host"]}'
        if self.path == '/api/repos/create':
            asked = json.loads(body)
            name = '/'.join(filter(None, (asked.get('organization'), asked['name'])))
            return self.answer(dict(url=f'{host}/{name}', name=name))
        if '/preupload/' in self.path:
            files = json.loads(body)['files']
            return self.answer(dict(files=[dict(path=each['path'], shouldIgnore=False, uploadMode=(
                'regular' if each['path'].endswith('.md') else 'lfs')) for each in files]))
        if self.path.endswith('/info/lfs/objects/batch'):
            return self.answer(dict(transfer='basic', objects=[
                dict(oid=each['oid'], size=each['size'], authenticated=True, actions=dict(
                    upload=dict(href=f'{host}/lfs/{each["oid"]}'))) for each in json.loads(body)['objects']]))
        if '/commit/' in self.path:
            repo = '/'.join(self.path.split('/')[3:5])
            for line in map(json.loads, body.decode().splitlines()):
                value = line['value']
                if line['key'] == 'file':
                    self.store[f'{repo}/{value["path"]}'] = base64.b64decode(value['content'])
                elif line['key'] == 'lfsFile':
                    self.store[f'{repo}/{value["path"]}'] = self.store[f'/lfs/{value["oid"]}']
            return self.answer(dict(success=True, commitOid=COMMIT, pullRequestUrl=None,
                                    commitUrl=f'{host}/{repo}/commit/{COMMIT}'))
        return self.answer({})


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Run the server, and have huggingface_hub ask it, here and in processes that are started."""
    server = ThreadingHTTPServer(('127.0.0.1', 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(Hub, 'store', {})
    monkeypatch.setattr(Hub, 'tokens', set())
    settings = dict(HF_ENDPOINT=f'http://127.0.0.1:{server.server_port}', HF_HUB_DISABLE_XET='1',
                    HF_TOKEN='hf_me', HF_HOME=str(tmp_path / 'hf'), HF_HUB_DISABLE_TELEMETRY='1',
                    HF_HUB_OFFLINE='0')
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    yield settings['HF_ENDPOINT']
    server.shutdown()
    server.server_close()


def in_a_process(*words: str) -> subprocess.CompletedProcess:
    """Run Python with the environment of now, which huggingface_hub reads when it is imported."""
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=120)


FETCH = 'import sys; from mmsimclr.checkpoints import find_checkpoint; print(find_checkpoint(sys.argv[1]))'


@pytest.mark.slow
def test_a_run_is_published_with_its_card_and_comes_back(hub, tmp_path):
    runner = tiny_runner(tmp_path / 'run')
    runner.train()
    checkpoint = find_checkpoint(tmp_path / 'run')
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    for name, sha256, value in (('own', digest, 61.25), ('other', 'f' * 64, 99.0)):
        folder = tmp_path / 'run' / name
        folder.mkdir()
        Result('k-NN', dict(top_1_accuracy_k20_percent=value), dict(train=4, test=2), 0, dataset='Shapes',
               checkpoint=str(checkpoint), checkpoint_sha256=sha256).write(folder / 'result.json')
    done = in_a_process('-m', 'mmsimclr', 'publish', str(tmp_path / 'run'), '--to', 'hf://me/tiny')
    assert done.returncode == 0, done.stderr
    assert f'published at {hub}/me/tiny' in done.stdout and 'Bearer hf_me' in Hub.tokens
    names = {name.removeprefix('me/tiny/') for name in Hub.store if name.startswith('me/')}
    assert {'README.md', 'model.safetensors'} < names and len(names) == 3
    card = Hub.store['me/tiny/README.md'].decode()
    assert '61.25 %' in card and 'hf://me/tiny' in card and '99' not in card.split(digest)[1]

    fetched = in_a_process('-c', FETCH, 'hf://me/tiny')
    assert fetched.returncode == 0, fetched.stderr
    backbone, report = build_encoder(fetched.stdout.split()[-1])
    for name, tensor in runner.model.backbone.state_dict().items():
        assert torch.equal(backbone.state_dict()[name], tensor), name
    assert report.matched == report.expected == 120

    # From the cache, with no network.
    os.environ['MMSIMCLR_OFFLINE'] = '1'
    try:
        assert in_a_process('-c', FETCH, 'hf://me/tiny').stdout == fetched.stdout
    finally:
        del os.environ['MMSIMCLR_OFFLINE']


@pytest.mark.slow
def test_what_is_not_there_and_a_server_that_is_away_are_plain_errors(hub, monkeypatch):
    absent = in_a_process('-m', 'mmsimclr', 'publish', 'hf://me/absent', 'x')
    assert absent.returncode == 1 and 'hf://me/absent' in absent.stderr and 'Traceback' not in absent.stderr
    monkeypatch.setenv('HF_ENDPOINT', 'http://127.0.0.1:9')
    away = in_a_process('-m', 'mmsimclr', 'publish', 'hf://me/tiny', 'x')
    assert away.returncode == 1 and 'HF_ENDPOINT' in away.stderr and 'Traceback' not in away.stderr


@pytest.mark.parametrize('address', ['hf://', 'hf://name', 'hf://a b/c', 'hf://a/b@', 'hf://a/b/../c@x y'])
def test_an_address_of_another_form_is_refused(address):
    with pytest.raises(InputError, match='hf://owner/name'):
        fetch_from_hub(address)


def test_a_model_is_published_as_a_whole(tmp_path):
    with pytest.raises(InputError, match='hf://me/tiny, got'):
        upload_to_hub(tmp_path, 'hf://me/tiny/file.bin')


def test_parts_of_an_address(monkeypatch):
    asked = []
    hub = pytest.importorskip('huggingface_hub')
    monkeypatch.setattr(hub, 'hf_hub_download', lambda *args, **kwargs: asked.append((args, kwargs)) or '/x')
    monkeypatch.setenv('MMSIMCLR_OFFLINE', '1')
    for address in ('hf://me/a.b', 'hf://me/a/sub/x.pth', 'hf://me/a@main', 'hf://me/a/x.bin@v1'):
        fetch_from_hub(address)
    assert [(*args, settings['revision']) for args, settings in asked] == [
        ('me/a.b', 'model.safetensors', None), ('me/a', 'sub/x.pth', None),
        ('me/a', 'model.safetensors', 'main'), ('me/a', 'x.bin', 'v1')]
    assert all(settings['local_files_only'] for _, settings in asked)

    def gone(*args, **kwargs):
        raise OSError('gone')
    monkeypatch.setattr(hub, 'hf_hub_download', gone)
    with pytest.raises(FetchError, match='hf://me/a: gone'):
        fetch_from_hub('hf://me/a')
