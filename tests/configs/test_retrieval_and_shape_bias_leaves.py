"""The leaves of retrieval and shape bias say what their sources do, and run."""

import ast
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import ROOT

from mmsimclr.config import load_config
from mmsimclr.evaluation.shape_bias import category_classes
from mmsimclr.protocols import Retrieval, ShapeBias, run_benchmark
from mmsimclr.registry import PROTOCOLS

FOLDER = ROOT / 'configs/benchmarks'
LEAVES = {path.stem: path for kind in ('retrieval', 'robustness')
          for path in sorted((FOLDER / kind).glob('*.py'))}
ENCODER = {'encoder.depth': 18, 'encoder.base_channels': 4}


def test_the_promised_leaves_are_there():
    assert set(LEAVES) == {
        'retrieval_market1501', 'retrieval-multi-query_market1501', 'retrieval_sysu30k', 'retrieval_csv',
        'retrieval_folder', 'retrieval_shapes', 'shape-bias_cue-conflict', 'shape-bias-knn_cue-conflict',
        'shape-bias-logistic_cue-conflict'}


@pytest.mark.parametrize('name', LEAVES)
def test_leaf_builds_the_protocol_of_its_name_and_gives_its_command(name):
    protocol = PROTOCOLS.build(load_config(LEAVES[name]).protocol)
    assert type(protocol) is (Retrieval if name.startswith('retrieval') else ShapeBias)
    header = ' '.join(ast.get_docstring(ast.parse(LEAVES[name].read_text())).split())
    assert f'Command: mmsimclr benchmark {name} CHECKPOINT' in header


def test_the_rules_of_person_re_identification_are_the_sources():
    single, several, sysu = (PROTOCOLS.build(load_config(LEAVES[name]).protocol) for name in (
        'retrieval_market1501', 'retrieval-multi-query_market1501', 'retrieval_sysu30k'))
    for protocol in (single, several, sysu):
        assert protocol.preparation == dict(crop_px=[256, 128]) and protocol.flip
        assert protocol.exclude == 'camera' and protocol.ranks == [1, 5, 10]
    assert single.junk == ['-1'] and [*single.datasets] == ['query', 'gallery']
    assert several.datasets['multi_query']['source'] == 'gt_bbox'
    assert (single.normalise, sysu.normalise) == ('after', 'first')
    assert load_config(LEAVES['retrieval_sysu30k']).dataset_name == 'SYSU-30k'


def noise(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(256, size=(40, 20, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def data(tmp_path) -> dict[str, Path]:
    """Return small data of every layout, by leaf."""
    for seed, person in enumerate(('0001', '0002', '0003')):
        for part, camera in dict(query=1, bounding_box_test=2, gallery=2, gt_bbox=1).items():
            noise(tmp_path / 'reid' / part / f'{person}_c{camera}s1_000000_00.png', seed)
        for number in range(2):
            noise(tmp_path / 'folder' / 'val' / person / f'{number}.png', seed)
    for part, camera in (('query', 1), ('gallery', 2)):
        lines = [f'val/{person}/{camera - 1}.png,{person},{camera}' for person in ('0001', '0002', '0003')]
        (tmp_path / 'folder' / f'{part}.csv').write_text('\n'.join(['image,identity,camera', *lines]))
    reid = dict.fromkeys(('retrieval_market1501', 'retrieval-multi-query_market1501', 'retrieval_sysu30k',
                          'retrieval_shapes'), tmp_path / 'reid')
    return reid | dict.fromkeys(('retrieval_csv', 'retrieval_folder'), tmp_path / 'folder')


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in LEAVES if name.startswith('retrieval')])
def test_leaf_finds_equal_images_first(name, data, tmp_path):
    config = load_config(LEAVES[name], {**ENCODER, 'data_root': str(data[name])}, str(tmp_path / 'run'))
    result = run_benchmark(config, None, device='cpu')
    assert result.metrics['rank_1_accuracy_percent'] == result.metrics['map_plain_percent'] == 100
    assert result.dataset == config.dataset_name and (tmp_path / 'run' / 'result.json').is_file()


@pytest.mark.slow
@pytest.mark.parametrize('name', ['shape-bias-knn_cue-conflict', 'shape-bias-logistic_cue-conflict'])
def test_leaf_decides_by_images_of_the_categories(name, tmp_path):
    for seed, category in enumerate(category_classes()):
        noise(tmp_path / 'train' / category / 'x.png', seed)
    noise(tmp_path / 'stimuli' / 'cat1-dog1.png', 7)
    config = load_config(LEAVES[name], {
        **ENCODER, 'data_root': str(tmp_path / 'stimuli'), 'train_root': str(tmp_path / 'train'),
        **({'protocol.k': 1} if 'knn' in name else {'protocol.l2': 1e-9})}, str(tmp_path / 'run'))
    result = run_benchmark(config, None, device='cpu')
    assert result.metrics['shape_bias_percent'] == 100 and result.dataset == 'cue conflict'
