"""The encoder as a detector's or a segmenter's backbone."""

import pytest
import torch
from torch import nn

from mmsimclr.models import DownstreamResNet, ResNet, Stage4Head

ENCODERS = [dict(depth=18, base_channels=4), dict(depth=50, base_channels=4),
            dict(depth=18, base_channels=4, stem='cifar')]


def randomised(network: nn.Module) -> nn.Module:
    """Give the norms statistics and weights that are not 0 and 1."""
    generator = torch.Generator().manual_seed(0)
    for key, value in network.state_dict().items():
        if 'bn' in key or 'downsample.1' in key:
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return network.eval()


def backbone_of(encoder: ResNet, **arguments) -> DownstreamResNet:
    backbone = DownstreamResNet(**encoder.settings, **arguments).eval()
    backbone.load_state_dict({key: value for key, value in encoder.state_dict().items()
                              if key in backbone.state_dict()})
    return backbone


@torch.no_grad()
@pytest.mark.parametrize('settings', ENCODERS, ids=str)
def test_its_maps_are_the_encoder_s(settings):
    encoder = randomised(ResNet(**settings, out_indices=(0, 1, 2, 3)))
    images = torch.randn(2, 3, 96, 128)
    for want, got in zip(encoder(images), backbone_of(encoder)(images), strict=True):
        torch.testing.assert_close(got, want)


@torch.no_grad()
@pytest.mark.parametrize('settings', ENCODERS, ids=str)
@pytest.mark.parametrize('output_stride', [4, 8, 16])
def test_dilated_it_has_the_strided_encoder_s_features_where_that_has_any(settings, output_stride):
    encoder = randomised(ResNet(**settings, out_indices=(0, 1, 2, 3))).double()
    images = torch.randn(1, 3, 64, 96).double()
    backbone = backbone_of(encoder, output_stride=output_stride).double()
    backbone.load_state_dict(encoder.state_dict())
    natural = backbone_of(encoder).strides
    assert max(backbone.strides) == min(output_stride, natural[-1])
    for want, got, coarse, fine in zip(encoder(images), backbone(images), natural, backbone.strides,
                                       strict=True):
        assert got.shape[-2:] == (64 // fine, 96 // fine)
        step = coarse // fine
        torch.testing.assert_close(got[..., ::step, ::step], want)


@torch.no_grad()
@pytest.mark.parametrize('settings', ENCODERS, ids=str)
def test_three_stages_and_the_shared_head_are_the_whole_encoder(settings):
    encoder = randomised(ResNet(**settings))
    backbone = backbone_of(encoder, num_stages=3, out_indices=(2,))
    head = Stage4Head(**encoder.settings).eval()
    head.layer4.load_state_dict(encoder.layer4.state_dict())
    assert not any(key.startswith('layer4') for key in backbone.state_dict())
    assert set(head.state_dict()) - {f'layer4.{key}' for key in encoder.layer4.state_dict()} == {
        f'norm.{key}' for key in head.norm.state_dict()}
    head.norm.weight.fill_(2.0)
    stage_3, = backbone(torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(1)))
    want, = encoder(torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(1)))
    assert stage_3.shape[1] == backbone.channels[2] and want.shape[1] == backbone.channels[3]
    torch.testing.assert_close(head(stage_3), 2 * want / (1 + head.norm.eps) ** 0.5)


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(num_stages=3), 'num_stages must be 1 to 4 and more than every out_indices'),
    (dict(num_stages=5), 'num_stages'), (dict(output_stride=2), 'output_stride must be 4 to 64'),
])
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        DownstreamResNet(depth=18, base_channels=4, **arguments)


@pytest.mark.slow
@torch.no_grad()
def test_it_is_the_backbone_of_mmdet_and_dilated_that_of_mmseg():
    mmdet = pytest.importorskip('mmdet.models', reason='needs mmdet (tools/install.sh full)')
    mmseg = pytest.importorskip('mmseg.models', reason='needs mmseg (tools/install.sh full)')
    encoder = randomised(ResNet(depth=50, base_channels=4)).double()
    theirs = {None: mmdet.ResNet(50, base_channels=4, stem_channels=4),
              8: mmseg.ResNet(50, base_channels=4, stem_channels=4, strides=(1, 2, 1, 1),
                              dilations=(1, 1, 2, 4), contract_dilation=True)}
    images = torch.randn(1, 3, 97, 130).double()
    for output_stride, peer in theirs.items():
        peer.double().load_state_dict(encoder.state_dict())
        peer.eval()
        ours = backbone_of(encoder, output_stride=output_stride).double()
        ours.load_state_dict(encoder.state_dict())
        for want, got in zip(peer(images), ours(images), strict=True):
            torch.testing.assert_close(got, want)
