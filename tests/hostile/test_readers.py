"""Damaged and hostile files of every format that is read: an error of the user, or a valid object.

Each example damages a valid file in a few places, and reads it with a limit of time and of memory, while
nothing may be run. How many examples there are is for the hypothesis profile to say.
"""

import io
import json
import os
import pickle
import resource
import signal
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.logging import MMLogger
from PIL import Image
from processes import CONTEXT
from safetensors.torch import save as safetensors_bytes
from scipy.io import savemat

from mmsimclr import checkpoints
from mmsimclr.checkpoints.record import unpack_record
from mmsimclr.checkpoints.tensorflow import read_tensorflow
from mmsimclr.datasets import (
    Birdsnap,
    IdentityImages,
    INaturalist2018,
    ListedSubset,
    Places205,
    UnlabeledImageFolder,
    VOCMultiLabel,
    WebDatasetShards,
)
from mmsimclr.datasets.annotations import check_coco, check_voc, image_size, read_mask
from mmsimclr.datasets.webdataset_shards import scan_shards
from mmsimclr.errors import UserError
from mmsimclr.evaluation.shape_bias import read_decisions
from mmsimclr.features import read_features
from mmsimclr.features.fingerprint import list_images
from mmsimclr.features.store import FeatureStore, block_checksums, pack_npz
from mmsimclr.files import unpack
from mmsimclr.files.download import _read_origin
from mmsimclr.files.reading import parse_json
from mmsimclr.models import ResNet
from mmsimclr.prepare.devkits import _sbd_mask
from mmsimclr.protocols import Predictions, Result, read_predictions, read_result
from mmsimclr.protocols.transfer import _read_point
from mmsimclr.reporting import compare_results, read_scalars, summarize
from mmsimclr.reporting.atlas import read_columns
from mmsimclr.studies import CellResult, Worker, read_records, values_at, write_records
from mmsimclr.transforms.load import decode_image

pytestmark = pytest.mark.slow

if settings.get_current_profile_name() == 'default':            # another conftest has said nothing
    settings.register_profile('readers', max_examples=30, deadline=None, derandomize=True,
                              suppress_health_check=list(HealthCheck), database=None)
    settings.load_profile('readers')

SECONDS, MEMORY = 20, 1_500_000_000
RUNNING = ('os.system', 'os.exec', 'os.posix_spawn', 'os.spawn', 'os.fork', 'subprocess.Popen',
           'socket.connect', 'ctypes.dlopen', 'os.remove', 'os.rename', 'os.symlink')
watched: list[str] | None = None


def _hook(event: str, arguments: tuple) -> None:
    if watched is not None and event.startswith(RUNNING):
        watched.append(f'{event} {arguments!r:.200}')


sys.addaudithook(_hook)                                     # there for good, silent outside of guarded()


@contextmanager
def guarded() -> Iterator[None]:
    """Fail if a block takes too long or too much memory, runs something, or raises what is not the user's."""
    def late(*_: object) -> None:
        raise AssertionError(f'not done after {SECONDS} s')

    global watched
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    watched = []
    try:
        yield
    except UserError as error:
        assert str(error)
    finally:
        seen, watched = watched, None
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert not seen, seen


class Payload:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ('true',)


TOKENS = [b'[' * 3000, b'{"a":' * 3000, b'NaN', b'-Infinity', b'1e999', b'9' * 5000, b'1' + b'0' * 30,
          b'-1', b'0', b'null', b'true', b'""', b'[]', b'{}', b'\xff\xfe', b'\0', b'\0' * 512,
          b'\xff' * 8, b'\x7f' * 8,
          b'../../../../etc/passwd', b'/etc/passwd', b'%00', b'\n', b',', b'"', b'&lol;', b'<a>' * 3000,
          pickle.dumps(Payload()), b'\\ud800', b'|O', b'(4294967296, 4294967296)', b'(-1,)']
KINDS = ['flip', 'insert', 'cut', 'drop', 'repeat', 'number', 'number', 'value']
EDITS = st.lists(st.tuples(st.sampled_from(KINDS), st.floats(0, 1), st.integers(0, 255),
                           st.sampled_from(TOKENS)), min_size=1, max_size=4)


def damaged(data: bytes, edits: list[tuple[str, float, int, bytes]]) -> bytes:
    """Return a file's bytes after some edits."""
    for kind, share, number, token in edits:
        place = int(share * len(data))
        if kind == 'flip' and data:
            place = min(place, len(data) - 1)
            data = data[:place] + bytes([data[place] ^ (number or 1)]) + data[place + 1:]
        elif kind == 'insert':
            data = data[:place] + token + data[place:]
        elif kind == 'cut':
            data = data[:place]
        elif kind == 'drop':
            data = data[:place] + data[place + number:]
        elif kind == 'repeat':
            data = data[:place] + data[place:place + number] * 40 + data[place:]
        else:                                                   # the next number, or value, becomes a token
            letters = b'0123456789' if kind == 'number' else b'0123456789abcdefghijklmnopqrstuvwxyz._-'
            while place < len(data) and data[place:place + 1] not in [bytes([letter]) for letter in letters]:
                place += 1
            end = place
            while end < len(data) and data[end:end + 1] in [bytes([letter]) for letter in letters]:
                end += 1
            data = data[:place] + token + data[end:]
    return data


@dataclass(frozen=True)
class Format:
    """A kind of file: how to write valid ones into a folder, which one to damage, how to read it."""

    write: Callable[[Path], None]
    damaged: str
    read: Callable[[Path], object]
    member: str | None = None                           # of a zip, damaged inside: its checksum is right


FORMATS: dict[str, Format] = {}


def encoder() -> tuple[dict[str, torch.Tensor], dict]:
    torch.manual_seed(0)
    tensors = ResNet(depth=18, base_channels=2).eval().state_dict()
    record = dict(version=1, encoder=dict(depth=18, width_multiplier=2 / 64, stem='imagenet'),
                  input=dict(mean=[1., 2., 3.], std=[4., 5., 6.], stated=True))
    return tensors, record


def checkpoint(folder: Path, **options) -> None:
    tensors, record = encoder()
    torch.save(dict(meta=dict(mmsimclr=record, cfg='model = dict(type="SimCLR")', epoch=3),
                    state_dict={f'backbone.{key}': value for key, value in tensors.items()}),
               folder / 'x.pth', **options)


def safetensors(folder: Path) -> None:
    tensors, record = encoder()
    (folder / 'x.safetensors').write_bytes(safetensors_bytes(tensors, dict(mmsimclr=json.dumps(record))))


def image_bytes(form: str = 'PNG', mode: str = 'RGB', size: tuple[int, int] = (12, 9)) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(file, form)
    return file.getvalue()


FORMATS['checkpoint, zip'] = Format(
    checkpoint, 'x.pth', lambda folder: checkpoints.read_encoder(folder / 'x.pth'))
FORMATS['checkpoint, pickle in the zip'] = Format(
    checkpoint, 'x.pth', lambda folder: checkpoints.read_encoder(folder / 'x.pth'), 'x/data.pkl')
FORMATS['checkpoint, legacy'] = Format(
    lambda folder: checkpoint(folder, _use_new_zipfile_serialization=False), 'x.pth',
    lambda folder: checkpoints.read_encoder(folder / 'x.pth'))
FORMATS['safetensors'] = Format(
    safetensors, 'x.safetensors', lambda folder: checkpoints.build_encoder(folder / 'x.safetensors'))
FORMATS['record'] = Format(
    lambda folder: (folder / 'record').write_text(json.dumps(encoder()[1])) and None, 'record',
    lambda folder: unpack_record((folder / 'record').read_bytes().decode('utf-8', 'replace')))


def result(folder: Path) -> None:
    Result('knn', {'top_1_accuracy_percent': 50.0}, {'train': 10, 'test': 2}, 0,
           {'k': 20, 'encoder': {'depth': 18}, 'encoder_address': 'a:b', 'parts': {'a': 'a/result.json'},
            'changed_on_resume': [{'step': 3, 'changes': [{'key': 'lr', 'then': 1, 'now': 2}]}]},
           checkpoint_sha256='f' * 64, checkpoint='a/b.pth', tensors_loaded=(1, 1),
           config='configs/x.py', command='x --seed 0').write(folder / 'result.json')


def read_all_results(folder: Path) -> None:
    found = read_result(folder / 'result.json')
    with suppress(UserError):
        compare_results(folder / 'result.json', folder / 'result.json')
    assert asdict(found)
    summary = summarize([folder])
    summary.markdown().encode()
    summary.html().encode()


FORMATS['result'] = Format(result, 'result.json', read_all_results)
def scalars(folder: Path) -> None:
    (folder / 'run' / 'vis_data').mkdir(parents=True)
    (folder / 'run' / 'vis_data' / 'scalars.json').write_text(
        '{"loss": 1.5, "step": 1}\n{"loss": NaN, "step": 2}\n')


FORMATS['scalars'] = Format(scalars, 'run/vis_data/scalars.json', read_scalars)
PREDICTIONS = Predictions(np.arange(4), np.arange(4), np.array(list('abcd')))
FORMATS['predictions'] = Format(
    PREDICTIONS.write, 'predictions.npz', lambda folder: read_predictions(folder / 'predictions.npz'))
FORMATS['predictions, an array in the zip'] = Format(
    PREDICTIONS.write, 'predictions.npz', lambda folder: read_predictions(folder / 'predictions.npz'),
    'labels.npy')


def features(folder: Path) -> None:
    (folder / 'f').mkdir()
    arrays = dict(pooled=np.ones((5, 3), np.float32), labels=np.arange(5), paths=np.array(list('abcde')))
    for name, array in arrays.items():
        np.save(folder / 'f' / f'{name}.npy', array)
    manifest = dict(
        format='mmsimclr features 2', encoder={}, stages=dict(pooled=3), dtype='float32', batch_size=4,
        images=dict(root='', num=5, sha256='', classes=['a'], num_unreadable=0, unreadable=[]),
        checksums={name: block_checksums(array) for name, array in arrays.items()})
    (folder / 'f' / 'manifest.json').write_text(json.dumps(manifest))
    pack_npz(folder / 'f.npz', sorted((folder / 'f').glob('*.npy')), dict(manifest=json.dumps(manifest)))


def read_rows(path: Path) -> None:
    found = read_features(path)
    assert np.array_equal(found.stages['pooled'], np.ones((5, 3))), 'damaged and not noticed'
    assert str(found) and list(map(str, found.paths)) == list('abcde')


for name in ('manifest.json', 'pooled.npy', 'labels.npy', 'paths.npy'):
    FORMATS[f'features, {name}'] = Format(features, f'f/{name}', lambda folder: read_rows(folder / 'f'))
for member in (None, 'pooled.npy', 'manifest.npy'):
    FORMATS[f'features, npz, {member}'] = Format(
        features, 'f.npz', lambda folder: read_rows(folder / 'f.npz'), member)


def coco(folder: Path) -> None:
    (folder / 'images').mkdir()
    (folder / 'images' / '1.png').write_bytes(image_bytes(size=(48, 40)))
    boxes = [dict(id=i, image_id=1, category_id=3, bbox=[1, 1, 20.5, 10], area=80.0, segmentation=mask)
             for i, mask in enumerate([[[1, 1, 20, 1, 20, 9.5]], dict(size=[40, 48], counts=[100, 1820])])]
    (folder / 'ann.json').write_text(json.dumps(dict(
        images=[dict(id=1, file_name='1.png', width=48, height=40)], annotations=boxes,
        categories=[dict(id=3, name='cat')])))


FORMATS['COCO'] = Format(
    coco, 'ann.json', lambda folder: check_coco(folder / 'ann.json', folder / 'images', None))


def voc(folder: Path) -> None:
    for name in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (folder / name).mkdir(parents=True)
    (folder / 'JPEGImages' / '1.jpg').write_bytes(image_bytes('JPEG'))
    (folder / 'ImageSets/Main/train.txt').write_text('1\n')
    (folder / 'Annotations' / '1.xml').write_text(
        '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lollollol">]><annotation><size><width>12</width>'
        '<height>9</height><depth>3</depth></size><object><name>cat</name><difficult>0</difficult><bndbox><xmin>1'
        '</xmin><ymin>1</ymin><xmax>9.5</xmax><ymax>8</ymax></bndbox></object></annotation>')


def read_voc(folder: Path) -> None:
    dataset = VOCMultiLabel(str(folder), split='train')
    assert len(dataset.get_data_info(0)['gt_label']) == 20
    check_voc(folder / 'ImageSets/Main/train.txt', folder, ('cat', 'dog'))


for name in ('Annotations/1.xml', 'ImageSets/Main/train.txt', 'JPEGImages/1.jpg'):
    FORMATS[f'VOC, {name}'] = Format(voc, name, read_voc)


def lists(folder: Path) -> None:
    (folder / 'trainvalsplit_places205').mkdir()
    (folder / 'trainvalsplit_places205/train_places205.csv').write_text('a/abbey/x.jpg,0\ny/yard/x.jpg,204\n')
    (folder / 'images').mkdir()
    for name in 'ab':
        (folder / 'images' / f'{name}.jpg').write_bytes(b'')
    (folder / 'species.txt').write_text('id\tcommon\n1\tAuk\n2\tBee-eater\n')
    (folder / 'images.txt').write_text('path\tspecies_id\na.jpg\t1\nb.jpg\t2\n')
    (folder / 'test_images.txt').write_text('path\nb.jpg\n')
    (folder / 'train2018.json').write_text(json.dumps(dict(
        images=[dict(id=1, file_name='a.jpg')], annotations=[dict(image_id=1, category_id=3)])))
    (folder / 'names.txt').write_text('a.jpg\n')
    Image.new('RGB', (4, 4)).save(folder / 'images' / 'a.jpg')


FORMATS['Places205'] = Format(lists, 'trainvalsplit_places205/train_places205.csv',
                              lambda folder: len(Places205(str(folder))))
for name in ('species.txt', 'images.txt', 'test_images.txt'):
    FORMATS[f'Birdsnap, {name}'] = Format(lists, name, lambda folder: len(Birdsnap(str(folder))))
FORMATS['iNaturalist'] = Format(lists, 'train2018.json', lambda folder: len(INaturalist2018(str(folder))))
FORMATS['list of names'] = Format(lists, 'names.txt', lambda folder: len(ListedSubset(
    dict(type='UnlabeledImageFolder', data_root=str(folder / 'images')), folder / 'names.txt')))


def shards(folder: Path) -> None:
    with tarfile.open(folder / '0.tar', 'w', format=tarfile.PAX_FORMAT) as tar:
        for number in range(2):
            for name, content in ((f'{number}.png', image_bytes()), (f'{number}.cls', b'3')):
                header = tarfile.TarInfo(name)
                header.size = len(content)
                header.pax_headers = {'comment': 'ä'} if number else {}
                tar.addfile(header, io.BytesIO(content))


def indexed_shards(folder: Path) -> None:
    shards(folder)
    scan_shards(folder).write(folder)


def read_shards(folder: Path) -> None:
    dataset = WebDatasetShards(str(folder))
    for number in range(len(dataset)):
        assert isinstance(dataset.get_data_info(number)['img'], bytes)
    list_images(dataset)


FORMATS['shard'] = Format(shards, '0.tar', read_shards)
FORMATS['shard beside its index'] = Format(indexed_shards, '0.tar', read_shards)
FORMATS['index of shards'] = Format(indexed_shards, 'index.npz', read_shards)
for member in ('names', 'sizes', 'shards', 'offsets', 'lengths', 'labels'):
    FORMATS[f'index of shards, {member}'] = Format(indexed_shards, 'index.npz', read_shards, f'{member}.npy')


def cifar10(folder: Path) -> None:
    (folder / 'data_batch_1').write_bytes(pickle.dumps(
        {b'data': np.zeros((3, 3072), np.uint8), b'labels': [0, 1, 2]}, protocol=2))
    with tarfile.open(folder / 'cifar.tar.gz', 'w:gz') as tar:
        tar.add(folder / 'data_batch_1', 'cifar/data_batch_1')


def read_archive(folder: Path) -> None:
    (folder / 'out').mkdir(exist_ok=True)
    unpack(folder / 'cifar.tar.gz', folder / 'out', ['data_batch_1'])


FORMATS['CIFAR-10 archive'] = Format(cifar10, 'cifar.tar.gz', read_archive)


def tables(folder: Path) -> None:
    (folder / 'images.csv').write_text('image,identity,camera\nx/a.jpg,x,1\nx/b.jpg,y,\n' * 20)
    (folder / 'decisions.csv').write_text(
        'subj,session,trial,rt,object_response,category,condition,imagename\n'
        'resnet,1,1,NaN,cat,cat,NaN,cat1-dog2.png\nresnet,1,2,NaN,na,"dog",NaN,dog1-cat2.png\n')
    (folder / 'labels.csv').write_text('path,label,score\na.jpg,x,1\n"b.jpg",y,2.5\n' + 'c,,\n' * 60_000)


FORMATS['CSV of identities'] = Format(tables, 'images.csv',
                                      lambda folder: len(IdentityImages(str(folder), 'images.csv')))
FORMATS['CSV of decisions'] = Format(tables, 'decisions.csv', lambda folder: read_decisions(
    folder / 'decisions.csv').bias())
FORMATS['CSV of labels'] = Format(tables, 'labels.csv', lambda folder: read_columns(
    folder / 'labels.csv', ['a.jpg', 'b.jpg'], ''))

IDENTITY = {'encoder.sha256': 'f' * 64, 'train_cfg.max_iters': 3, 'protocol.lr': [0.1, 0.2]}


def records(folder: Path) -> None:
    cell = CellResult('cell', ('low', '4'), 3, 'a' * 64, None, {'knn': 'b' * 64}, {'knn.top_1_percent': 50.5},
                      3.5, series={'knn.values': [1.0]}, options={'lr': 0.1})
    write_records(folder / 'study.json', dict(name='mine'), [cell, cell])
    (folder / 'cell').mkdir()
    (folder / 'cell' / 'cell.json').write_text(json.dumps(vars(cell)))
    (folder / 'cell' / 'failed.json').write_text('{"reason": "no memory"}')
    (folder / 'point.json').write_text(json.dumps(dict(validation=50.5, identity=IDENTITY)))
    (folder / 'x.part.json').write_text(json.dumps(dict(url='http://a', validator='"1"', total=7)))


def read_cell_of(folder: Path, record: str) -> None:
    worker = SimpleNamespace(cells_dir=folder, known=[], retry_failed=False, retried=set())
    cell = SimpleNamespace(name='cell', record=record, at=('x',), seed=0, tuning=False, measures=(),
                           config_sha256='', data_sha256=None)
    found = Worker._result(worker, cell)
    assert isinstance(found, CellResult | None)
    if found:
        assert asdict(found)


FORMATS['records of a study'] = Format(records, 'study.json', lambda folder: [
    values_at(read_records(folder / 'study.json'), dict(at=['low', '4']), 'knn.top_1_percent')])
for name, record in (('cell.json', 'cell.json'), ('failed.json', 'none')):
    FORMATS[f'cell of a study, {name}'] = Format(
        records, f'cell/{name}', lambda folder, record=record: read_cell_of(folder, record))
FORMATS['point of a grid'] = Format(records, 'point.json', lambda folder: _read_point(
    folder / 'point.json', IDENTITY, MMLogger.get_instance('readers')))
FORMATS['origin of a download'] = Format(records, 'x.part.json', lambda folder: _read_origin(
    folder / 'x.part.json', 'http://a'))


def extraction(folder: Path) -> None:
    (folder / 'images').mkdir()
    for number in range(4):
        (folder / 'images' / f'{number}.png').write_bytes(image_bytes(size=(8 + number, 8)))
    store, manifest, images = store_of(folder)
    store.prepare(manifest, images, False)
    store.add([0, 1], ['', ''], dict(pooled=[np.ones((2, 3), np.float32)]))


def store_of(folder: Path) -> tuple:
    for number, path in enumerate(sorted((folder / 'images').iterdir())):
        os.utime(path, ns=(0, number))
    images = list_images(UnlabeledImageFolder(str(folder / 'images')))
    manifest = dict(format='mmsimclr features 2', encoder={}, stages=dict(pooled=3), dtype='float32',
                    batch_size=2, images=dict(root='', num=4, sha256=images.sha256, classes=['a']))
    return FeatureStore(folder / 'f'), manifest, images


def go_on(folder: Path) -> None:
    global watched
    before, watched = watched, None                 # it removes damaged blocks, and writes others
    try:
        store, manifest, images = store_of(folder)
        for batch in store.prepare(manifest, images, False):
            store.add([*batch], [''] * len(batch), dict(pooled=[np.ones((len(batch), 3), np.float32)]))
        store.finish(manifest, images, UnlabeledImageFolder(str(folder / 'images')))
        assert np.array_equal(read_features(folder / 'f').stages['pooled'], np.ones((4, 3)))
    finally:
        watched = before


for name in ('manifest.json', 'identities.npy', 'rows-0-2.npz'):
    FORMATS[f'begun extraction, {name}'] = Format(extraction, f'f.partial/{name}', go_on)
for member in ('images', 'reasons', 'pooled'):
    FORMATS[f'begun extraction, rows, {member}'] = Format(
        extraction, 'f.partial/rows-0-2.npz', lambda folder: go_on_checked(folder), f'{member}.npy')


def go_on_checked(folder: Path) -> None:
    # The checksums of the zip are right here, so only the form of a row can tell damage.
    with suppress(AssertionError):
        go_on(folder)


def sbd(folder: Path) -> None:
    savemat(folder / 'mask.mat', dict(GTcls=dict(Segmentation=np.ones((5, 6), np.uint8), Boundaries=1)),
            do_compression=True)


FORMATS['mask of SBD'] = Format(sbd, 'mask.mat', lambda folder: _sbd_mask(folder / 'mask.mat'))


def read_image(folder: Path) -> None:
    data = (folder / 'image').read_bytes()
    for read in (lambda: decode_image(data), lambda: image_size(folder / 'image'),
                 lambda: read_mask(folder / 'image')):
        with suppress(UserError):
            read()


for form, mode in (('JPEG', 'RGB'), ('JPEG', 'CMYK'), ('PNG', 'P'), ('TIFF', 'RGB'), ('TIFF', 'F'),
                   ('TIFF', 'I'), ('GIF', 'P'), ('WEBP', 'RGB'), ('BMP', 'RGB')):
    FORMATS[f'image, {form} {mode}'] = Format(
        lambda folder, form=form, mode=mode: (folder / 'image').write_bytes(image_bytes(form, mode)) and None,
        'image', read_image)


@cache
def valid_files(name: str) -> dict[str, bytes]:
    """Return the content of a format's valid files, by their paths."""
    with tempfile.TemporaryDirectory() as folder:
        FORMATS[name].write(Path(folder))
        files = {str(path.relative_to(folder)): path.read_bytes()
                 for path in sorted(Path(folder).rglob('*')) if path.is_file()}
        FORMATS[name].read(Path(folder))                        # the undamaged one is read
        return files


def with_damaged_member(archive: bytes, member: str, edits: list) -> bytes:
    """Return a zip, its checksums right, with one member damaged."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as before, zipfile.ZipFile(target, 'w') as after:
        for info in before.infolist():
            content = before.read(info)
            after.writestr(info.filename, damaged(content, edits) if info.filename == member else content)
    return target.getvalue()


@pytest.mark.parametrize('name', FORMATS)
@given(edits=EDITS)
def test_a_damaged_file_is_an_error_of_the_user_or_still_valid(name, edits):
    form, files = FORMATS[name], dict(valid_files(name))
    files[form.damaged] = damaged(files[form.damaged], edits) if form.member is None else with_damaged_member(
        files[form.damaged], form.member, edits)
    with tempfile.TemporaryDirectory() as folder:
        for path, content in files.items():
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / path).write_bytes(content)
        with guarded():
            form.read(Path(folder))


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(text=st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_json_is_what_the_standard_library_reads_or_an_error(text):
    with guarded():
        value = parse_json(text, 'text', 'a value')
        assert value == json.loads(text)


def tensorflow_files() -> dict[str, bytes]:
    import tensorflow
    arrays = {'base_model/conv2d/kernel': np.ones((3, 3, 3, 2), np.float32),
              'base_model/batch_normalization/gamma': np.ones(2, np.float32), 'global_step': np.array(3)}
    with tempfile.TemporaryDirectory() as folder:
        tensorflow.raw_ops.SaveV2(prefix=f'{folder}/x', tensor_names=list(arrays), shape_and_slices=[''] * 3,
                                  tensors=list(arrays.values()))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def read_damaged_tensorflow() -> None:
    """Read damaged checkpoints of TensorFlow; in a process of its own, which its C++ code may end."""
    torch.set_num_threads(1)
    valid = tensorflow_files()

    @given(name=st.sampled_from(sorted(valid)), edits=EDITS)
    def read(name, edits):
        with tempfile.TemporaryDirectory() as folder:
            for path, content in valid.items():
                (Path(folder) / path).write_bytes(damaged(content, edits) if path == name else content)
            for use in (lambda: [*read_tensorflow(Path(folder) / 'x').values()],
                        lambda: checkpoints.read_encoder(Path(folder) / 'x')):
                with suppress(UserError):
                    use()

    read()


def test_a_damaged_tensorflow_checkpoint_is_an_error_of_the_user_or_still_valid():
    pytest.importorskip('tensorflow', reason='TensorFlow is not installed')
    process = CONTEXT.Process(target=read_damaged_tensorflow)
    process.start()
    process.join(200)
    process.kill()
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize('name', ['x.pth', 'x.safetensors', 'x.pkl', 'x.npz', 'result.json'])
@given(content=st.binary(max_size=300))
def test_bytes_without_any_form_are_an_error(name, content):
    read = {'x.npz': read_features, 'result.json': read_result}.get(name, checkpoints.read_encoder)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(content)
        with pytest.raises(UserError), guarded_strictly():
            read(Path(folder) / name)


@contextmanager
def guarded_strictly() -> Iterator[None]:
    """Guard a block as :func:`guarded` does, and pass the error of the user on."""
    caught = []
    with guarded():
        try:
            yield
        except UserError as error:
            caught.append(error)
    if caught:
        raise caught[0]


def test_the_guard_notices_what_it_is_to_notice(tmp_path):
    with pytest.raises(AssertionError, match=r'os\.system'), guarded():
        pickle.loads(pickle.dumps(Payload()))
    with pytest.raises(MemoryError), guarded():
        bytearray(4 * MEMORY)
    with pytest.raises(ZeroDivisionError), guarded():
        1 / 0                                                   # noqa: B018
    with guarded():
        raise UserError('of the user')
