"""An encoder pre-trained as in the quick start, through every protocol's Shapes config, to one table."""

import json

import pytest
from processes import ROOT, run_tool

LEAVES = sorted((ROOT / 'configs/benchmarks/classification').glob('*_shapes.py'))
FEW = ['train_dataloader.dataset.num_images=40', 'test_dataloader.dataset.num_images=20',
       'train_dataloader.batch_size=20', 'train_cfg.max_epochs=1']
BALANCED = ['train_dataloader.dataset.dataset.num_images=1000', *FEW[1:], 'train_dataloader.batch_size=10']
TRANSFER = ['protocol.tasks.0.train.num_images=60', 'protocol.tasks.0.test.num_images=20']
GRID = [*TRANSFER, 'protocol.lr=[0.01]', 'protocol.weight_decay=[0.0]', 'train_cfg.max_iters=2',
        'train_dataloader.batch_size=16']
# What makes each small enough for a test; nothing else is changed.
SMALL = {
    'knn': ['protocol.train.num_images=40', 'protocol.test.num_images=20'],
    'svm': ['protocol.train.num_images=60', 'protocol.test.num_images=20', 'protocol.costs=[1.0]'],
    'low-shot-svm': ['protocol.train.num_images=60', 'protocol.test.num_images=20', 'protocol.costs=[1.0]',
                     'protocol.k=[1,2]', 'protocol.num_samples=2'],
    'health': ['protocol.images.num_images=40', 'protocol.num_view_images=10'],
    'representation': ['protocol.images.num_images=120', 'protocol.num_mapped=100'],
    'linear': FEW,
    'linear-per-layer': FEW,
    'semi-1pct': BALANCED,
    'semi-10pct': ['train_dataloader.dataset.dataset.num_images=200', *FEW[1:]],
    'transform-prediction': ['protocol.train.num_images=60', 'protocol.test.num_images=20',
                             'protocol.epochs=2'],
    'logistic': [*TRANSFER, 'protocol.l2=[0.1]'],
    'transfer-linear': [*TRANSFER, 'protocol.l2=[0.001,0.1]'],
    'transfer-finetune': GRID,
    'transfer-random-init': GRID,
}


@pytest.fixture(scope='module')
def runs(tmp_path_factory, quickstart_config, tiny):
    """Pre-train; return the work directory that evaluations are to lie beside."""
    folder = tmp_path_factory.mktemp('work_dirs')
    status, log = run_tool(folder / 'log', 'train.py', quickstart_config, '--work-dir', folder / 'pretrained',
                           *tiny(1))
    assert status == 0, log
    return folder


def test_every_protocol_has_a_leaf_here():
    assert {leaf.stem.split('_')[0] for leaf in LEAVES} == SMALL.keys()


@pytest.mark.parametrize('leaf', LEAVES, ids=lambda leaf: leaf.stem)
def test_a_protocol_measures_the_encoder(leaf, runs):
    name = leaf.stem.split('_')[0]
    encoder = ['--init', 'random'] if name == 'transfer-random-init' else [runs / 'pretrained']
    status, log = run_tool(runs / f'{leaf.stem}.log', 'benchmark.py', leaf, *encoder, '--work-dir',
                           runs / leaf.stem, '--cfg-options', *SMALL[name], timeout_s=200)
    assert status == 0, log
    result = json.loads((runs / leaf.stem / 'result.json').read_text())
    assert result['dataset'] == 'Shapes' and result['metrics']
    assert all(0 <= value <= 100 for metric, value in result['metrics'].items() if 'percent' in metric)
    if name == 'transfer-random-init':
        assert result['checkpoint'] is None and result['settings']['init'] == 'random'
    else:
        assert result['tensors_loaded'][0] == result['tensors_loaded'][1] == 120
        assert result['settings']['input'] == dict(mean=[0.] * 3, std=[255.] * 3, stated=True)


def test_one_table_has_them_all(runs):
    done = [path.parent.name for path in runs.glob('*_shapes/result.json')]
    if not done:
        pytest.skip('no protocol was run before this test')
    status, log = run_tool(runs / 'summarize.log', 'summarize.py', runs, '--out', runs / 'summary.md')
    assert status == 0, log
    page = (runs / 'summary.md').read_text()
    for result in (json.loads((runs / name / 'result.json').read_text()) for name in done):
        # The table is of percentages.
        assert (result['protocol'] in page) == any(name.endswith('_percent') for name in result['metrics'])
    status, log = run_tool(runs / 'summarize_html.log', 'summarize.py', runs, '--out', runs / 'summary.html')
    assert status == 0 and '<table' in (runs / 'summary.html').read_text()
