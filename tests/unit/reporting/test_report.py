"""The page's content: curves, facts, results, empty states, and that it cannot run or load anything."""

import hashlib
import json
import os
import re
import shutil

import numpy as np
import pytest
from processes import ROOT

from mmsimclr.errors import InputError, MissingFileError
from mmsimclr.protocols import Result
from mmsimclr.reporting.report import _checkpoint_of, _views, write_report


@pytest.fixture
def run(tmp_path):
    """Return a work directory with a log, a result of its own and one of a protocol below it."""
    folder = tmp_path / 'run'
    shutil.copytree(ROOT / 'tests/data/dumps_0.1/run', folder)
    scalars = folder / '20260101_000000' / 'vis_data' / 'scalars.json'
    scalars.parent.mkdir(parents=True)
    entries = [dict(step=step, loss=5.0 - step, contrastive_accuracy=0.1 * step, time=1.0)
               for step in (1, 2, 3)]
    entries.append({'step': 3, 'knn_accuracy': float('nan'), 'health/contrastive_chance': 0.1})
    entries += [{'step': step, 'health/pooled_rankme': 10.0 + step, 'health/contrastive_chance': 0.1}
                for step in (0, 3)]
    scalars.write_text('\n'.join(json.dumps(entry) for entry in entries) + '\n')
    sha256 = hashlib.sha256((folder / 'epoch_1.pth').read_bytes()).hexdigest()
    alarm = dict(kind='collapse', seen='RankMe <1>', epoch=2, iteration=8)
    Result('pretraining', dict(loss_nats=2.0, health_pooled_rankme=13.0), dict(train=40), 7,
           checkpoint='run/epoch_1.pth', checkpoint_sha256=sha256,
           settings=dict(note='<b>bold</b>', alarms=[alarm])).write(folder / 'result.json')
    Result('linear', dict(top_1_accuracy_percent=60.0), {}, 0, dataset='ImageNet-1k',
           checkpoint='run/epoch_1.pth', checkpoint_sha256='a' * 64).write(folder / 'linear' / 'result.json')
    return folder


def test_a_page_without_images_has_curves_facts_and_results_beside_published_numbers(run, tmp_path):
    text = write_report(run, out=tmp_path / 'out').read_text()
    assert 'id="atlas"' not in text and 'createScatterplot' not in text
    path, = re.findall(r'Contrastive loss.*?class="curve" d="M([^"]+)"', text, re.DOTALL)
    points = np.array([point.split() for point in path.split('L')], float)
    np.testing.assert_allclose(points, [[0, 0], [160, 50], [320, 100]])
    assert '&lt;b&gt;bold&lt;/b&gt;' in text and '<b>bold' not in text
    cells = re.findall(r'<tr><th>linear, ImageNet-1k.*?</tr>', text, re.DOTALL)
    assert '60.00' in cells[0] and 'openmmlab' in cells[0]


def test_health_while_training_has_a_place_of_its_own(run, tmp_path):
    text = write_report(run, out=tmp_path / 'out').read_text()
    hero, training, health = (re.search(rf'(?s)<section {name}.*?</section>', text)[0]
                              for name in ('class="hero"', 'id="training"', 'id="health"'))
    assert 'Loss' in hero and 'ealth' not in hero and 'Contrastive loss' in training
    assert re.findall(r'<figcaption><span>([^<]+)</span><b>([^<]+)', health) == [('RankMe of h', '13')]
    assert '<b>collapse</b> at epoch 2: RankMe &lt;1&gt;' in health and text.count('RankMe &lt;1&gt;') == 1


def test_what_is_missing_is_said_and_not_fatal(run, tmp_path):
    bare = tmp_path / 'bare'
    bare.mkdir()
    text = write_report([run, bare], out=tmp_path / 'out').read_text()
    assert text.count('class="empty"') >= 1 and 'bare' in text
    nothing = write_report(bare, out=tmp_path / 'out').read_text()
    assert nothing.count('class="empty"') == 4             # curves, health, results, views


def test_what_cannot_be_reported_is_refused(run, tmp_path):
    with pytest.raises(MissingFileError, match='gone'):
        write_report(tmp_path / 'gone', out=tmp_path / 'out')
    with pytest.raises(InputError, match='work_dirs'):
        write_report([], out=tmp_path / 'out')
    with pytest.raises(MissingFileError):
        write_report(run, tmp_path / 'no images', out=tmp_path / 'out')


def test_facts_of_an_earlier_run_in_the_folder_are_left_out(run, tmp_path):
    earlier = hashlib.sha256((run / 'epoch_1.pth').read_bytes()).hexdigest()
    assert earlier in write_report(run, out=tmp_path / 'out').read_text()
    newest = run / 'epoch_2.pth'
    (run / 'last_checkpoint').write_text(str(newest))
    newest.write_bytes(b'of a later run')
    assert earlier not in write_report(run, out=tmp_path / 'out').read_text()
    sha256 = hashlib.sha256(b'of a later run').hexdigest()
    Result('pretraining', dict(loss_nats=2.0), dict(train=40), 7, checkpoint='run/epoch_2.pth',
           checkpoint_sha256=sha256).write(run / 'result.json')
    assert sha256 in write_report(run, out=tmp_path / 'out').read_text()


def test_the_best_checkpoint_of_an_earlier_run_is_not_taken(tmp_path):
    def manifest(run_id):
        return json.dumps(dict(run_id=run_id, iteration=1, bytes=0, sha256='a' * 64, resumable=True))

    for name, run_id in (('best_loss_epoch_1.pth', 'a'), ('epoch_3.pth', 'b')):
        (tmp_path / name).write_bytes(b'')
        (tmp_path / f'{name}.json').write_text(manifest(run_id))
    (tmp_path / 'last_checkpoint').write_text('epoch_3.pth')
    assert _checkpoint_of([tmp_path]).name == 'epoch_3.pth'
    for text, taken in ((manifest('b'), 'best_loss_epoch_1.pth'), ('[]', 'epoch_3.pth'),
                        ('x', 'epoch_3.pth')):
        (tmp_path / 'best_loss_epoch_1.pth.json').write_text(text)
        assert _checkpoint_of([tmp_path]).name == taken


def test_views_are_of_the_config_that_was_dumped_last(tmp_path):
    for age, name in enumerate(('z_newest.py', 'a_older.py')):
        (tmp_path / name).write_text(f'raise ValueError({name!r})\n')
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    assert 'z_newest.py' in _views(tmp_path)['reason']
