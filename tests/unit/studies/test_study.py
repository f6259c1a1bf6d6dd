"""Studies as data: cells, their names, tuning, gates and more seeds."""

import re
from pathlib import Path
from shutil import copytree

import pytest
from PIL import Image

from mmsimclr.errors import UserError
from mmsimclr.studies import CellResult, Measure, load_study, values_at
from mmsimclr.studies.study import Cell, _data_sha256

ROOT = Path(__file__).parents[3]
STUDIES = sorted((ROOT / 'configs/studies').glob('*.py'))
METRIC = 'probe.top_1_accuracy_percent'
BASE = ROOT / 'configs/simclr/simclr_resnet18-w16_1xb128-coslr-5e_shapes.py'
TEXT = """
study = dict(
    base={base!r}, metric={metric!r}, seeds=1,
    options={{'train_dataloader.dataset.num_images': 20}},
    axes={{
        'temperature': {{
            'low': {{'model.head.temperature': 0.1}}, 'high': {{'model.head.temperature': 0.5}}}},
        'rate': {{
            'slow': {{'optim_wrapper.optimizer.lr': 1.0}}, 'fast': {{'optim_wrapper.optimizer.lr': 2.0}}}}}},
    {more})
"""


def study_of(tmp_path, more='', **arguments):
    path = tmp_path / 'mine.py'
    path.write_text(TEXT.format(base=str(BASE), metric=METRIC, more=more))
    return load_study(path, **arguments)


def done(cells, value):
    return {cell.name: CellResult(cell.name, cell.at, cell.seed, '', '', {}, {METRIC: value(cell)},
                                  tuning=cell.tuning) for cell in cells}


def test_cells_are_all_combinations_for_each_seed_and_seeds_come_last(tmp_path):
    study = study_of(tmp_path, more="presets=dict(two=dict(seeds=2))", preset='two')
    cells, note = study.plan({})
    assert [(cell.at, cell.seed) for cell in cells] == [
        ((low, rate), seed) for seed in (0, 1) for low in ('low', 'high') for rate in ('slow', 'fast')]
    assert not note and len({cell.name for cell in cells}) == 8
    assert cells[1].config.model.head.temperature == 0.1
    assert cells[1].config.optim_wrapper.optimizer.lr == 2.0 and cells[5].config.randomness.seed == 1


def test_each_seed_takes_the_next_of_the_values_by_seed(tmp_path):
    rates = "options={'by_seed': {'optim_wrapper.optimizer.lr': [1.0, 2.0]}}, seeds=3,"
    text = TEXT.replace("options={{'train_dataloader.dataset.num_images': 20}},", '').replace(', seeds=1', '')
    path = tmp_path / 'mine.py'
    path.write_text(text.format(base=str(BASE), metric=METRIC, more=rates).replace(
        "{'optim_wrapper.optimizer.lr': 1.0}", '{}').replace("{'optim_wrapper.optimizer.lr': 2.0}",
                                                             "{'optim_wrapper.clip_grad.max_norm': 1.0}"))
    cells = load_study(path).plan({})[0]
    assert {(cell.seed, cell.config.optim_wrapper.optimizer.lr) for cell in cells} == {
        (0, 1.0), (1, 2.0), (2, 1.0)}
    assert all('by_seed' not in cell.config for cell in cells)


def test_a_name_depends_on_config_data_and_seed_and_not_on_paths_workers_or_log(tmp_path):
    cells = study_of(tmp_path).plan({})[0]
    other = study_of(tmp_path, options={'train_dataloader.num_workers': 3, 'work_dir': '/elsewhere',
                                        'default_hooks.logger.interval': 7}).plan({})[0]
    assert [cell.name for cell in cells] == [cell.name for cell in other]
    for changed in ({'train_dataloader.dataset.num_images': 21}, {'train_cfg.max_epochs': 3}):
        assert cells[0].name not in {cell.name for cell in study_of(tmp_path, options=changed).plan({})[0]}


def test_an_option_that_the_study_varies_is_refused(tmp_path):
    with pytest.raises(UserError, match=r'model\.head\.temperature'):
        study_of(tmp_path, options={'model.head.temperature': 0.3})


def test_other_images_make_another_hash_of_the_data(tmp_path):
    names = []
    for folder, shade in (('a', 1), ('b', 2)):
        for number in range(2 + shade):
            path = tmp_path / folder / f'{number}.png'
            path.parent.mkdir(exist_ok=True)
            Image.new('RGB', (8 * shade, 8), (shade, number, 0)).save(path)
        dataset = dict(type='UnlabeledImageFolder', data_root=str(tmp_path / folder), pipeline=[])
        names.append(_data_sha256(dataset))
    assert names[0] != names[1] and None not in names
    assert _data_sha256(dict(type='UnlabeledImageFolder', data_root=str(tmp_path / 'no'))) is None


def test_tuning_comes_first_and_the_best_option_is_used(tmp_path):
    more = ("tune=dict(seeds=2, options={'train_cfg.max_epochs': 1}, grids={'low': {'width': {"
            "'8': {'model.neck.out_channels': 8}, '16': {'model.neck.out_channels': 16}}}})")
    study = study_of(tmp_path, more=more)
    cells, note = study.plan({})
    tuning = [cell for cell in cells if cell.tuning]
    assert len(tuning) == 2 * 2 * 2 and note and {cell.at[0] for cell in tuning} == {'low'}
    assert {cell.config.train_cfg.max_epochs for cell in tuning} == {1}
    assert {cell.at for cell in cells if not cell.tuning} == {('high', 'slow'), ('high', 'fast')}
    # The wider is better where the rate is slow, the narrower where it is fast.
    results = done(tuning, lambda cell: 50.0 + (cell.at[2] == '16') * (1 if cell.at[1] == 'slow' else -1))
    cells, note = study.plan(results)
    chosen = {cell.at: cell.config.model.neck.out_channels for cell in cells if not cell.tuning}
    assert chosen['low', 'slow'] == 16 and chosen['low', 'fast'] == 8 and not note


def test_a_gate_holds_back_the_rest_until_its_cells_differ(tmp_path):
    more = ("gate=dict(at=['low | slow', 'high | slow'], seeds=2, left='low | slow', "
            "right=['high | slow'], deviations=3)")
    study = study_of(tmp_path, more=more)
    cells, note = study.plan({})
    assert [cell.at for cell in cells] == [('low', 'slow'), ('high', 'slow')] * 2 and note
    closed = done(cells, lambda cell: 10.0 + 5 * (cell.at[0] == 'low') + 4 * cell.seed)
    assert study.plan(closed)[0] == cells and 'closed' in study.plan(closed)[1]
    assert len(study.plan(closed, past_gate=True)[0]) == 4
    opened = done(cells, lambda cell: 10.0 + 5 * (cell.at[0] == 'low') + cell.seed)
    assert [(cell.at, cell.seed) for cell in study.plan(opened)[0][4:]] == [
        (('low', 'fast'), 0), (('high', 'fast'), 0)]
    # A third seed, for another reason, cannot close it again; one whose cells failed stays closed.
    third = done([study._cell(cells[0].at, 2, study.grid[cells[0].at])], lambda cell: -50.0)
    assert len(study.plan({**opened, **third})[0]) == 6
    failed = {name: result if result.at[0] == 'low' else CellResult(name, result.at, result.seed, '', '', {},
              failure='x') for name, result in opened.items()}
    assert study.plan(failed)[0] == cells


def test_some_cells_get_more_seeds_named_or_best(tmp_path):
    study = study_of(tmp_path, more="more_seeds=[dict(at=['low | slow'], seeds=2), dict(best=1, seeds=3)]")
    cells, _ = study.plan({})
    assert [(cell.at, cell.seed) for cell in cells if cell.seed] == [(('low', 'slow'), 1)]
    results = done(cells, lambda cell: 1.0 + (cell.at == ('high', 'fast')))
    more = [(cell.at, cell.seed) for cell in study.plan(results)[0] if cell.seed]
    assert more == [(('low', 'slow'), 1), (('high', 'fast'), 1), (('high', 'fast'), 2)]


@pytest.mark.parametrize(('more', 'named'), [
    ("axis={}", "'axes'"), ("cells={'low': {}}", 'cells'), ("measure=[dict(name='x')]", 'config'),
    ("seeds=0", 'seeds')])
def test_a_wrong_study_is_refused(tmp_path, more, named):
    text = TEXT.replace(' seeds=1,', '') if 'seeds' in more else TEXT
    path = tmp_path / 'mine.py'
    path.write_text(text.format(base=str(BASE), metric=METRIC, more=more))
    with pytest.raises(UserError, match=named):
        load_study(path)


def test_levels_that_come_to_one_config_are_refused(tmp_path):
    study = study_of(tmp_path)
    study.axes['rate']['fast'] = study.axes['rate']['slow']
    with pytest.raises(UserError, match=r'low . slow, seed 0 and low . fast, seed 0'):
        study.plan({})


def test_a_preset_of_a_base_can_be_left_out(tmp_path):
    with pytest.raises(UserError, match='full'):
        study_of(tmp_path, more='presets=dict(full=None)', preset='full')


def test_a_measure_depends_on_its_images_and_not_on_where_they_lie(tmp_path):
    sums = {}
    for name in ('here', 'there', 'other'):
        for split in ('train', 'val'):
            for shade in range(2 + (name == 'other')):
                path = tmp_path / name / split / 'ab'[shade % 2] / f'{shade}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                if name == 'there':
                    continue
                Image.new('RGB', (8, 8), (shade, 0, 0)).save(path)
        if name == 'there':
            copytree(tmp_path / 'here', tmp_path / 'there', dirs_exist_ok=True)
        measure = Measure('knn', ROOT / 'configs/benchmarks/classification/knn_folder.py',
                          {'data_root': str(tmp_path / name)})
        sums[name] = measure.sha256
    assert sums['here'] == sums['there'] != sums['other']


def test_an_unknown_preset_is_refused(tmp_path):
    with pytest.raises(UserError, match='huge'):
        study_of(tmp_path, preset='huge')


@pytest.mark.parametrize('path', STUDIES, ids=lambda path: path.stem)
@pytest.mark.parametrize('preset', ['smoke', 'cpu', 'full'])
def test_each_study_of_the_paper_plans_in_each_preset(path, preset, monkeypatch):
    monkeypatch.setattr('mmsimclr.studies.study._data_sha256', lambda dataset: 'data')
    study = load_study(path, preset)
    cells, _ = study.plan({}, past_gate=True)
    assert cells and len({cell.name for cell in cells}) == len(cells)
    for claim in study.claims:                               # each selects cells that the study has
        right = claim.get('right', [])
        for side in [claim['left'], *(right if isinstance(right, list) else [right])] if right else []:
            metric = side.get('metric', study.metric).split(' or ')[0]
            results = [CellResult(str(at), at, 0, '', '', {}, {metric: 1.0}) for at in study.grid]
            assert preset != 'cpu' or values_at(results, side, study.metric), side


def test_the_study_of_the_documentation_plans(tmp_path, monkeypatch):
    monkeypatch.setattr('mmsimclr.studies.study._data_sha256', lambda dataset: 'data')
    text = (ROOT / 'docs/studies/README.md').read_text(encoding='utf-8')
    code, = re.findall(r'```python\n(.*?)```', text, flags=re.DOTALL)
    (tmp_path / 'my_study.py').write_text(code)
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    study = load_study(tmp_path / 'my_study.py', options={'data_root': str(tmp_path)})
    cells, _ = study.plan({})
    assert len(cells) == 8
    assert cells[0].config.train_dataloader.dataset.data_root == str(tmp_path)
    assert cells[0].measures[0].load(tmp_path).protocol.train.data_root == str(tmp_path)


def folder_of(path, shade=0):
    """Write two images of a shade; return the config of a dataset of them."""
    path.mkdir()
    for number in range(2):
        Image.new('RGB', (8, 8), (shade, number, 0)).save(path / f'{number}.png')
    return dict(type='UnlabeledImageFolder', data_root=str(path), pipeline=[])


def cell_of(base=BASE, **options):
    options = {'train_dataloader.dataset.num_images': 20, **options}
    return Cell(('a',), 0, base, options, ())


def test_images_of_a_test_and_of_a_hook_elsewhere_are_in_a_cells_name(tmp_path):
    one, other = (folder_of(tmp_path / name, shade) for shade, name in enumerate('ab'))
    supervised = ROOT / 'configs/supervised/supervised_resnet18-w16_1xb128-coslr-20e_cifar10.py'
    train = {'train_dataloader.dataset': dict(_delete_=True, type='Shapes', num_images=20, pipeline=[])}
    folders = [dict(each, _delete_=True) for each in (one, other, one)]
    cells = [cell_of(supervised, **train, **{'test_dataloader.dataset': each}) for each in folders]
    assert cells[0].name != cells[1].name and cells[0].name == cells[2].name
    assert cells[0].data_sha256 != cells[1].data_sha256 and cells[0].config_sha256 == cells[1].config_sha256
    place, = (place for place, hook in enumerate(cell_of().config.custom_hooks) if 'queries' in hook)
    names = [cell_of(**{f'custom_hooks.{place}.queries': each}).name for each in folders]
    assert names[0] != names[1] and names[0] == names[2]


@pytest.mark.parametrize('place', ['load_from', 'model.backbone.init_cfg'])
def test_weights_that_were_replaced_under_their_name_make_another_cell(place, tmp_path):
    weights, names = tmp_path / 'start.pth', []
    value = str(weights) if place == 'load_from' else dict(type='Pretrained', checkpoint=str(weights))
    for content in (b'a', b'b', b'a'):
        weights.write_bytes(content)
        names.append(cell_of(**{place: value}).name)
    assert names[0] != names[1] and names[0] == names[2]


def test_health_of_other_images_makes_another_cell_and_its_interval_does_not():
    place, = (place for place, hook in enumerate(cell_of().config.custom_hooks) if 'held_out' in hook)
    names = [cell_of(**{f'custom_hooks.{place}.{key}': value}).name for key, value in (
        ('interval', 2), ('interval', 3), ('num_images', 64), ('num_images', 128),
        ('held_out.num_images', 9))]
    assert names[0] == names[1] and len(set(names)) == 4


def test_queries_and_gallery_are_in_the_hash_of_a_measure(tmp_path):
    sums = {}
    for name, count in (('a', 2), ('b', 3)):
        for number in range(count):
            path = tmp_path / name / f'val/person{number % 2}/{number}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (8, 8), (number, 0, 0)).save(path)
        sums[name] = Measure('search', ROOT / 'configs/benchmarks/retrieval/retrieval_folder.py',
                             {'data_root': str(tmp_path / name)}).sha256
    assert sums['a'] != sums['b']
