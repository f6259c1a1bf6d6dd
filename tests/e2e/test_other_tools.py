"""The quick start, the sheet of views, and the doctor."""

import hashlib
import json
import re
from pathlib import Path

import cv2
from processes import run_tool


def test_quickstart_ends_with_a_table_two_results_and_three_pictures(tmp_path, quickstart_config, tiny):
    work_dir = tmp_path / 'run'
    status, log = run_tool(tmp_path / 'log', 'quickstart.py', quickstart_config, '--work-dir', work_dir,
                           '--seed', 3, *tiny(2, custom_hooks__2__bank__num_images=60,
                                                custom_hooks__2__queries__num_images=40))
    assert status == 0, log
    results = {name: json.loads((work_dir / f'{name}.json').read_text()) for name in ('random', 'pretrained')}
    for result in results.values():
        assert result['seed'] == 3
        assert result['num_images'] == dict(bank=60, queries=40)
        assert Path(result['config']).resolve() == quickstart_config.resolve()
    assert results['random']['checkpoint'] is None
    assert results['pretrained']['checkpoint'] == str(work_dir / 'epoch_2.pth')
    content = (work_dir / 'epoch_2.pth').read_bytes()
    assert results['pretrained']['checkpoint_sha256'] == hashlib.sha256(content).hexdigest()
    for name in ('knn_accuracy_percent', 'linear_accuracy_percent'):
        before, after = (results[which]['metrics'][name] for which in ('random', 'pretrained'))
        assert 0 <= before <= 100 and 0 <= after <= 100
        for line, value in (('random initialisation', before), ('SimCLR pre-trained', after)):
            row = re.search(rf'^{line} .*$', log, re.MULTILINE)
            assert row and f'{value:.1f} %' in row[0]
    for name in ('curves.png', 'views.png', 'neighbours.png'):
        picture = cv2.imread(str(work_dir / name))
        assert picture is not None and min(picture.shape[:2]) > 150 and picture.std() > 5, name
    assert re.search(r'^epoch 1/2  step 1/5  ETA .* images/s', log, re.MULTILINE)
    assert 'Traceback' not in log and 'WARNING' not in log


def test_browse_views_draws_a_row_for_each_image(tmp_path, quickstart_config):
    sizes = []
    for rows in (2, 4):
        out = tmp_path / f'{rows}.png'
        status, log = run_tool(tmp_path / 'log', 'browse_views.py', quickstart_config, '--out', out,
                               '--num-images', rows, '--num-draws', 2, '--cfg-options',
                               'train_dataloader.dataset.num_images=20')
        assert status == 0, log
        assert f'{rows} of 20 images and their views: {out}' in log
        sizes.append(cv2.imread(str(out)).shape)
    assert sizes[1][0] > 1.5 * sizes[0][0] and abs(sizes[1][1] - sizes[0][1]) < 10


def test_doctor_names_every_part_and_version(tmp_path):
    status, log = run_tool(tmp_path / 'log', '-m mmsimclr.doctor')
    assert status == 0, log
    for part in ('pre-training', 'classification protocols'):
        assert re.search(rf'^  {part} +usable: ', log, re.MULTILINE), log
    for part in ('detection', 'segmentation', 'GPU'):
        line = re.search(rf'^  {part} +(usable: .+|NOT usable: .+\n +mend: .+)$', log, re.MULTILINE)
        assert line, log
    for name in ('python', 'torch', 'onedl-mmengine', 'mmsimclr'):
        assert re.search(rf'^  {name} +\d+\.\d+', log, re.MULTILINE), log
