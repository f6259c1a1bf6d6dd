"""Embedder and extract_features: torchvision and plain loops as oracles."""

import numpy as np
import pytest
import torch
from extraction_samples import small
from mmengine.dataset import BaseDataset
from PIL import Image
from tiny_run import PACK_IMAGE
from torch import nn
from torch.nn.functional import normalize
from torch.testing import assert_close
from torchvision.models import resnet18
from torchvision.transforms import v2

from mmsimclr.checkpoints import UNIT_RANGE, InputScale, LayoutError
from mmsimclr.datasets import Shapes
from mmsimclr.features import Embedder, Preparation, extract_features
from mmsimclr.models import ContrastiveHead, NonLinearNeck, ResNet, SimCLR
from mmsimclr.transforms import ImageReadError

STAGES = ('stem', 'layer1', 'layer2', 'layer3', 'layer4')


class PlainMaps(nn.Module):
    """Returns its input, which shows what an encoder is given, and one more map."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return x.mean(dim=(2, 3), keepdim=True), x * self.scale


@pytest.fixture(scope='module')
def torchvision_model() -> nn.Module:
    torch.manual_seed(1)
    model = resnet18()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return model.eval()


@pytest.fixture(scope='module')
def checkpoint(torchvision_model, tmp_path_factory):
    path = tmp_path_factory.mktemp('torchvision') / 'resnet18.pth'
    torch.save(torchvision_model.state_dict(), path)
    return path


@pytest.fixture(scope='module')
def tiny() -> ResNet:
    torch.manual_seed(2)
    return ResNet(depth=18, base_channels=4, stem='cifar', out_indices=(3, 1, 'stem', 0, 2))


@pytest.fixture(scope='module')
def picture() -> np.ndarray:
    rows, columns = np.mgrid[0:300, 0:410]
    return np.stack([rows % 256, (rows + columns) % 256, 255 - columns // 2], axis=2).astype(np.uint8)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_features_are_those_of_torchvision_with_its_standard_pipeline(torchvision_model, checkpoint, picture):
    prepare = v2.Compose([v2.Resize(256, v2.InterpolationMode.BICUBIC), v2.CenterCrop(224)])
    pixels = prepare(torch.from_numpy(picture).permute(2, 0, 1))[None].float()
    mean, std = (torch.tensor(v).view(3, 1, 1) * 255 for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        trunk = nn.Sequential(*list(torchvision_model.children())[:-1])
        want = trunk((pixels - mean) / std).flatten(1)
    embedder = Embedder(checkpoint, 'cpu')
    got = embedder(picture)
    assert got.dtype == np.float32 and got.shape == (1, 512) == (1, embedder.feat_dim)
    assert_close(torch.from_numpy(got), want, rtol=1e-4, atol=1e-5)
    assert embedder.report.matched == embedder.report.expected == 120           # all but fc


def test_each_stage_is_the_mean_of_its_map(tiny):
    images = noise(3, 32, 32, 3)
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        x = tiny.eval().relu(tiny.bn1(tiny.conv1(x)))
        want = [x.mean(dim=(2, 3))]
        for layer in (tiny.layer1, tiny.layer2, tiny.layer3, tiny.layer4):
            x = layer(x)
            want.append(x.mean(dim=(2, 3)))
    embedder = Embedder(tiny, 'cpu', stages=('layer4', 'stem', 'pooled', 'layer2'), input=UNIT_RANGE)
    got = embedder(images)
    assert list(got) == ['layer4', 'stem', 'pooled', 'layer2']
    assert embedder.feat_dim == dict(layer4=32, stem=4, pooled=32, layer2=8)
    for stage, index in (('layer4', 4), ('stem', 0), ('pooled', 4), ('layer2', 2)):
        assert_close(torch.from_numpy(got[stage]), want[index])


def test_a_checkpoint_is_built_to_return_the_stages_asked_for(checkpoint, torchvision_model, picture):
    got = Embedder(checkpoint, 'cpu', stages=('layer3', 'stem'), resize_px=96, crop_px=96)(picture)
    assert {stage: rows.shape for stage, rows in got.items()} == {'layer3': (1, 256), 'stem': (1, 64)}


def test_rows_do_not_depend_on_the_batch_size_and_keep_their_order(tiny):
    images = noise(7, 32, 32, 3)
    one_by_one = np.concatenate([Embedder(tiny, 'cpu', input=UNIT_RANGE)(image) for image in images])
    assert len(np.unique(one_by_one[:, 0])) == 7
    for batch_size in (1, 3, 7, 64):
        got = Embedder(tiny, 'cpu', batch_size=batch_size, input=UNIT_RANGE)(images)
        np.testing.assert_allclose(got, one_by_one, rtol=1e-4, atol=1e-6)


def test_every_kind_of_input_gives_the_same_features(tiny, tmp_path):
    images = [noise(40, 33, 3, seed=1), noise(40, 33, 3, seed=2)]
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f'{number}.png')
    paths = [tmp_path / '0.png', str(tmp_path / '1.png')]
    embedder = Embedder(tiny, 'cpu', input=UNIT_RANGE)
    want = embedder(images)
    assert want.shape == (2, 32) and not np.array_equal(want[0], want[1])
    stacked = np.stack(images)
    for same in (paths, tuple(paths), [Image.fromarray(image) for image in images], stacked,
                 torch.from_numpy(stacked).permute(0, 3, 1, 2), [paths[0], Image.fromarray(images[1])]):
        assert np.array_equal(embedder(same), want)
    for single in (paths[1], images[1], Image.fromarray(images[1])):
        np.testing.assert_allclose(embedder(single), want[1:], rtol=1e-5)


def test_orientation_is_applied_to_open_images_as_to_files(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6                                                       # turn by 90 degrees
    Image.fromarray(noise(8, 12, 3)).save(tmp_path / 'a.png', exif=exif)
    embedder = Embedder(PlainMaps(), 'cpu', input=UNIT_RANGE, resize_px=8, crop_px=4)
    with Image.open(tmp_path / 'a.png') as image:
        assert np.array_equal(embedder(image), embedder(tmp_path / 'a.png'))


def test_normalised_features_have_length_1_and_the_same_direction(tiny):
    images = noise(3, 32, 32, 3)
    plain = Embedder(tiny, 'cpu', input=UNIT_RANGE)(images)
    got = Embedder(tiny, 'cpu', normalise=True, input=UNIT_RANGE)(images)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(got, normalize(torch.from_numpy(plain)).numpy(), rtol=1e-6)


def test_images_are_scaled_as_the_input_says():
    image = np.empty((1, 4, 4, 3), np.uint8)
    image[..., :] = (10, 20, 40)
    scale = InputScale(mean=(4., 10., 20.), std=(2., 5., 10.))
    got = Embedder(PlainMaps(), 'cpu', input=scale, resize_px=4, crop_px=4)(image)
    assert got.tolist() == [[3., 2., 2.]]


@pytest.mark.parametrize('arguments, want', [
    ({}, (256, 224)), (dict(crop_px=112), (128, 112)), (dict(resize_px=224), (224, 224)),
    (dict(resize_px=300, crop_px=288), (300, 288))])
def test_usual_sizes_and_their_overrides(arguments, want):
    made = Embedder(PlainMaps(), 'cpu', input=UNIT_RANGE, **arguments).preparation
    assert (made.resize_px, made.crop_px) == want


def test_the_cifar_stem_means_32_pixels(tiny):
    made = Embedder(tiny, 'cpu', input=UNIT_RANGE).preparation
    assert (made.resize_px, made.crop_px) == (32, 32)


def test_encoder_is_in_eval_mode_and_unchanged(tiny):
    tiny.train()
    before = {name: value.clone() for name, value in tiny.state_dict().items()}
    Embedder(tiny, 'cpu', input=UNIT_RANGE)(noise(2, 32, 32, 3))
    assert not tiny.training
    assert all(torch.equal(value, before[name]) for name, value in tiny.state_dict().items())


@pytest.mark.parametrize('images, message', [
    (np.zeros((4, 4, 3), np.float32), r'got float32 \[4, 4, 3\]'),
    (np.zeros((2, 3, 4, 4), np.uint8), r'image 0 of 2 must be .*got uint8 \[3, 4, 4\]'),
    (np.zeros((4, 4), np.uint8), r'got uint8 \[4, 4\]'),
    (torch.zeros(2, 3, 4, 4), r'got torch.float32 \[2, 3, 4, 4\]'),
    (torch.zeros(2, 4, 4, 3, dtype=torch.uint8), r'got torch.uint8 \[2, 4, 4, 3\]'),
    ([np.zeros((4, 4, 3), np.uint8), 7], 'image 1 of 2 must be .*got int'),
    (None, 'got NoneType')])
def test_other_inputs_are_refused_by_what_they_are(images, message, tiny):
    with pytest.raises(TypeError, match=message):
        Embedder(tiny, 'cpu', input=UNIT_RANGE)(images)


@pytest.mark.parametrize('images', [[], np.zeros((0, 4, 4, 3), np.uint8),
                                    torch.zeros(0, 3, 4, 4, dtype=torch.uint8)],
                         ids=('list', 'array', 'tensor'))
def test_no_images_are_refused(images, tiny):
    with pytest.raises(ValueError, match='there are no images'):
        Embedder(tiny, 'cpu', input=UNIT_RANGE)(images)


def test_a_folder_or_a_bad_file_is_refused_by_name(tiny, tmp_path):
    embedder = Embedder(tiny, 'cpu', input=UNIT_RANGE)
    with pytest.raises(TypeError, match=rf'{tmp_path} is a folder'):
        embedder(tmp_path)
    (tmp_path / 'bad.png').write_bytes(b'no image')
    for name in ('bad.png', 'absent.png'):
        with pytest.raises(ImageReadError, match=name):
            embedder(tmp_path / name)


def test_a_feature_that_is_not_finite_is_refused_by_the_number_of_its_image(tiny):
    class Damaged(PlainMaps):
        def forward(self, x):
            return (torch.where(x.amax(dim=(1, 2, 3), keepdim=True) > 0.9, torch.nan, x),)
    images = np.zeros((5, 4, 4, 3), np.uint8)
    images[3] = 255
    with pytest.raises(ValueError, match='feature of image 3 is not finite'):
        Embedder(Damaged(), 'cpu', input=UNIT_RANGE, resize_px=4, crop_px=4, batch_size=2)(images)


@pytest.mark.parametrize('arguments, error, message', [
    (dict(stages=('pooled', 'layer5')), ValueError, "stages must be one or several of .*got .*'layer5'"),
    (dict(stages=()), ValueError, r'each once, got \(\)'),
    (dict(stages=('stem', 'stem')), ValueError, 'each once'),
    (dict(batch_size=0), ValueError, 'batch_size must be >= 1, got 0'),
    (dict(resize_px=100), ValueError, 'crop_px must be at most resize_px, got 224 and 100'),
    (dict(crop_px=0), ValueError, 'got 0'),
    (dict(input=None), TypeError, 'give input'),
    (dict(stages='layer2'), ValueError, "does not return the map of 'layer2'; .* offers layer4, pooled. ")])
def test_arguments_are_checked(arguments, error, message):
    with pytest.raises(error, match=message):
        Embedder(PlainMaps(), **{'device': 'cpu', 'input': UNIT_RANGE, **arguments})


def test_an_encoder_that_returns_no_features_is_refused():
    with pytest.raises(TypeError, match=r'must return maps \[N, C, H, W\].*, got \[1, 3, 224, 32, 7\]'):
        Embedder(nn.Unflatten(3, (32, 7)), 'cpu', input=UNIT_RANGE)


def test_nothing_is_embedded_with_a_file_that_holds_no_encoder(tmp_path):
    torch.save({'x': torch.ones(3)}, tmp_path / 'other.pth')
    with pytest.raises(LayoutError):
        Embedder(tmp_path / 'other.pth')
    with pytest.raises(FileNotFoundError):
        Embedder(tmp_path / 'absent.pth')


def test_the_fingerprint_follows_what_decides_features_and_nothing_else(checkpoint, tiny, tmp_path):
    copied = tmp_path / 'renamed.pth'
    copied.write_bytes(checkpoint.read_bytes())
    same = {Embedder(path, 'cpu', crop_px=96).fingerprint() for path in (checkpoint, copied)}
    assert len(same) == 1
    changed = torch.load(copied)
    changed['bn1.running_var'][0] += 1
    torch.save(changed, copied)
    others = [Embedder(copied, 'cpu', crop_px=96), Embedder(checkpoint, 'cpu', crop_px=128),
              Embedder(checkpoint, 'cpu', crop_px=96, normalise=True),
              Embedder(checkpoint, 'cpu', crop_px=96, stages='layer4'),
              Embedder(checkpoint, 'cpu', crop_px=96, input=UNIT_RANGE)]
    assert len(same | {embedder.fingerprint() for embedder in others}) == 6


# Kernel, stride and padding at 224 pixels, and side of the grid: the table of Goyal et al. and MMSelfSup.
WINDOWS = {'stem': (10, 10, 4, 12), 'layer1': (16, 8, 0, 6), 'layer2': (13, 5, 0, 4), 'layer3': (8, 3, 0, 3),
           'layer4': (6, 1, 0, 2)}


def five_stages(**arguments) -> ResNet:
    torch.manual_seed(0)
    return ResNet(depth=18, base_channels=4, out_indices=('stem', 0, 1, 2, 3), **arguments).eval()


def image(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


def windows(maps: np.ndarray, kernel: int, stride: int, padding: int, side: int) -> np.ndarray:
    """Average each window of maps [C, H, W], zeros of the padding counted, by slicing."""
    padded = np.pad(maps, ((0, 0), (padding, padding), (padding, padding)))
    return np.stack([padded[:, stride * row:stride * row + kernel, stride * column:stride * column + kernel]
                     .mean(axis=(1, 2)) for row in range(side) for column in range(side)], axis=1).ravel()


def test_windows_at_224_pixels_are_those_of_the_protocol():
    backbone = five_stages()
    got = Embedder(backbone, 'cpu', stages=STAGES, pooling='grid', input=UNIT_RANGE, resize_px=224)(
        image(224, 224))
    with torch.no_grad():
        maps = backbone(torch.from_numpy(image(224, 224)).permute(2, 0, 1)[None] / 255)
    assert [m.shape[-1] for m in maps] == [112, 56, 28, 14, 7]
    for stage, m in zip(STAGES, maps, strict=True):
        assert got[stage].shape == (1, m.shape[1] * WINDOWS[stage][-1] ** 2)
        want = windows(m[0].numpy(), *WINDOWS[stage])
        np.testing.assert_allclose(got[stage][0], want, rtol=1e-4, atol=1e-5)


def test_smaller_maps_are_divided_into_as_many_windows_as_they_have_positions_for():
    embedder = small(five_stages(stem='cifar'), stages=STAGES, pooling='grid', resize_px=16, crop_px=16)
    # Maps of 16, 16, 8, 4 and 2 positions a side, 4, 4, 8, 16 and 32 channels.
    assert embedder.feat_dims == dict(
        stem=4 * 144, layer1=4 * 36, layer2=8 * 16, layer3=16 * 9, layer4=32 * 4)


def test_pooling_and_squashing_are_in_the_fingerprint():
    made = [small(five_stages(stem='cifar'), stages='layer4', **arguments) for arguments in (
        {}, dict(pooling='grid'), dict(squash=True), dict(interpolation='bilinear'))]
    assert len({embedder.fingerprint() for embedder in made}) == 4
    assert [embedder.describe()['pooling'] for embedder in made] == ['average', 'grid', 'average', 'average']


@pytest.mark.parametrize('arguments', [
    dict(pooling='grid'), dict(pooling='grid', stages=('layer1', 'pooled')),
    dict(pooling='max', stages='layer1')])
def test_unknown_pooling_and_a_grid_of_the_average_are_refused(arguments):
    with pytest.raises(ValueError, match="'average', or 'grid' for stages other than 'pooled'"):
        small(five_stages(), **arguments)


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
def test_a_squashed_image_is_the_whole_one_resized_twice_as_in_torchvision(interpolation):
    pixels = image(120, 170)
    mode = v2.InterpolationMode(interpolation)
    resize_twice = v2.Compose([v2.Resize(64, mode), v2.Resize((56, 56), mode)])
    want = resize_twice(torch.from_numpy(pixels).permute(2, 0, 1))
    got = Preparation(64, 56, interpolation, squash=True)({'img': pixels})
    assert got.shape == (3, 56, 56) and (got.int() - want.int()).abs().max() <= 2
    cut = Preparation(64, 56, interpolation)({'img': pixels})
    assert (got.int() - cut.int()).abs().float().mean() > 10


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


@pytest.mark.parametrize('batch_size, num_workers', [(1, 0), (256, 0), (4, 1)])
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


def test_a_feature_of_a_model_that_is_not_finite_is_refused_by_the_number_of_its_image(model, monkeypatch):
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


def test_a_height_and_width_resize_the_whole_image_once(tiny):
    embedder = Embedder(tiny, 'cpu', input=UNIT_RANGE, crop_px=(64, 32))
    picture = noise(50, 90, 3)
    prepared = embedder.preparation({'img': picture})
    assert prepared.shape == (3, 64, 32)
    want = v2.functional.resize(torch.from_numpy(picture).permute(2, 0, 1), [64, 32],
                                v2.InterpolationMode.BICUBIC, antialias=True)
    assert (prepared.int() - want.int()).abs().max() <= 1
    assert embedder.describe()['preparation'] == dict(
        resize_px=None, crop_px=[64, 32], interpolation='bicubic', squash=True)
    assert_close(torch.from_numpy(embedder(picture)), embedder.embed_batch(want[None])['pooled'],
                 rtol=0.02, atol=0.02)


def test_mirrored_features_are_those_of_the_mirror_image(tiny):
    picture = noise(32, 32, 3)
    plain, mirrored = (Embedder(tiny, 'cpu', input=UNIT_RANGE, mirrored=value) for value in (False, True))
    assert_close(mirrored(picture), plain(np.ascontiguousarray(picture[:, ::-1])))
    assert np.abs(mirrored(picture) - plain(picture)).max() > 1e-3
    assert plain.fingerprint() != mirrored.fingerprint() and 'mirrored' not in plain.describe()


class Attending(nn.Module):
    """Attention over 4 tokens: of its heads, and of which token counts, tensors and print say nothing."""

    def __init__(self, heads: int, tokens: str = 'mean') -> None:
        super().__init__()
        torch.manual_seed(0)
        self.settings, self.tokens = dict(heads=heads), tokens
        self.attention = nn.MultiheadAttention(12, heads, batch_first=True)

    def forward(self, x):
        rows = x.unflatten(2, (2, -1)).unflatten(4, (2, -1)).mean(dim=(3, 5)).flatten(2).mT.repeat(1, 1, 4)
        rows = 9 * rows * torch.arange(12.).sin()
        return self.attention(rows, rows, rows)[0]


def test_encoders_of_the_same_tensors_and_print_that_compute_other_features_have_other_fingerprints():
    image = np.random.default_rng(0).integers(256, size=(1, 32, 32, 3), dtype=np.uint8)
    image[:, 16:] //= 9
    a, b, c, same = (Embedder(Attending(*arguments), 'cpu', input=UNIT_RANGE, crop_px=32, resize_px=32)
                     for arguments in ((3,), (12,), (3, 'class'), (3,)))
    assert a.describe()['encoder']['weights_sha256'] == b.describe()['encoder']['weights_sha256']
    assert not np.allclose(a(image), b(image)) and not np.allclose(a(image), c(image))
    assert len({each.fingerprint() for each in (a, b, c)}) == 3 and a.fingerprint() == same.fingerprint()
