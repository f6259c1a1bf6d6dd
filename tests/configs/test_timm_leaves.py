"""The leaves of encoders that are no ResNets: what their names say, and that they learn at tiny size."""

import ast
import re

import pytest
import torch
from documented_commands import check_command
from leaves import CONFIGS, LEAVES
from mmengine.config import Config

from mmsimclr.config import load_config
from mmsimclr.runner import build_runner
from mmsimclr.transforms import PackImage

OTHERS = sorted({*(CONFIGS / 'simclr').glob('*.py')} - {*LEAVES})
NAMES = {'convnext-atto': ('convnext_atto', 320, 3.37), 'vit-tiny': ('vit_tiny_patch16_224', 192, 5.36)}


@pytest.mark.parametrize('path', OTHERS, ids=lambda path: path.stem)
def test_a_leaf_is_what_its_name_says_and_trains_a_step(path, tmp_path):
    found = re.fullmatch(r'simclr_([a-z]+-[a-z]+)_1xb(\d+)-coslr-(\d+)e_cifar10', path.stem)
    name, channels, millions = NAMES[found[1]]
    variables, text = Config.fromfile(str(path)), ast.get_docstring(ast.parse(path.read_text()))
    assert variables.batch_size == variables.global_batch == int(found[2])
    assert variables.epochs == int(found[3]) and f'{found[3]} epochs' in text.splitlines()[0]
    for label in ('Command', 'Hardware', 'Expected', 'Deviations from the paper'):
        assert f'\n{label}: ' in text
    command = re.search(r'Command: (.*?)\nHardware', text, re.DOTALL)[1]
    for words in ' '.join(command.split()).split(' && '):
        check_command(words.split())

    shapes = dict(type='Shapes', num_images=8, image_size=32)
    config = load_config(path, {'batch_size': 4, 'workers': 0, 'epochs': 1, 'precision': 'fp32'}, tmp_path)
    config.train_dataloader.dataset = dict(**shapes, pipeline=config.train_dataloader.dataset.pipeline)
    config.param_scheduler[0].warmup = 0
    assert config.optim_wrapper.optimizer.lr == pytest.approx(
        {'convnext_atto': 2.5e-4, 'vit_tiny_patch16_224': 1.5e-4}[name] * 4 / 256)
    config.custom_hooks = [hook for hook in config.custom_hooks if 'held_out' not in hook]
    for hook in config.custom_hooks:
        if 'bank' in hook:
            hook.bank = hook.queries = dict(**shapes, pipeline=[dict(type=PackImage)])
    runner = build_runner(config)
    backbone = runner.model.backbone
    assert backbone.settings['name'] == name and runner.model.neck.fc0.weight.shape == (channels, channels)
    assert sum(weight.numel() for weight in backbone.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)
    before = {key: value.clone() for key, value in runner.model.state_dict().items()}
    runner.train()
    moved = {key for key, value in runner.model.state_dict().items() if not torch.equal(value, before[key])}
    frozen = {key for key, weight in runner.model.named_parameters() if not weight.requires_grad}
    assert frozen == ({'backbone.model.patch_embed.proj.weight', 'backbone.model.patch_embed.proj.bias'}
                      if 'vit' in name else set())
    assert moved >= {key for key, _ in runner.model.named_parameters() if key.endswith('.weight')} - frozen
    # Neither norms nor the position embedding decay.
    groups = runner.optim_wrapper.optimizer.param_groups
    decayed = {id(weight) for group in groups if group['weight_decay'] for weight in group['params']}
    assert all((id(weight) in decayed) == (weight.ndim > 1 and not key.endswith(('pos_embed', 'cls_token')))
               for key, weight in runner.model.named_parameters() if weight.requires_grad)
