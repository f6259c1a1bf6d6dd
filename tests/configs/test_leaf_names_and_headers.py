"""Each leaf of configs/simclr is what its name says, and its header tells how it is run."""

import ast
import math
import re

import pytest
import torch
from documented_commands import check_command
from leaves import CONFIGS, LEAVES, parse_name
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmsimclr.config import load_config
from mmsimclr.registry import MODELS, PARAM_SCHEDULERS

leaf = pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
DATASETS = {'in1k': 'ImageNet', 'cifar10': 'CIFAR10', 'shapes': 'Shapes', 'folder': 'UnlabeledImageFolder',
            'multiband': 'UnlabeledImageFolder'}
HEADER = ('Command', 'Hardware', 'Expected', 'Deviations')
REQUIRED = {
    'simclr_resnet50_8xb32-coslr-200e_in1k', 'simclr_resnet50_16xb256-coslr-200e_in1k',
    'simclr_resnet50_16xb256-coslr-800e_in1k',
}


def header(path) -> dict[str, str]:
    """Return the paragraphs of the docstring by their labels."""
    text = ast.get_docstring(ast.parse(path.read_text()))
    parts = re.split(rf'^({"|".join(HEADER)})(?: from the paper)?: ', text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (' '.join(part.split()) for part in parts[2::2]), strict=True))


def rates(config: Config, steps_per_epoch: int) -> list[float]:
    """Return the learning rate of every step, as MMEngine would set it."""
    init_default_scope('mmsimclr')
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], config.optim_wrapper.optimizer.lr)
    schedulers = []
    for scheduler in config.param_scheduler:
        scheduler = {'end': config.train_cfg.max_epochs, **scheduler}        # as MMEngine's Runner does
        convert = scheduler.pop('convert_to_iter_based', False)
        if convert:
            kind = scheduler.pop('type')
            kind = PARAM_SCHEDULERS.get(kind) if isinstance(kind, str) else kind
            schedulers.append(kind.build_iter_from_epoch(
                optimizer, **scheduler, epoch_length=steps_per_epoch))
        else:
            schedulers.append(PARAM_SCHEDULERS.build(scheduler, default_args=dict(optimizer=optimizer)))
    found = []
    for step in range(config.train_cfg.max_epochs * steps_per_epoch):
        found.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            if not scheduler.by_epoch or (step + 1) % steps_per_epoch == 0:
                scheduler.step()
    return found


def test_the_promised_leaves_are_there():
    stems = {path.stem for path in LEAVES}
    assert stems >= REQUIRED
    paper = [name for name in map(parse_name, stems)
             if name.dataset == 'in1k' and name.depth == 50 and name.global_batch == 4096]
    assert {1, 2, 4} <= {name.width for name in paper}
    assert {name.depth for name in map(parse_name, stems) if name.dataset == 'cifar10'} >= {18, 50}
    assert {'shapes', 'folder', 'multiband'} <= {parse_name(stem).dataset for stem in stems}


@pytest.mark.parametrize('stem', [
    'simclr_resnet50_8xb32_coslr-200e_in1k', 'simclr-resnet50_8xb32-coslr-200e_in1k',
    'simclr_resnet50_8xb32-coslr-200_in1k', 'simclr_resnet50_256-coslr-200e_in1k'])
def test_the_grammar_refuses_other_names(stem):
    with pytest.raises(ValueError, match='grammar'):
        parse_name(stem)


@leaf
def test_batch_epochs_and_dataset_are_the_name_s(path):
    name, config = parse_name(path.stem), load_config(path)
    assert config.train_dataloader.batch_size == name.batch_per_gpu
    assert config.train_cfg.max_epochs == name.epochs
    assert config.train_dataloader.dataset.type.__name__ == DATASETS[name.dataset]
    # The zoo's loaders keep the last, smaller batch.
    assert config.train_dataloader.drop_last == (path.stem not in REQUIRED)
    assert config.auto_scale_lr.base_batch_size == name.global_batch
    assert not config.auto_scale_lr.get('enable')
    variables = Config.fromfile(str(path))
    assert variables.global_batch == name.global_batch
    assert variables.epochs == name.epochs
    assert variables.batch_size == name.batch_per_gpu
    assert variables.lr == config.optim_wrapper.optimizer.lr


@leaf
def test_learning_rate_follows_from_the_global_batch(path):
    name, config = parse_name(path.stem), load_config(path)
    lr, batch = config.optim_wrapper.optimizer.lr, name.global_batch
    if '-w' in path.stem:                                    # the reduced settings, and their headers say so
        assert lr == 3.0 and 'found by trial' in ' '.join(path.read_text().split())
        return
    if config.auto_scale_lr.rule == 'sqrt':
        assert lr == pytest.approx(0.075 * math.sqrt(batch))
    else:
        base = 1.0 if name.dataset == 'cifar10' else 0.3
        assert lr == pytest.approx(base * batch / 256)
    assert 'global_batch' in path.read_text().split('\nlr = ')[1].splitlines()[0]


@leaf
def test_warm_up_and_cosine_end_with_the_run(path):
    config = load_config(path)
    steps = 4
    found = rates(config, steps)
    peak = config.optim_wrapper.optimizer.lr
    top = found.index(max(found))
    warmup_epochs = config.param_scheduler[0].warmup if '-w' in path.stem else 10
    assert max(found) == pytest.approx(peak)
    assert warmup_epochs * steps - 1 <= top <= warmup_epochs * steps
    assert found[0] < 0.02 * peak                            # a linear rise ...
    assert found[top // 2] == pytest.approx(peak * (top // 2) / top, abs=0.02 * peak)
    middle = (top + len(found)) // 2                         # ... then half a cosine down to zero
    assert found[middle] == pytest.approx(peak / 2, rel=0.2 if len(found) < 100 else 0.05)
    assert all(later <= earlier for earlier, later in zip(found[top:], found[top + 1:], strict=False))
    share_of_the_last_step = 0.5 * (1 - math.cos(math.pi * steps / (len(found) - top)))
    assert found[-1] <= 1.05 * share_of_the_last_step * peak


@leaf
def test_encoder_and_head_have_the_name_s_size(path):
    name, config = parse_name(path.stem), load_config(path)
    backbone = config.model.backbone
    assert backbone.depth == name.depth
    assert backbone.get('width_multiplier', 1) == name.width
    assert backbone.get('base_channels', 64) == name.base_channels
    with torch.device('meta'):
        model = MODELS.build(config.model)
    channels = (2048 if name.depth >= 50 else 512) * name.width * name.base_channels // 64
    assert model.backbone.feat_dim == config.model.neck.in_channels == channels
    assert model.neck.fc0.weight.shape == (channels, channels)
    last = getattr(model.neck, f'fc{model.neck.num_layers - 1}')
    assert last.weight.shape == (128, channels)
    millions = sum(p.numel() for p in model.backbone.parameters()) / 1e6
    # ResNet-50 1x, 2x, 4x have 24, 94 and 375 million parameters (Chen et al. 2020, Table 6 and others),
    # ResNet-101 and 152 of torchvision 44.5 and 60.2, of which 2.05 are the classifier's.
    expected = {(50, 1, 64): 23.5, (50, 2, 64): 94, (50, 4, 64): 375, (18, 1, 64): 11.2,
                (18, 1, 32): 2.8, (18, 1, 16): 0.7, (101, 1, 64): 42.5, (152, 1, 64): 58.1,
                }[name.depth, name.width, name.base_channels]
    assert millions == pytest.approx(expected, rel=0.02)


@leaf
def test_recipe_is_one_of_the_two_presets(path):
    name, config = parse_name(path.stem), load_config(path)
    openmmlab = 'lars_openmmlab' in path.read_text()
    assert openmmlab == (path.stem in REQUIRED)
    assert config.optim_wrapper.optimizer.get('trust_ratio', 'official') == (
        'openmmlab' if openmmlab else 'official')
    assert config.model.head.loss.get('gradient', 'exact') == ('openmmlab' if openmmlab else 'exact')
    assert ('mean' in config.model.data_preprocessor) == (openmmlab or name.dataset == 'multiband')
    views, = (step for step in config.train_dataloader.dataset.pipeline if 'transforms' in step)
    paper = name.epochs in (100, 1000)
    assert views.transforms[0].get('crop_style', 'torchvision') == ('official' if paper else 'torchvision')
    if paper:
        images = {'in1k': 1_281_167, 'cifar10': 50_000}[name.dataset]
        text = ' '.join(path.read_text().split())
        # Ours drop the last batch of an epoch; the official code counts images, and one step more.
        steps = images // name.global_batch * name.epochs, images * name.epochs // name.global_batch + 1
        assert all(f'{number:,}' in text for number in steps) or 'Deviations: as in' in text
    assert config.model.backbone.get('stem', 'imagenet') == (
        'cifar' if name.dataset in ('cifar10', 'shapes') else 'imagenet')
    if name.dataset == 'in1k':
        assert config.model.head.temperature == 0.1
        assert config.optim_wrapper.optimizer.weight_decay == 1e-6


@leaf
def test_header_says_command_hardware_expectation_and_deviations(path):
    said = header(path)
    assert tuple(said) == HEADER
    assert all(said.values())
    name = parse_name(path.stem)
    assert path.stem in said['Command']
    commands = [command.split() for command in re.split(r'&& |, or |, on each', said['Command'])
                if command.startswith(('make', 'mmsimclr', 'bash', 'tools/'))]
    assert commands
    for words in commands:
        check_command(words)
        if 'dist_train.sh' in words[0]:
            machines = int(re.search(r'NNODES=(\d+)', said['Command'] + ' NNODES=1')[1])
            assert machines * int(words[2]) == name.gpus
    assert f'{name.epochs} epochs' in ast.get_docstring(ast.parse(path.read_text())).splitlines()[0]


@leaf
def test_a_leaf_reads_at_most_one_base_of_a_kind_and_no_other_leaf(path):
    tree = ast.parse(path.read_text())
    modules = [node.module for block in ast.walk(tree) if isinstance(block, ast.With)
               for node in block.body if isinstance(node, ast.ImportFrom)]
    assert modules and all(re.fullmatch(r'_base_\.(\w+\.)*\w+', module) for module in modules)
    kinds = [module.split('.')[1] for module in modules]
    assert len(kinds) == len(set(kinds))
    levels = {node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level}
    assert levels == {2}                                     # from .._base_, never from beside


def test_every_base_is_used_and_has_an_importable_name():
    texts = [path.read_text() for path in CONFIGS.rglob('*.py')]
    for base in (CONFIGS / '_base_').rglob('*.py'):
        assert base.stem.isidentifier(), base
        assert ast.get_docstring(ast.parse(base.read_text())), base
        assert any(f'.{base.stem} import *' in text for text in texts), f'{base} is used by no config'
