import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from tiny_run import PACK_IMAGE
from torch.testing import assert_close

from mmsimclr.datasets import Shapes
from mmsimclr.features import extract_features
from mmsimclr.models import ContrastiveHead, NonLinearNeck, ResNet, SimCLR


class UnlabelledForExtractorTest(BaseDataset):
    def load_data_list(self) -> list[dict]:
        return [dict(img=np.full((16, 16, 3), i, np.uint8)) for i in range(3)]


@pytest.fixture(scope='module')
def model() -> SimCLR:
    torch.manual_seed(0)
    return SimCLR(dict(type=ResNet, depth=18, base_channels=4, stem='cifar'),
                  dict(type=NonLinearNeck, in_channels=32, hid_channels=16, out_channels=8),
                  dict(type=ContrastiveHead))


def shapes(num_images: int = 11) -> Shapes:
    return Shapes(num_images=num_images, image_size=16, pipeline=PACK_IMAGE)


@pytest.mark.parametrize('batch_size, num_workers', [(1, 0), (4, 0), (256, 0), (4, 1)])
def test_features_are_pooled_maps_in_the_order_of_the_dataset(model, batch_size, num_workers):
    dataset = shapes()
    features, labels = extract_features(model, dataset, batch_size, num_workers)
    images = torch.stack([dataset[i]['inputs'] for i in range(11)]) / 255.0
    with torch.no_grad():
        want = model.eval().backbone(images)[-1].mean(dim=(2, 3))
    assert_close(features, want)
    assert labels.tolist() == dataset.get_gt_labels().tolist()


def test_batch_norm_is_not_touched_and_the_mode_is_restored(model):
    model.train()
    before = model.backbone.bn1.running_mean.clone()
    random_state = torch.get_rng_state()
    features, _ = extract_features(model, shapes())
    assert torch.equal(model.backbone.bn1.running_mean, before)
    assert model.training and model.neck.training and not features.requires_grad
    assert torch.equal(torch.get_rng_state(), random_state)


def test_progress_counts_images(model):
    seen = []
    extract_features(model, shapes(), batch_size=4, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(4, 11), (8, 11), (11, 11)]


def test_images_without_labels_have_none(model):
    features, labels = extract_features(model, UnlabelledForExtractorTest(pipeline=PACK_IMAGE))
    assert features.shape == (3, 32) and labels is None


def test_a_feature_that_is_not_finite_is_refused_by_the_number_of_its_image(model, monkeypatch):
    plain = SimCLR.predict

    def damaged(self, images):
        elements = plain(self, images)
        if len(elements) == 3:                                  # the last batch: images 8, 9 and 10
            elements[1].feature[5] = float('nan')
        return elements
    monkeypatch.setattr(SimCLR, 'predict', damaged)
    with pytest.raises(ValueError, match='feature of image 9 is not finite'):
        extract_features(model, shapes(), batch_size=4)


def test_an_empty_dataset_is_refused(model):
    with pytest.raises(ValueError, match='Shapes is empty'):
        extract_features(model, shapes().get_subset([]))
