"""One table of all results: rows, columns, several runs, published numbers, Markdown and HTML."""

import re
import shlex
import shutil
from html.parser import HTMLParser

import pytest

from mmsimclr.checkpoints.zoo_index import model_entries, other_settings
from mmsimclr.protocols import Result
from mmsimclr.reporting import published_values, result_text, summarize
from mmsimclr.reporting.table import metric_title

TOP_1 = 'top_1_accuracy_percent'


def write(folder, value: float, protocol='linear', dataset='ImageNet-1k', sha='a' * 64, checkpoint='x/a.pth',
          config='configs/one.py', **changes):
    return Result(protocol, {TOP_1: value}, {}, 0, dataset=dataset, checkpoint=checkpoint,
                  checkpoint_sha256=sha, config=config, **changes).write(folder / 'result.json')


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / '1', 60)
    write(tmp_path / '2', 64)
    write(tmp_path / '3', 50, sha='b' * 64, checkpoint='y/b.pth')
    write(tmp_path / 'deep' / '4', 20, sha=None, checkpoint=None)
    write(tmp_path / '5', 30.5, protocol='k-NN', dataset='Shapes | <b>')
    write(tmp_path / '6', 99, settings=dict(parts={'X': 'x'}))
    return tmp_path


def row_of(markdown: str, beginning: str) -> list[str]:
    line, = [line for line in markdown.splitlines() if line.startswith(f'| {beginning}')]
    return [cell.strip() for cell in line.strip('|').split(' | ')]


def test_rows_are_measurements_and_columns_encoders(folder):
    summary = summarize([folder])
    assert list(summary.encoders) == ['random initialisation', 'x/a.pth', 'y/b.pth']
    text = summary.markdown()
    cells = row_of(text, 'linear, ImageNet-1k (one)')
    assert cells[1:5] == ['top-1 accuracy', '20.00', '62.00 ± 2.83 (2)', '50.00']
    assert '62.7 simclr_resnet50_8xb32-coslr-200e_in1k (openmmlab)' in cells[5]
    assert '99.00' not in text


def test_encoders_of_one_file_and_runs_that_were_changed_are_not_averaged(tmp_path):
    write(tmp_path / '1', 60, settings=dict(encoder_address='a:'))
    write(tmp_path / '2', 40, settings=dict(encoder_address='b:'))
    change = dict(key='model.head.temperature', then=0.1, now=0.5)
    write(tmp_path / '3', 20, settings=dict(encoder_address='a:', changed_on_resume=[
        dict(step=4, changes=[change])]))
    summary = summarize([tmp_path])
    assert list(summary.encoders) == ['x/a.pth (aaaaaaaa a:)', 'x/a.pth (aaaaaaaa b:)']
    text = summary.markdown()
    assert row_of(text, 'linear, ImageNet-1k (one)')[2:4] == ['60.00', '40.00']
    assert row_of(text, 'linear, ImageNet-1k (one, resumed with other model.head.temperature)')[2] == '20.00'


def test_data_without_published_numbers_have_none_and_bars_are_escaped(folder):
    line, = [line for line in summarize([folder]).markdown().splitlines() if line.startswith('| k-NN')]
    assert 'Shapes \\| \\<b>' in line and line.count('30.50') == 1 and line.rstrip(' |').endswith('30.50')


def test_results_of_different_configs_have_rows_of_their_own(folder):
    write(folder / '7', 61, config='configs/other.py')
    text = summarize([folder]).markdown()
    assert '61.00' in row_of(text, 'linear, ImageNet-1k (other)')


@pytest.mark.parametrize('options, title', [
    ('protocol.k=[1, 5] protocol.temperature=1', 'one with protocol.k=[1, 5], protocol.temperature=1'),
    ('data_root=x', 'one with data_root=x'), ('dataset_name=ImageNet-1k data_root=x', 'one'),
    ('randomness.seed=3', 'one'), ('batch_size=8', 'one with batch_size=8'),
    ('encoder.depth=18 train_dataloader.num_workers=0', 'one')])
@pytest.mark.parametrize('before', [['--cfg-options'], []])
def test_other_options_are_another_measurement_and_seeds_are_further_runs(before, options, title, folder):
    words = re.split(' (?=[a-z])', options)
    write(folder / '7', 61, command=shlex.join(
        ['python', 'tools/benchmark.py', 'c.py', 'x', *before, *words, '--work-dir', 'y']))
    text = summarize([folder]).markdown()
    assert len([line for line in text.splitlines() if line.startswith('| linear')]) == 1 + (title != 'one')
    cells = row_of(text, f'linear, ImageNet-1k ({title})')
    assert ('61.67' in cells[3] and cells[3].endswith('(3)')) if title == 'one' else cells[3] == '61.00'


def test_a_command_whose_quotes_were_lost_is_no_obstacle(folder):
    write(folder / '7', 61, command="bash run.sh --cfg-options name=it's a.b=1")
    assert "(one with a.b=1, name=it's)" in summarize([folder]).markdown()


def test_copies_of_a_result_are_one_run(folder):
    shutil.copytree(folder / '1', folder / 'copy')
    assert '62.00 ± 2.83 (2)' in summarize([folder, folder / '1']).markdown()


def test_random_encoders_of_other_architectures_are_other_columns(folder):
    for name, depth, value in (('8', 18, 21), ('9', 18, 23), ('10', 50, 31)):
        write(folder / name, value, sha=None, checkpoint=None,
              settings=dict(init='random', encoder=dict(depth=depth, stem='cifar')))
    summary = summarize([folder])
    assert [title for title in summary.encoders if 'random' in title] == [
        f'random initialisation ({what})' for what in
        ('architecture not recorded', 'depth 18, stem cifar', 'depth 50, stem cifar')]
    cells = row_of(summary.markdown(), 'linear, ImageNet-1k (one)')
    assert cells[2:5] == ['20.00', '22.00 ± 1.41 (2)', '31.00']


def test_encoders_of_one_path_and_different_content_are_told_apart(folder):
    write(folder / '7', 61, sha='c' * 64)
    assert {'x/a.pth (aaaaaaaa)', 'x/a.pth (cccccccc)'} <= set(summarize([folder]).encoders)


class Page(HTMLParser):
    """Collects rows of cells; fails on what would need another file."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.open = [], []

    def handle_starttag(self, tag, attrs):
        assert tag not in ('script', 'link', 'img')
        if tag not in ('meta', 'br'):
            self.open.append(tag)
        if tag == 'tr':
            self.rows.append([])
        if tag in ('td', 'th'):
            self.rows[-1].append('*' if ('class', 'best') in attrs else '')

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ('td', 'th'):
            self.rows[-1][-1] += data


def test_the_page_holds_the_same_numbers_and_marks_the_best(folder):
    page = Page()
    page.feed(summarize([folder]).html())
    assert not page.open and {len(row) for row in page.rows} == {1, 6}
    line, = [row for row in page.rows if '20.00' in row]
    assert line[1:5] == ['top-1 accuracy', '20.00', '*62.00 ± 2.83 (2)', '50.00']
    assert ['k-NN, Shapes | <b> (one)'] in page.rows


def test_of_deviations_none_is_marked_best(folder):
    for name, sha, value, deviation in (('a', 'a' * 64, 60., 5.), ('b', 'b' * 64, 50., 9.)):
        Result('low-shot SVM', {'map_k1_percent': value, 'map_k1_std_percent': deviation}, {}, 0,
               dataset='VOC2007', checkpoint=f'x/{name}.pth', checkpoint_sha256=sha, config='c.py').write(
                   folder / f'low-shot-{name}' / 'result.json')
    page = Page()
    page.feed(summarize([folder]).html())
    cells = [cell for row in page.rows for cell in row]
    assert '*60.00' in cells and '5.00' in cells and '9.00' in cells


def test_folders_without_results_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='no folder'):
        summarize([tmp_path / 'nowhere'])
    with pytest.raises(FileNotFoundError, match=r'no result.json below'):
        summarize([tmp_path])
    (tmp_path / 'result.json').write_text('{}')
    with pytest.raises(ValueError, match='not a result'):
        summarize([tmp_path])


@pytest.mark.parametrize('name, title', [
    ('miou_percent', 'mIoU'), ('box_ap50_percent', 'box AP50'), ('ap_area_percent', 'AP area'),
    ('map_layer4_percent', 'mAP layer4'), ('top_5_accuracy_k20_percent', 'top-5 accuracy k20'),
    ('mean_class_accuracy_percent', 'mean class accuracy')])
def test_metrics_are_titled_as_they_are_usually_written(name, title):
    assert metric_title(name) == title


def test_in_markdown_the_title_of_a_group_stands_once(folder):
    lines = summarize([folder]).markdown().splitlines()
    titles = [line.split('|')[1].strip() for line in lines if line.startswith('|')][2:]
    named = [title for title in titles if title]
    assert titles[0] and len(named) == len(set(named))


SMALL, LARGE = 'simclr_resnet50_8xb32-coslr-200e_in1k', 'simclr_resnet50-4x_32xb128-coslr-1000e_in1k'


def values(*names) -> dict:
    return {value.model: value.value for value in published_values(*names)}


@pytest.mark.parametrize('names, model, value', [
    (('k-NN', 'ImageNet-1k', 'top_1_accuracy_k20_percent'), SMALL, 48.4),
    (('k-nn', 'ImageNet-1k', 'top_1_accuracy_k200_percent'), SMALL, 45.2),
    (('low-shot SVM', 'VOC2007', 'map_k16_percent'), SMALL, 67.38),
    (('SVM', 'VOC2007', 'map_percent'), SMALL, 79.98),
    (('linear on each feature', 'Places205', 'top_1_accuracy_feature_4_percent'), SMALL, 45.25),
    (('transfer linear', 'Food-101', 'top_1_accuracy_percent'), LARGE, 76.9),
    (('transfer linear', 'FGVC Aircraft', 'mean_class_accuracy_percent'), LARGE, 61.2),
    (('transfer fine-tuned', 'VOC2007', '11_point_map_percent'), LARGE, 86.6),
])
def test_numbers_are_found_under_the_names_of_results(names, model, value):
    assert values(*names)[model] == value


@pytest.mark.parametrize('names', [
    ('k-NN', 'Shapes', 'top_1_accuracy_k20_percent'), ('k-NN', None, 'top_1_accuracy_k20_percent'),
    ('k-NN', 'ImageNet-1k', 'top_1_accuracy_k2_percent'), ('SVM', 'VOC2007', '11_point_map_percent'),
    ('transfer linear', 'FGVC Aircraft', 'top_1_accuracy_percent'),
    ('linear', 'Food-101', 'top_1_accuracy_percent'),
])
def test_other_data_protocols_or_metrics_have_no_numbers(names):
    assert values(*names) == {}


def test_every_transfer_number_of_the_index_is_reached_by_a_config(root):
    from mmsimclr.config import load_config
    tasks = load_config(root / 'configs/benchmarks/classification/transfer-linear.py').protocol.tasks
    reached = sum(len(published_values(protocol, task.name, task.metric)) for task in tasks
                  for protocol in ('transfer linear', 'transfer fine-tuned', 'transfer random init'))
    entries = (*model_entries(), *other_settings())
    assert reached == sum(result.protocol.startswith('transfer') for entry in entries
                          for result in entry.results) == 4 * 12 + 6 * 12


def test_other_methods_and_supervised_numbers_stand_beside_a_result():
    def found(protocol, dataset):
        others = published_values(protocol, dataset, 'top_1_accuracy_percent')
        return {(other.model, other.value) for other in others}

    assert {('simclr_resnet50_32xb128-coslr-1000e_in1k', 69.3), ('MoCo, ResNet-50', 60.6)} <= found(
        'linear', 'ImageNet-1k')
    assert ('supervised, ResNet-50', 74.6) in found('transfer fine-tuned', 'DTD')


def test_a_result_is_told_with_the_published_numbers_of_each_of_its_datasets():
    metrics = {f'{name}_top_1_accuracy_percent': value
               for name, value in (('cifar_10', 90.123), ('dtd', 70.), ('x', 1.))}
    result = Result('transfer linear', metrics, {}, 0, settings=dict(parts={
        'CIFAR-10': 'cifar_10/result.json', 'DTD': 'dtd/result.json', 'X': 'x/result.json'}))
    lines = result_text(result).splitlines()
    assert lines[0].split() == ['cifar_10_top_1_accuracy_percent', '90.12']
    assert any(line.startswith('    published: 95.3 simclr_resnet50-4x') for line in lines[1:3])
    dtd = next(number for number, line in enumerate(lines) if line.startswith('dtd'))
    assert '74.5' in lines[dtd + 1] and lines[-1].split() == ['x_top_1_accuracy_percent', '1.00']


def test_measurements_of_other_images_settings_or_ranks_have_rows_of_their_own(tmp_path):
    def known(config='c', ranks=1, **images):
        parts = {'train': 's' * 64, 'train, drawn': 'd' * 64, 'test': 'a' * 64, **images}
        return dict(images_sha256=parts, config_sha256=config * 64, ranks=ranks)

    one, again = known(), known(**{'train, drawn': 'of another seed'})
    others = [known(test='b' * 64), known(train='of other labels'), known(config='d'), known(ranks=2), {}]
    for number, settings in enumerate([one, again, *others]):
        write(tmp_path / str(number), 50 + number, settings=settings)
    lines = [line for line in summarize([tmp_path]).markdown().splitlines() if line.startswith('| linear')]
    assert len(lines) == 6 and sum('50.50 ± 0.71 (2)' in line for line in lines) == 1
    assert all(sum(f'{value}.00' in line for line in lines) == 1 for value in (52, 53, 54, 55, 56))
