"""A classifier on an encoder: frozen or not, with one head or five."""

import numpy as np
import pytest
import torch
from mmpretrain.evaluation import Accuracy

from mmsimclr.models import POOLED_FEATURES, Classifier, LinearHead

BACKBONE = dict(type='mmsimclr.ResNet', depth=18, base_channels=4, stem='cifar', zero_init_residual=False)
SHAPES = dict(stem=(4, 16, 16), layer1=(4, 16, 16), layer2=(8, 8, 8), layer3=(16, 4, 4), layer4=(32, 2, 2),
              pooled=(32, 2, 2))


def head(feature: str, **settings) -> dict:
    return dict(type='mmsimclr.LinearHead', feature=feature, map_shape=SHAPES[feature], num_classes=7,
                **settings)


def classifier(features=('pooled',), frozen=True, norm=False, **settings) -> Classifier:
    torch.manual_seed(3)
    model = Classifier({**BACKBONE, 'out_indices': ('stem', 0, 1, 2, 3)},
                       {feature: head(feature, norm=norm, **settings) for feature in features}, frozen)
    for module in model.backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
    return model


def batch(seed: int = 0) -> tuple[torch.Tensor, dict]:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(6, 3, 16, 16, generator=generator),
            dict(gt_label=torch.tensor([0, 6, 2, 2, 5, 1])))


def test_a_frozen_encoder_takes_no_gradient_and_keeps_its_statistics():
    model = classifier().train()
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    images, samples = batch()
    images.requires_grad_()
    losses = model(images, samples, mode='loss')
    losses['loss_pooled'].backward()
    assert images.grad is None, 'there is no graph through the encoder'
    assert all(parameter.grad is None for parameter in model.backbone.parameters())
    assert model.heads.training and not any(m.training for m in model.backbone.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.backbone.state_dict().items())


def test_an_encoder_that_is_not_frozen_is_trained():
    model = classifier(frozen=False).train()
    mean = model.backbone.bn1.running_mean.clone()
    model(*batch(), mode='loss')['loss_pooled'].backward()
    assert model.backbone.conv1.weight.grad.abs().sum() > 0
    assert not torch.equal(mean, model.backbone.bn1.running_mean)


def test_loss_and_accuracy_equal_a_loop():
    model = classifier().eval()
    images, samples = batch()
    logits = model(images)['pooled'].double()
    maps = model.backbone(images)[-1]
    want, hits = 0.0, 0
    for row, feature, label in zip(logits, maps, samples['gt_label'].tolist(), strict=True):
        by_hand = model.heads.pooled.fc.weight @ feature.mean(dim=(1, 2)) + model.heads.pooled.fc.bias
        assert torch.allclose(row.float(), by_hand, atol=1e-5)
        numbers = row.detach().numpy()
        want -= numbers[label] - np.log(np.exp(numbers).sum())
        hits += int(numbers.argmax()) == label
    losses = model(images, samples, mode='loss')
    assert losses['loss_pooled'].item() == pytest.approx(want / 6, rel=1e-5)
    assert losses['accuracy_pooled'].item() == pytest.approx(100 * hits / 6)


def test_gradients_of_five_heads_equal_five_separate_runs():
    together = classifier(POOLED_FEATURES, norm=True, init_std=0.1).train()
    images, samples = batch()
    total, _ = together.parse_losses(together(images, samples, mode='loss'))
    total.backward()
    for feature in POOLED_FEATURES:
        alone = classifier([feature], norm=True).train()
        alone.backbone.load_state_dict(together.backbone.state_dict())
        alone.heads[feature].load_state_dict(classifier(POOLED_FEATURES, norm=True, init_std=0.1)
                                             .heads[feature].state_dict())
        alone(images, samples, mode='loss')[f'loss_{feature}'].backward()
        for one, other in zip(alone.heads[feature].parameters(), together.heads[feature].parameters(),
                              strict=True):
            assert one.grad.abs().sum() > 0 and torch.allclose(one.grad, other.grad, atol=1e-7), feature


def test_predictions_are_what_mmpretrains_metrics_take():
    model = classifier().eval()
    images, samples = batch()
    metric = Accuracy(topk=(1, 5))
    metric.process(None, [element.to_dict() for element in model(images, samples, mode='predict')])
    found = metric.evaluate(6)
    top = model(images)['pooled'].topk(5).indices
    hits = (top == samples['gt_label'][:, None])
    assert found['accuracy/top1'] == pytest.approx(100 * hits[:, 0].float().mean().item())
    assert found['accuracy/top5'] == pytest.approx(100 * hits.any(dim=1).float().mean().item())


def test_what_cannot_be_built_is_refused():
    with pytest.raises(ValueError, match=r"needs the map of 'stem'.*put 'stem' in its out_indices"):
        Classifier(BACKBONE, dict(stem=head('stem')))
    with pytest.raises(ValueError, match='at least one head'):
        Classifier(BACKBONE, {})
    with pytest.raises(ValueError, match=r"one of stem.*got 'neck'"):
        LinearHead((4, 2, 2), 3, feature='neck')
    with pytest.raises(ValueError, match='init_std >= 0'):
        LinearHead((4, 2, 2), 3, init_std=-1.0)
    with pytest.raises(ValueError, match='mode must be one of'):
        classifier()(batch()[0], mode='train')


def test_a_head_normalises_each_channel_over_images_and_cells():
    torch.manual_seed(0)
    unit = LinearHead((3, 8, 8), 2, feature='layer2', norm=True).train()
    assert list(unit.norm.parameters()) == []
    unit.fc = torch.nn.Identity()
    rows = unit(torch.rand(5, 3, 8, 8) * torch.tensor([1., 5., 9.]).view(3, 1, 1) + 4).view(5, 3, 16)
    assert torch.allclose(rows.mean(dim=(0, 2)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(rows.var(dim=(0, 2), unbiased=False), torch.ones(3), atol=1e-2)


def test_a_head_gets_its_map_in_whatever_order_the_maps_are_named():
    features = dict(stem=head('stem'), pooled=head('pooled'))
    made = []
    for out_indices in (('stem', 3), (3, 'stem')):
        torch.manual_seed(3)
        model = Classifier({**BACKBONE, 'out_indices': out_indices}, features).eval()
        made.append(model(batch()[0]))
    assert all(torch.equal(made[0][name], made[1][name]) for name in features)


def test_weights_start_as_asked():
    assert classifier(init_std=0.0).heads.pooled.is_blank
    drawn = LinearHead((512, 1, 1), 400, init_std=0.01)
    assert drawn.fc.weight.std().item() == pytest.approx(0.01, rel=0.02) and not drawn.is_blank
    assert not drawn.fc.bias.any()
