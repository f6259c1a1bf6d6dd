"""The page of results says what the files say, and the committed page is the one they make."""

from pathlib import Path

import pytest

from mmsimclr.checkpoints import EncoderWeights
from mmsimclr.protocols import Result
from mmsimclr.reporting import results_page
from mmsimclr.reporting.results_page import model_card

ROOT = Path(__file__).parents[3]
HEADER = '"""What it is.\n\nCommand: c\nHardware: one\nmachine.\nExpected: 12.3 % (Table 4).\n"""\n'


@pytest.fixture
def folders(tmp_path):
    results, configs = tmp_path / 'results', tmp_path / 'configs'
    results.mkdir()
    configs.mkdir()
    for name in ('ran', 'idle'):
        (configs / f'{name}.py').write_text(HEADER)
    return results, configs


def result(**changes) -> Result:
    values = dict(protocol='p', metrics={'knn_accuracy_percent': 61.237, 'pretraining_s': 90.0},
                  num_images={'train': 1200}, seed=3, settings={'k': 20}, config='configs/ran.py',
                  command='do --seed 3', versions={'torch': '2.11.0'},
                  hardware={'cpu': 'a CPU', 'cores': 2, 'gpus': []}, checkpoint='a.pth')
    return Result(**{**values, **changes})


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_values_and_circumstances_come_from_the_file(folders):
    result().write(folders[0] / 'one.json')
    page = results_page(*folders)
    assert ['k-NN accuracy', '61.24'] in map(cells, page.splitlines())
    assert ('* [one.json](../../results/one.json), seed 3: pre-trained, `a.pth`, pre-trained in 1.5 min, '
            '1,200 train, 2 cores of a CPU\n  `do --seed 3`') in page


def test_the_overview_has_the_means_of_the_first_metric_and_the_gain_over_random_initialisation(folders):
    for seed, value in enumerate((60.0, 64.0)):
        run = result(seed=seed, metrics={'map_percent': value, 'ap_percent': 1.0})
        run.write(folders[0] / f'{seed}.json')
    result(checkpoint=None, metrics={'map_percent': 40.5}).write(folders[0] / 'random.json')
    rows = list(map(cells, results_page(*folders).splitlines()))
    assert ['ran', '', 'mAP', '62.00', '40.50', '+21.50', '2'] in rows
    assert ['mAP', '60.00 / 64.00', '40.50'] in rows and ['AP', '1.00 / 1.00', ''] in rows


def test_a_run_without_percentages_has_its_other_metrics_and_no_line_in_the_overview(folders):
    result(metrics={'loss_nats': 2.5, 'pretraining_s': 60.0}).write(folders[0] / 'one.json')
    page = results_page(*folders)
    assert ['loss nats', '2.50'] in map(cells, page.splitlines())
    assert not any(cells(line)[0] == 'ran' for line in page.splitlines() if line.startswith('|'))


def test_other_data_are_another_measurement(folders):
    result(dataset='Flowers').write(folders[0] / 'one.json')
    result(dataset='Birds').write(folders[0] / 'two.json')
    page = results_page(*folders)
    assert page.index('## ran on Birds') < page.index('two.json') < page.index('## ran on Flowers')


def test_a_run_on_a_gpu_names_it(folders):
    result(hardware={'cpu': 'a CPU', 'cores': 2, 'gpus': ['a GPU']}).write(folders[0] / 'gpu.json')
    page = results_page(*folders)
    assert ', a GPU\n' in page and 'a CPU' not in page


def test_a_config_without_a_result_is_listed_as_not_run(folders):
    result().write(folders[0] / 'one.json')
    not_run = results_page(*folders).split('## Not run here')[1]
    assert '`idle`: one machine. Expected: 12.3 % (Table 4).' in not_run and '`ran`' not in not_run


def test_the_committed_page_is_made_of_the_committed_files():
    assert (ROOT / 'docs' / 'reference' / 'results.md').read_text(encoding='utf-8') == results_page(
        ROOT / 'results', ROOT / 'configs' / 'simclr'), 'run python tools/make_results_page.py'


def test_how_an_encoder_was_trained_is_said_where_a_result_says_it(tmp_path):
    encoder = EncoderWeights({}, dict(depth=18, width_multiplier=1, stem='cifar'), sha256='a' * 64)
    Result('k-NN', dict(top_1_accuracy_percent=50.0), {}, 0, checkpoint='a.pth',
           checkpoint_sha256='a' * 64).write(tmp_path / 'knn' / 'result.json')
    assert 'SimCLR\n' not in model_card(encoder, 'hf://me/mine', [tmp_path])
    Result('pretraining', dict(loss_nats=2.0), dict(train=40), 0, checkpoint='a.pth',
           checkpoint_sha256='a' * 64).write(tmp_path / 'result.json')
    assert 'without labels by SimCLR' in model_card(encoder, 'hf://me/mine', [tmp_path])
