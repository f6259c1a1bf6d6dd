"""The model index agrees with the configs, and its results are the published numbers: all, and no others."""

import json
import re
from collections import Counter
from pathlib import Path

import modelindex
import pytest
import torch
import yaml
from leaves import LEAVES, parse_name
from torch import nn

from mmsimclr.checkpoints.zoo_index import model_entries, other_settings, sources
from mmsimclr.config import load_config
from mmsimclr.registry import MODELS
from mmsimclr.studies.record import paper_tables

ROOT = Path(__file__).parents[2]
PUBLISHED = json.loads((ROOT / 'tests' / 'data' / 'published.json').read_text())
ENTRIES = {entry.name: entry for entry in model_entries()}
PAPER = {f'resnet50_{width}x': f'simclr_resnet50{"" if width == 1 else f"-{width}x"}_32xb128-coslr-1000e_in1k'
         for width in (1, 2, 4)}
# Chen et al. 2020, appendix B.8.1: what is reported for these is not top-1 accuracy.
TRANSFER_METRICS = {'VOC2007': '11-point mAP', **dict.fromkeys(
    ('Aircraft', 'Pets', 'Caltech-101', 'Flowers'), 'Mean Class Accuracy')}
FEATURES = [f'Top 1 Accuracy of Feature {number}' for number in range(1, 6)]
each = pytest.mark.parametrize('entry', ENTRIES.values(), ids=lambda entry: entry.name)


def of_openmmlab(name):
    """Yield dataset, protocol, metric and value of each number about a model of the OpenMMLab zoo."""
    said = dict(PUBLISHED['openmmlab'][name])
    said.pop('weights_sha256_prefix')
    yield 'ImageNet-1k', 'linear', 'Top 1 Accuracy', said.pop('linear_in1k_top1')
    for key, dataset in (('linear_in1k_top1_by_feature', 'ImageNet-1k'),
                         ('linear_places205_top1_by_feature', 'Places205')):
        for metric, value in zip(FEATURES, said.pop(key, ()), strict=False):
            yield dataset, 'linear on each feature', metric, value
    for k, value in said.pop('knn_in1k_top1', {}).items():
        yield 'ImageNet-1k', 'k-NN', f'Top 1 Accuracy at k={k}', value
    for k, value in said.pop('svm_voc07_low_shot_map', {}).items():
        yield 'VOC2007', 'low-shot SVM', f'mAP at k={k}', value
    for key, value in said.pop('coco_mask_rcnn_fpn_1x', {}).items():
        yield 'COCO', 'Mask R-CNN FPN 1x', key.replace('_ap', ' AP').capitalize().replace('ap', 'AP'), value
    for key, place in {'svm_voc07_map': ('VOC2007', 'SVM', 'mAP'),
                       'svm_voc07_best_layer': ('VOC2007', 'SVM', 'Best Feature'),
                       'voc0712_faster_rcnn_c4_ap50': ('VOC2007+2012', 'Faster R-CNN C4', 'AP50'),
                       'voc12aug_fcn_miou': ('VOC2012 augmented', 'FCN', 'mIoU')}.items():
        if key in said:
            yield *place, said.pop(key)
    assert not said, f'{name}: not in the metafile: {said}'


def of_the_paper(encoder):
    """Yield source, dataset, protocol, metric and value of each number about one of the paper's encoders."""
    paper = PUBLISHED['paper']
    top_1, top_5 = paper['linear_in1k'][encoder]
    yield 'paper', 'ImageNet-1k', 'linear', 'Top 1 Accuracy', top_1
    yield 'paper', 'ImageNet-1k', 'linear', 'Top 5 Accuracy', top_5
    for rank in (1, 5):
        for labels, value in paper[f'semi_supervised_top{rank}'][encoder].items():
            yield 'paper', 'ImageNet-1k', f'semi-supervised {labels}', f'Top {rank} Accuracy', value
    for kind, protocol in (('linear', 'transfer linear'), ('finetune', 'transfer fine-tuned')):
        values = paper.get(f'transfer_{kind}_{encoder}', ())
        for dataset, value in zip(paper['transfer_order'], values, strict=bool(values)):
            yield 'paper', dataset, protocol, TRANSFER_METRICS.get(dataset, 'Top 1 Accuracy'), value
    yield 'google', 'ImageNet-1k', 'linear', 'Top 1 Accuracy', PUBLISHED['google'][encoder]
    yield 'pwc', 'cue conflict', 'shape bias', 'Shape Bias', PUBLISHED['pwc']['shape_bias'][encoder]


def of_models():
    """Yield model, source, dataset, protocol, metric and value of each number about a config."""
    for name in ENTRIES:
        if name in PUBLISHED['openmmlab']:
            yield from ((name, 'openmmlab', *rest) for rest in of_openmmlab(name))
    for encoder, name in PAPER.items():
        yield from ((name, *rest) for rest in of_the_paper(encoder))
    cifar10 = 'CIFAR-10', 'linear', 'Top 1 Accuracy'
    yield ('simclr_resnet50_1xb512-coslr-1000e_cifar10', 'paper', *cifar10,
           PUBLISHED['paper']['cifar10_linear_top1'])
    yield ('simclr_resnet18_1xb512-coslr-1000e_cifar10', 'google', *cifar10,
           PUBLISHED['google']['cifar10_resnet18'])


def of_other_settings():
    """Yield source, dataset, protocol, metric and value of each number for which there is no config."""
    paper, linear = PUBLISHED['paper'], ('ImageNet-1k', 'linear')
    for key, value in paper['colour_strength_top1'].items():
        strength = key.replace('+blur', ' and Blur')
        words = f'with {key}' if key == 'AutoAugment' else f'at Strength {strength}'
        yield 'paper', *linear, f'Top 1 Accuracy {words}', value
    losses = {'margin': 'Margin Loss', 'nt_logistic': 'NT-Logistic',
              'margin_semi_hard': 'Semi-hard Margin Loss', 'nt_logistic_semi_hard': 'Semi-hard NT-Logistic',
              'nt_xent': 'NT-Xent'}
    for key, value in paper['loss_top1'].items():
        yield 'paper', *linear, f'Top 1 Accuracy with {losses[key]}', value
    for key, value in paper['temperature_top1'].items():
        words = f'Not Normalised at {key[8:]}' if key.startswith('no_norm_') else f'at Temperature {key}'
        yield 'paper', *linear, f'Top 1 Accuracy {words}', value
    for key, value in PUBLISHED['vissl'].items():
        epochs = key.removeprefix('resnet50_').removesuffix('e')
        yield 'vissl', *linear, f'Top 1 Accuracy at {epochs} Epochs', value
    yield 'pwc', 'Places205', 'linear', 'Top 1 Accuracy', PUBLISHED['pwc']['places205_top1']
    yield 'pwc', 'SYSU-30k', 'retrieval', 'Rank 1 Accuracy', PUBLISHED['pwc']['sysu30k_rank1']
    solo = PUBLISHED['solo-learn']
    for key, dataset, protocol in (
            ('cifar10_resnet18_1000e_linear', 'CIFAR-10', 'linear'),
            ('cifar100_resnet18_1000e_linear', 'CIFAR-100', 'linear'),
            ('imagenet100_resnet18_400e_online_linear', 'ImageNet-100', 'online linear')):
        yield 'solo-learn', dataset, protocol, 'Top 1 Accuracy', solo[key]
    for key, value in PUBLISHED['lightly'].items():
        metric = 'Top 1 Accuracy' if key.endswith('_knn') else 'Training Minutes on an A6000'
        yield 'lightly', 'CIFAR-10', 'k-NN', metric, value


def of_baselines():
    """Yield setting, dataset, protocol, metric and value of what the paper prints beside SimCLR's numbers."""
    tables = paper_tables()
    for method, encoder, _, top_1, top_5 in tables['table_6_linear_imagenet']['rows']:
        yield f'{method}, {encoder}', 'ImageNet-1k', 'linear', 'Top 1 Accuracy', top_1
        yield f'{method}, {encoder}', 'ImageNet-1k', 'linear', 'Top 5 Accuracy', top_5
    for key, metric in (('table_7_semi_supervised_top5', 'Top 5 Accuracy'),
                        ('table_13_semi_supervised_top1', 'Top 1 Accuracy')):
        for method, encoder, *values in tables[key]['rows']:
            method = method.replace('En. M.', 'Ent. Min.').replace('Supervised', 'supervised')
            for share, value in zip(('1%', '10%'), values, strict=True):
                yield f'{method}, {encoder}', 'ImageNet-1k', f'semi-supervised {share}', metric, value
    for key, encoder in (('table_10_transfer_resnet50_1x', 'ResNet-50'),
                         ('table_8_transfer_resnet50_4x', 'ResNet-50 (4x)')):
        for row, name, kind in (('linear: supervised', 'supervised', 'linear'),
                                ('fine-tuned: supervised', 'supervised', 'fine-tuned'),
                                ('random init', 'random initialisation', 'random init')):
            for dataset, value in zip(tables[key]['columns'], tables[key][row], strict=True):
                metric = TRANSFER_METRICS.get(dataset, 'Top 1 Accuracy')
                yield f'{name}, {encoder}', dataset, f'transfer {kind}', metric, value
    for encoder, value in tables['section_B6_supervised_imagenet_top1'].items():
        yield f'supervised, {encoder}', 'ImageNet-1k', 'supervised', 'Top 1 Accuracy', value
    cifar10 = tables['section_B7_cifar10']
    yield 'supervised, ResNet-50', 'CIFAR-10', 'supervised', 'Top 1 Accuracy', cifar10['supervised ResNet-50']
    yield 'AMDIM', 'CIFAR-10', 'linear', 'Top 1 Accuracy', cifar10['AMDIM']


def numbers(node):
    """Return every number in nested dicts and lists."""
    if isinstance(node, dict | list):
        return [number for child in (node.values() if isinstance(node, dict) else node)
                for number in numbers(child)]
    return [node] if isinstance(node, int | float) else []


def listed(results):
    """Return what results of the metafile say, as the generators above do."""
    return [(result.source, result.dataset, result.protocol, metric, value)
            for result in results for metric, value in result.metrics.items()]


def test_results_of_the_models_are_the_published_ones_each_under_its_name():
    found = Counter((entry.name, *line) for entry in ENTRIES.values() for line in listed(entry.results))
    assert found == Counter(of_models())


def test_results_of_other_settings_are_the_published_ones_each_under_its_name():
    baselines = {line for line in of_baselines() if line[-1] is not None
                 and not line[0].startswith('SimCLR')}
    found = {(other.setting, *line[1:]): line for other in other_settings() for line in listed(other.results)}
    assert baselines <= found.keys()
    others = Counter(line for key, line in found.items() if key not in baselines)
    assert others == Counter(of_other_settings())


def test_no_published_number_is_left_out():
    expected = [line[-1] for line in (*of_models(), *of_other_settings())]
    assert Counter(expected) == Counter(numbers(PUBLISHED))


def test_results_of_two_lightly_runs_are_not_mixed_up():
    runs = {other.setting.split(', ')[1].split()[0]: list(other.results[0].metrics.values())
            for other in other_settings() if 'lightly' in other.setting}
    assert runs == {epochs: [PUBLISHED['lightly'][f'cifar10_resnet18_b512_{epochs}e_{what}']
                             for what in ('knn', 'minutes_a6000')] for epochs in ('200', '800')}


def test_sources_are_named_and_nearest_configs_exist():
    assert sources() == PUBLISHED['source']
    used = {result.source for one in (*ENTRIES.values(), *other_settings()) for result in one.results}
    assert used == set(sources())
    assert {other.nearest_config for other in other_settings()} <= set(ENTRIES)


def test_every_leaf_has_an_entry_and_every_entry_a_leaf():
    assert sorted(ENTRIES) == sorted(path.stem for path in LEAVES)
    assert len(ENTRIES) == len(model_entries())


@each
def test_entry_agrees_with_its_config(entry):
    assert entry.config.stem == entry.name and entry.config in LEAVES
    config, name = load_config(entry.config), parse_name(entry.name)
    assert entry.epochs == config.train_cfg.max_epochs == name.epochs
    assert entry.batch_size == config.train_dataloader.batch_size * name.gpus
    assert entry.batch_size == config.auto_scale_lr.base_batch_size
    assert entry.training_data == {'in1k': 'ImageNet-1k', 'cifar10': 'CIFAR-10', 'shapes': 'Shapes',
                                   'folder': "the user's own images",
                                   'multiband': "the user's own images"}[name.dataset]


@each
def test_parameters_and_flops_are_the_model_s(entry):
    config = load_config(entry.config)
    with torch.device('meta'):
        model = MODELS.build(config.model).eval()
    assert entry.parameters == sum(parameter.numel() for parameter in model.parameters())
    views, = (step for step in config.train_dataloader.dataset.pipeline if 'transforms' in step)
    side = views['transforms'][0]['size']
    counted = []

    def count(module, inputs, output):
        if isinstance(module, nn.Conv2d):
            counted.append(output.numel() * module.weight[0].numel())
        elif isinstance(module, nn.BatchNorm2d):
            counted.append(2 * output.numel())

    for module in model.backbone.modules():
        module.register_forward_hook(count)
    model.backbone(torch.empty(1, 3, side, side, device='meta'))
    assert entry.flops == sum(counted)
    if '_resnet50_' in entry.name and side == 224:          # as mmpretrain's metafile says of this model
        assert (entry.flops, entry.parameters) == (4109364224, 27968832)


@each
def test_weights_are_where_they_were_published_and_nowhere_else(entry):
    published = PUBLISHED['openmmlab']
    if entry.name not in published:
        assert entry.urls == () and entry.file_name is entry.sha256 is None
        return
    prefix = published[entry.name]['weights_sha256_prefix']
    assert entry.urls[0] == published['weights_url_template'].format(name=entry.name, sha256_prefix=prefix)
    assert re.fullmatch(f'{prefix}([0-9a-f]{{56}})?', entry.sha256)
    assert all(url.startswith('https://') for url in entry.urls)
    assert entry.urls[0].endswith('/' + entry.file_name)
    assert len(entry.urls) == 2 and entry.urls[1].split('/', 3)[3] == entry.urls[0].split('/', 3)[3]


def test_openmmlab_s_own_reader_finds_the_same():
    index = modelindex.load(str(ROOT / 'model-index.yml'))
    models = {model.name: model for model in index.models}
    assert list(models) == list(ENTRIES)
    for name, entry in ENTRIES.items():
        assert (ROOT / models[name].config) == entry.config
        assert models[name].metadata.data['Epochs'] == entry.epochs
        assert len(models[name].results or ()) == len(entry.results)
        assert models[name].weights == (entry.urls[0] if entry.urls else None)
    # It takes paths as relative to the metafile, OpenMMLab as relative to the repository.
    errors = [error for error in index.check(silent=True) if 'README' not in error]
    assert errors == []
    metafile = yaml.safe_load((ROOT / 'configs' / 'simclr' / 'metafile.yml').read_text())
    assert (ROOT / metafile['Collections'][0]['README']).is_file()
