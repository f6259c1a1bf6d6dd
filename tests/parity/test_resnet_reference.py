"""ResNet against torchvision, mmpretrain and the official code."""

import hashlib
import json

import numpy as np
import pytest
import torch
import torchvision
from official_names import images, made_kernel, resnet_keys, to_torch

from mmsimclr.models import ResNet

ENDPOINTS = ('initial_conv', 'initial_max_pool', 'block_group1', 'block_group2', 'block_group3',
             'block_group4', 'final_avg_pool')
CASES = ('r18_w1_imagenet96', 'r18_w1_cifar32', 'r50_w1_imagenet64', 'r50_w1_cifar32',
         'r50_w2_imagenet64')


def randomise(model: torch.nn.Module) -> None:
    """Give every norm its own affine part and statistics, so that no two layers are alike."""
    generator = torch.Generator().manual_seed(7)
    for key, value in model.state_dict().items():
        if 'running_var' in key or (value.ndim == 1 and key.endswith('weight')):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        elif value.ndim == 1:
            value.copy_(0.2 * torch.randn(value.shape, generator=generator))


@pytest.mark.slow
@pytest.mark.parametrize('depth', [18, 34, 50, 101])
def test_keys_and_maps_equal_torchvisions(depth):
    theirs = getattr(torchvision.models, f'resnet{depth}')()
    randomise(theirs)
    weights = {k: v for k, v in theirs.state_dict().items() if not k.startswith('fc.')}
    ours = ResNet(depth, out_indices=('stem', 0, 1, 2, 3))
    assert list(ours.state_dict()) == list(weights)
    ours.load_state_dict(weights)
    ours.warns_of_small_images = False

    expected = {}
    for name in ('relu', 'layer1', 'layer2', 'layer3', 'layer4'):
        theirs.get_submodule(name).register_forward_hook(
            lambda _, __, output, name=name: expected.__setitem__(name, output.clone()))
    x = torch.randn(2, 3, 49, 64, generator=torch.Generator().manual_seed(0))
    for mode in (False, True):
        with torch.no_grad():
            theirs.train(mode)(x)
            maps = ours.train(mode)(x)
        for (name, want), got in zip(expected.items(), maps, strict=True):
            assert torch.equal(got, want), f'{name}, training={mode}'
    for key, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[key]), key


@pytest.mark.parametrize('depth', [18, 50])
def test_keys_and_maps_equal_mmpretrains(depth):
    backbones = pytest.importorskip(
        'mmpretrain.models.backbones', reason='mmpretrain (with mmcv) cannot be imported',
        exc_type=Exception)
    theirs = backbones.ResNet(depth=depth, out_indices=(0, 1, 2, 3))
    theirs.eval()  # returns None
    randomise(theirs)
    ours = ResNet(depth, out_indices=(0, 1, 2, 3)).eval()
    assert set(ours.state_dict()) == set(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for got, want in zip(ours(x), theirs(x), strict=True):
            assert torch.equal(got, want)


def build(case: dict, bn: dict[str, np.ndarray]) -> ResNet:
    """Return our ResNet with the weights of the reference run."""
    keys = resnet_keys([variable['name'] for variable in case['variables']])
    weights, digest = {}, hashlib.sha256()
    for variable in case['variables']:
        name = variable['name']
        if name.endswith('kernel:0'):
            kernel = made_kernel(variable['index'], tuple(variable['shape']))
            digest.update(kernel.astype('<f4').tobytes())
            weights[keys[name]] = to_torch(kernel)
        else:
            weights[keys[name]] = to_torch(bn[name])
    assert digest.hexdigest() == case['kernels_sha256_in_order'], 'the kernels were not made alike'
    net = ResNet(case['depth'], case['width'], stem=case['stem'], stem_pool='same',
                 project_first_shortcut=True, out_indices=(0, 1, 2, 3))
    net.warns_of_small_images = False
    missing, unexpected = net.load_state_dict(weights, strict=False)
    assert not unexpected and all(key.endswith('num_batches_tracked') for key in missing)
    return net


def run(net: ResNet, x: torch.Tensor) -> tuple[dict[str, torch.Tensor], dict[str, int]]:
    """Return the official endpoints, and how many values each norm averaged over."""
    endpoints, counts = {}, {}
    hooks = [net.conv1.register_forward_hook(
                 lambda _, __, out: endpoints.__setitem__('initial_conv', out.clone())),
             net.maxpool.register_forward_hook(
                 lambda _, __, out: endpoints.__setitem__('initial_max_pool', out.clone()))]
    for name, module in net.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            hooks.append(module.register_forward_hook(
                lambda _, __, out, name=name: counts.__setitem__(name, out[:, 0].numel())))
    with torch.no_grad():
        maps = net(x)
    for hook in hooks:
        hook.remove()
    endpoints |= {f'block_group{i + 1}': m for i, m in enumerate(maps)}
    endpoints['final_avg_pool'] = maps[-1].mean(dim=(2, 3))
    return endpoints, counts


def check_statistics(net: ResNet, counts: dict[str, int], before: dict[str, torch.Tensor],
                     after: dict[str, np.ndarray]) -> None:
    """Compare the moving statistics after one training step.

    torch keeps the unbiased variance, the official code the biased one: n-1 over n of it.
    """
    keys = resnet_keys(list(after))
    for name, value in after.items():
        key = keys[name]
        got = net.state_dict()[key]
        if key.endswith('running_var'):
            n = counts[key.removesuffix('.running_var')]
            got = 0.9 * before[key] + (got - 0.9 * before[key]) * (n - 1) / n
        torch.testing.assert_close(got, to_torch(value), rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize('tag', CASES)
def test_endpoints_equal_the_official_ones(tag, golden_file):
    stored = np.load(golden_file(f'resnet/{tag}.npz'))
    case = json.loads(golden_file('resnet/resnet.json').read_text())[tag]
    net = build(case, {key[len('bn/'):]: stored[key] for key in stored if key.startswith('bn/')})
    before = {key: value.clone() for key, value in net.state_dict().items()}
    for mode, tolerance in (('eval', 1e-5), ('train', 1e-3)):
        endpoints, counts = run(net.train(mode == 'train'), images(stored['input']))
        wanted = [name for name in ENDPOINTS if f'{mode}/{name}' in stored]
        assert 'final_avg_pool' in wanted
        for name in wanted:
            want = stored[f'{mode}/{name}']
            want = images(want) if want.ndim == 4 else torch.from_numpy(want)
            error = (endpoints[name] - want).abs().max() / want.abs().max()
            assert error < tolerance, f'{mode}/{name}: {error:.2e} of its maximum'
    check_statistics(net, counts, before, {
        key[len('train_after/'):]: stored[key] for key in stored if key.startswith('train_after/')})


@pytest.mark.parametrize('tag', CASES[:2])
def test_means_and_corners_equal_the_official_ones(tag, reference_file):
    """Check the same on the copy in the repository, which keeps a part of each map."""
    stored = np.load(reference_file(f'resnet_{tag}.npz'))
    case = json.loads(str(stored['case']))
    net = build(case, {key[len('bn/'):]: stored[key] for key in stored if key.startswith('bn/')})
    for mode, tolerance in (('eval', 1e-5), ('train', 1e-3)):
        endpoints, _ = run(net.train(mode == 'train'), images(stored['input']))
        wanted = [name for name in ENDPOINTS if f'{mode}/{name}/absmax' in stored]
        assert 'final_avg_pool' in wanted
        for name in wanted:
            parts = {'value': endpoints[name]}
            if endpoints[name].ndim == 4:
                parts = {'mean': endpoints[name].mean(dim=(2, 3)),
                         'corner': endpoints[name][:, :8, -3:, :4].permute(0, 2, 3, 1)}
            for part, got in parts.items():
                want = torch.from_numpy(stored[f'{mode}/{name}/{part}'])
                error = (got - want).abs().max() / float(stored[f'{mode}/{name}/absmax'])
                assert error < tolerance, f'{mode}/{name}/{part}: {error:.2e} of the maximum'
