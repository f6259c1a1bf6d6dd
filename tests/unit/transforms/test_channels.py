"""Images of any number of channels and any depth: every bit arrives, other images are refused."""

import io
import json
import random

import cv2
import numpy as np
import pydicom
import pytest
import tifffile
import torch
from PIL import Image
from pydicom.data import get_testdata_file

from mmsimclr.errors import InputError, UserError
from mmsimclr.splitmix64 import uniforms
from mmsimclr.transforms import (
    ChannelDropout,
    ChannelJitter,
    ColorJitter,
    Cutout,
    DeviceViews,
    GaussianBlur,
    GaussianNoise,
    ImageReadError,
    LoadChannels,
    MultiView,
    PackForDevice,
    PackImage,
    PackViews,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Rotate90,
    SimCLRView,
    Sobel,
    as_rgb,
    read_raster,
    shown_limits,
)

RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)


def bands(channels: int, kind: str = 'uint16', height: int = 20, width: int = 24) -> np.ndarray:
    generator = np.random.default_rng(channels)
    if kind == 'float32':
        return generator.uniform(-3, 7, (height, width, channels)).astype(np.float32)
    info = np.iinfo(kind)
    return generator.integers(info.min, info.max + 1, (height, width, channels)).astype(kind)


def written(path, image: np.ndarray, **options) -> str:
    tifffile.imwrite(path, np.moveaxis(image, -1, 0) if image.ndim == 3 else image, **options)
    return str(path)


def test_a_ramp_of_16_bits_keeps_its_levels_up_to_the_tensor(tmp_path):
    for name in ('ramp.png', 'ramp.tif', 'ramp.npy'):
        path = tmp_path / name
        if name.endswith('png'):
            cv2.imwrite(str(path), RAMP)
        elif name.endswith('tif'):
            tifffile.imwrite(path, RAMP, compression='zlib')
        else:
            np.save(path, RAMP)
        packed = PackImage()(LoadChannels(1)(dict(img_path=str(path))))['inputs']
        assert packed.dtype == torch.float32 and packed.shape == (1, 256, 256)
        scaled = packed / 255
        assert len(scaled.unique()) == 65536 > 60_000
        torch.testing.assert_close(scaled[0].double(), torch.from_numpy(RAMP / 65535), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize('kind', ['uint8', 'uint16', 'int16', 'float32'])
@pytest.mark.parametrize('options', [
    {}, dict(compression='zlib'), dict(compression='lzw', predictor=2), dict(compression='zstd'),
    dict(bigtiff=True), dict(byteorder='>'), dict(tile=(16, 16)),
    dict(photometric='minisblack', planarconfig='separate')])
def test_tiff_of_13_bands_is_read_as_written(tmp_path, kind, options):
    if kind == 'float32' and 'predictor' in options:
        options = {**options, 'predictor': 3}
    image = bands(13, kind)
    raster = read_raster(written(tmp_path / 'a.tif', image, **options), 13)
    assert raster.values.dtype == kind and raster.values.flags.c_contiguous
    np.testing.assert_array_equal(raster.values, image)


def test_bands_may_be_pages_or_planes_or_the_last_axis(tmp_path):
    image = bands(5)
    with tifffile.TiffWriter(tmp_path / 'pages.tif') as file:
        for band in range(5):
            file.write(image[:, :, band], contiguous=False)
    tifffile.imwrite(tmp_path / 'chunky.tif', image, planarconfig='contig', photometric='minisblack',
                     extrasamples=['unspecified'] * 4)
    tifffile.imwrite(tmp_path / 'rows.tif', image, photometric='minisblack')          # as many pages as rows
    tifffile.imwrite(tmp_path / 'stack.ome.tif', np.moveaxis(image, -1, 0), metadata=dict(axes='CYX'))
    np.save(tmp_path / 'last.npy', image)
    np.save(tmp_path / 'first.npy', np.moveaxis(image, -1, 0))
    for path in sorted(tmp_path.iterdir()):
        np.testing.assert_array_equal(read_raster(path, 5).values, image, err_msg=path.name)
        if path.name != 'rows.tif':
            np.testing.assert_array_equal(read_raster(path).values, image, err_msg=path.name)


def test_pictures_are_read_in_red_green_blue(tmp_path):
    image = bands(4)
    cv2.imwrite(str(tmp_path / 'deep.png'), image[:, :, [2, 1, 0]])
    np.testing.assert_array_equal(read_raster(tmp_path / 'deep.png').values, image[:, :, :3])
    cv2.imwrite(str(tmp_path / 'alpha.png'), image[:, :, [2, 1, 0, 3]])
    np.testing.assert_array_equal(read_raster(tmp_path / 'alpha.png').values, image)
    eight = bands(3, 'uint8')
    for name in ('plain.png', 'plain.bmp'):
        Image.fromarray(eight).save(tmp_path / name)
        np.testing.assert_array_equal(read_raster(tmp_path / name).values, eight)
    palette = Image.fromarray(eight).quantize(16)
    for name in ('palette.png', 'palette.tif', 'palette.gif'):
        palette.save(tmp_path / name)
        np.testing.assert_array_equal(read_raster(tmp_path / name).values, np.array(palette.convert('RGB')))
    Image.fromarray(eight[:, :, 0]).save(tmp_path / 'grey.png')
    np.testing.assert_array_equal(read_raster(tmp_path / 'grey.png').values, eight[:, :, :1])


def test_the_ct_image_of_pydicom_is_read_exactly():
    path = get_testdata_file('CT_small.dcm')
    dataset = pydicom.dcmread(path)
    # Decoded here, not by pydicom.
    stored = np.frombuffer(dataset.PixelData, '<i2').reshape(dataset.Rows, dataset.Columns)
    expected = stored * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    assert float(dataset.RescaleIntercept) == -1024
    raster = read_raster(path)
    np.testing.assert_array_equal(raster.values[:, :, 0], expected)
    img = LoadChannels(1, (-1000, 1000))(dict(img_path=path))['img']
    np.testing.assert_allclose(img[:, :, 0], (expected.clip(-1000, 1000) + 1000) / 2000 * 255, rtol=1e-5,
                               atol=1e-4)


def test_tables_of_a_dicom_file_are_looked_up(tmp_path):
    path = get_testdata_file('examples_palette.dcm')
    dataset = pydicom.dcmread(path)
    tables = [np.frombuffer(dataset[f'{colour}PaletteColorLookupTableData'].value, '<u2')
              for colour in ('Red', 'Green', 'Blue')]
    places = np.frombuffer(dataset.PixelData, np.uint8)[:dataset.Rows * dataset.Columns].reshape(
        dataset.Rows, dataset.Columns)
    np.testing.assert_array_equal(read_raster(path).values, np.stack(
        [table[places] for table in tables], axis=2))
    dataset = pydicom.dcmread(get_testdata_file('CT_small.dcm'))
    stored = dataset.pixel_array
    table = pydicom.Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [4096, 0, 16], 'HU'
    table.LUTData = np.arange(4096, dtype='<u2')[::-1].tobytes()
    table['LUTData'].VR = 'OW'
    del dataset.RescaleSlope, dataset.RescaleIntercept
    dataset.ModalityLUTSequence = [table]
    dataset.save_as(tmp_path / 'table.dcm')
    np.testing.assert_array_equal(read_raster(tmp_path / 'table.dcm').values[:, :, 0],
                                  4095 - stored.clip(0, 4095))


def test_the_window_of_a_dicom_file_and_its_inversion_count(tmp_path):
    dataset = pydicom.dcmread(get_testdata_file('CT_small.dcm'))
    dataset.WindowCenter, dataset.WindowWidth = [40, 300], [401, 1500]
    dataset.save_as(tmp_path / 'a.dcm')
    dataset.PhotometricInterpretation = 'MONOCHROME1'
    dataset.save_as(tmp_path / 'inverted.dcm')
    values = read_raster(tmp_path / 'a.dcm').values
    img = LoadChannels(1, 'window')(dict(img_path=str(tmp_path / 'a.dcm')))['img']
    # PS3.3 C.11.2.1.2.1: from c - 0.5 - (w - 1) / 2 to c - 0.5 + (w - 1) / 2.
    np.testing.assert_allclose(img, ((values + 160.5) / 400).clip(0, 1) * 255, rtol=1e-5, atol=1e-3)
    inverted = LoadChannels(1, 'window')(dict(img_path=str(tmp_path / 'inverted.dcm')))['img']
    np.testing.assert_allclose(inverted, 255 - img, atol=1e-4)
    with pytest.raises(ImageReadError, match='window'):
        LoadChannels(1, 'window')(dict(img_path=get_testdata_file('CT_small.dcm')))


def test_value_range_says_what_becomes_0_and_255():
    image = bands(3, 'float32')

    def read(value_range, img=image):
        results = LoadChannels(3, value_range)(dict(img=img))
        return results['img'], results['clipped']

    img, clipped = read((0, 5))
    np.testing.assert_allclose(img, image.clip(0, 5) * 51, rtol=1e-5, atol=1e-4)
    assert clipped == np.mean((image < 0) | (image > 5)) > 0.3
    img, _ = read(([0, -3, 1], [5, 7, 2]))
    for band, (low, high) in enumerate([(0, 5), (-3, 7), (1, 2)]):
        expected = (image[:, :, band].clip(low, high) - low) / (high - low) * 255
        np.testing.assert_allclose(img[:, :, band], expected, rtol=1e-4, atol=1e-3)
    img, clipped = read(('2%', '90%'))
    for band in range(3):
        low, high = np.percentile(image[:, :, band], (2, 90))
        expected = ((image[:, :, band] - low) / (high - low)).clip(0, 1) * 255
        np.testing.assert_allclose(img[:, :, band], expected, atol=0.01)
    assert 0.1 < clipped < 0.14
    eight = bands(3, 'uint8')
    img, clipped = read('dtype', eight)
    np.testing.assert_array_equal(img, eight)
    assert clipped == 0
    img, _ = read(('1%', '99%'), np.full((4, 4, 3), 7, np.uint16))
    assert (img == 0).all()


@pytest.mark.parametrize('value_range', [
    (5, 5), (7, 1), ('1%', '1%'), ('90%', '10%'), ('1', '99'), 'percent', (1, 2, 3), None, 4,
    (0, float('nan')), ([0, 1], [2, 3])])
def test_other_value_ranges_are_refused(value_range):
    with pytest.raises(InputError, match=r"value_range must be .*\('1%', '99%'\)"):
        LoadChannels(3, value_range)


@pytest.mark.parametrize(('value_range', 'plain'), [
    ((np.float64(0.5), np.int64(7)), [0.5, 7]), (np.array([0, 9]), [0, 9]), (('1%', '99%'), ['1%', '99%']),
    (([0, 1, 2], np.array([7, 8, 9])), [[0, 1, 2], [7, 8, 9]]), ('window', 'window')])
def test_a_value_range_is_recorded_in_plain_types(value_range, plain):
    found = LoadChannels(3, value_range).reading['value_range']
    assert json.dumps(found) == json.dumps(plain)
    assert LoadChannels(3, found).reading['value_range'] == plain


def test_other_images_are_refused_not_scaled(tmp_path):
    path = written(tmp_path / 'a.tif', bands(4))
    load = LoadChannels(13, (0, 10000))
    with pytest.raises(ImageReadError, match=r'a\.tif.* 4 channels of uint16, and 13'):
        load(dict(img_path=path))
    load = LoadChannels(4, (0, 10000))
    load.fix_dtype([dict(img_path=str(tmp_path / 'none.tif')), dict(img_path=path)])
    assert load.reading == dict(channels=4, dtype='uint16', value_range=[0, 10000])
    load(dict(img_path=path))
    with pytest.raises(ImageReadError, match=r'4 channels of uint8, and 4 of uint16'):
        load(dict(img=bands(4, 'uint8')))


@pytest.mark.filterwarnings('ignore::UserWarning:pydicom')
def test_damaged_and_odd_files_end_in_an_error_that_names_them(tmp_path):
    good = {}
    for name, options in (('plain', {}), ('packed', dict(compression='zlib'))):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, np.moveaxis(bands(13), -1, 0), **options)
        good[f'{name}.tif'] = buffer.getvalue()
    good['deep.png'] = cv2.imencode('.png', bands(3))[1].tobytes()
    buffer = io.BytesIO()
    np.save(buffer, bands(3))
    good['array.npy'] = buffer.getvalue()
    with open(get_testdata_file('CT_small.dcm'), 'rb') as file:
        good['ct.dcm'] = file.read()
    generator = random.Random(0)
    for name, data in good.items():
        assert read_raster_of(tmp_path / name, data).values.size
        for end in [0, 1, 4, 10, 100, 132, 200, *(generator.randrange(len(data)) for _ in range(10))]:
            expect_error_or_image(tmp_path / name, data[:end])
        (tmp_path / name).write_bytes(data[:len(data) * 2 // 3])
        with pytest.raises(ImageReadError, match=name):
            LoadChannels(13 if name.endswith('tif') else 3 if 'array' in name or 'deep' in name else 1)(
                dict(img_path=str(tmp_path / name)))
        for _ in range(60):
            damaged = bytearray(data)
            for _ in range(3):
                damaged[generator.randrange(min(len(data), 400))] = generator.randrange(256)
            expect_error_or_image(tmp_path / name, bytes(damaged))


def read_raster_of(path, data):
    path.write_bytes(data)
    return read_raster(path)


def expect_error_or_image(path, data):
    try:
        values = read_raster_of(path, data).values
    except UserError as error:
        assert path.name in str(error)
    else:
        assert values.ndim == 3 and np.isfinite(values).all()


def test_what_claims_too_much_is_refused_before_it_is_decoded(tmp_path):
    np.save(tmp_path / 'small.npy', np.zeros((4, 4), np.uint16))
    data = (tmp_path / 'small.npy').read_bytes()
    with open(tmp_path / 'sparse.npy', 'wb') as file:
        file.write(data)
        file.truncate(10**12)
    with pytest.raises(ImageReadError, match=r'sparse\.npy'):
        read_raster(tmp_path / 'sparse.npy')
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((64, 64), np.uint16))
    with tifffile.TiffFile(io.BytesIO(buffer.getvalue())) as file:
        places = {name: file.pages[0].tags[name].valueoffset for name in ('ImageWidth', 'ImageLength')}
    huge = bytearray(buffer.getvalue())
    for place in places.values():
        huge[place:place + 2] = (60_000).to_bytes(2, 'little')
    with pytest.raises(ImageReadError, match='claims 7,200,000,000 bytes'):
        read_raster_of(tmp_path / 'huge.tif', bytes(huge))
    for bad in (np.nan, np.inf):
        image = bands(2, 'float32')
        image[3, 4, 1] = bad
        with pytest.raises(ImageReadError, match='NaN, infinite'):
            read_raster(written(tmp_path / 'nan.tif', image), 2)
    for odd in (np.zeros((3, 4), np.complex64), np.zeros(7), np.zeros((2, 3, 4, 5)), np.zeros((0, 4))):
        np.save(tmp_path / 'odd.npy', odd)
        with pytest.raises(ImageReadError, match=r'odd\.npy'):
            read_raster(tmp_path / 'odd.npy')
    with pytest.raises(ImageReadError, match='is a folder'):
        read_raster(tmp_path)


BLUR = GaussianBlur((1.5, 1.5), prob=1, kernel_size_fraction=0.5)
STEPS = [RandomResizedCrop(16), RandomResizedCrop(16, antialias=False), RandomHorizontalFlip(prob=1),
         Rotate90((90,)), BLUR, Cutout(), Sobel(), SimCLRView(16, strength=0, grey_prob=0)]


def name_of(step) -> str:
    return type(step).__name__


@pytest.mark.parametrize('step', STEPS, ids=name_of)
def test_each_channel_is_changed_as_an_image_of_its_own_would_be(step):
    """The oracle: a step on 13 channels equals itself on each alone, with the same numbers drawn."""
    image = LoadChannels(13)(dict(img=bands(13)))['img']
    before = image.copy()
    random.seed(3)
    whole = step(dict(img=image))['img']
    assert whole.dtype == np.float32 and whole.ndim == 3 and whole.shape[2] == 13
    assert whole.min() >= 0 and whole.max() <= 255
    np.testing.assert_array_equal(image, before)
    for channel in (0, 5, 12):
        random.seed(3)
        alone = step(dict(img=np.ascontiguousarray(image[:, :, channel:channel + 1])))['img']
        assert alone.shape == (*whole.shape[:2], 1)
        np.testing.assert_allclose(whole[:, :, channel:channel + 1], alone, atol=2e-3)


@pytest.mark.parametrize('step', [RandomHorizontalFlip(prob=1), Rotate90((90,)), Cutout(), Sobel(), BLUR,
                                  RandomResizedCrop(16)], ids=name_of)
def test_floats_are_changed_as_8_bit_images_are(step):
    image = bands(3, 'uint8')
    random.seed(1)
    rounded = step(dict(img=image))['img']
    random.seed(1)
    exact = step(dict(img=image.astype(np.float32)))['img']
    assert rounded.dtype == np.uint8 and exact.dtype == np.float32
    difference = np.abs(rounded - exact)
    # A resize of 8 bits rounds and clips between its two directions too.
    assert difference.mean() < 0.4 if isinstance(step, RandomResizedCrop) else difference.max() <= 1.01


@pytest.mark.parametrize('step', [ColorJitter(), RandomGrayscale(), SimCLRView(16)], ids=name_of)
def test_colours_need_rgb_and_say_so(step):
    image = LoadChannels(3)(dict(img=bands(3)))['img']
    with pytest.raises(TypeError, match=r'RGB uint8.*ChannelJitter.*float32'):
        step(dict(img=image))
    neutral = SimCLRView(16, strength=0, grey_prob=0)(dict(img=image))['img']
    assert neutral.shape == (16, 16, 3)


def test_a_jitter_of_channels_is_gain_offset_and_exponent_within_their_ranges():
    step = ChannelJitter(gain=0.5, offset=0.2, gamma=2.0, prob=1.0)
    draws = np.random.default_rng(0).random((4000, 2))
    exponents, gains, offsets = step.factors(step.parameters(draws, 8, 8), 3).transpose(1, 0, 2)
    for values, low, high in ((np.log2(exponents), -1, 1), (gains, 0.5, 1.5), (offsets, -0.2, 0.2)):
        hundredth = 0.01 * (high - low)
        assert low <= values.min() < low + hundredth and high - hundredth < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 0.02 * (high - low)
        assert np.abs(np.corrcoef(values.T) - np.eye(3)).max() < 0.06                 # each channel its own
    image = np.full((2, 2, 3), 51, np.float32)
    changed = step.change(image, step.parameters(draws[:1], 2, 2)[0])
    expected = 255 * (gains[0] * 0.2 ** exponents[0] + offsets[0]).clip(0, 1)
    np.testing.assert_allclose(changed[1, 1], expected, rtol=1e-5)


def test_dropout_takes_whole_channels_never_all():
    step, counts = ChannelDropout(max_channels=3, prob=0.6), []
    image = np.ones((2, 2, 5), np.float32)
    for draws in np.random.default_rng(0).random((600, 3)):
        dropped = step.change(image, step.parameters(draws[None], 2, 2)[0])
        assert set(np.unique(dropped)) <= {0, 1} and (dropped == dropped[:1, :1]).all()
        counts.append(5 - int(dropped[0, 0].sum()))
    assert set(counts) == {0, 1, 2, 3} and 0.35 < np.mean(np.array(counts) == 0) < 0.45
    alone = ChannelDropout(max_channels=3, prob=1)
    assert (alone.change(image[:, :, :1], alone.parameters(np.full((1, 3), 0.9), 2, 2)[0]) == 1).all()


@pytest.mark.parametrize('step', [ChannelJitter(prob=0.7), ChannelDropout(max_channels=4, prob=0.7),
                                  Rotate90(), Cutout(prob=0.7), Sobel(prob=0.5)], ids=name_of)
@pytest.mark.parametrize('channels', [1, 2, 13])
def test_a_batch_is_changed_as_its_images_are(step, channels):
    seeds = np.random.default_rng(1).integers(0, 2**63, 12).astype(np.uint64)
    images = np.random.default_rng(2).uniform(0, 255, (12, 14, 14, channels)).astype(np.float32)
    batch = step.apply_batch(torch.from_numpy(images).permute(0, 3, 1, 2), seeds).permute(0, 2, 3, 1).numpy()
    parameters = step.parameters(uniforms(seeds, step.num_draws), 14, 14)
    for image, parameter, made in zip(images, parameters, batch, strict=True):
        expected = step.change(image, parameter) if np.any(parameter) else image
        np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-2)
    assert any((made == image).all() for made, image in zip(batch, images, strict=True))
    assert (batch != images).any() or (channels == 1 and type(step) is ChannelDropout)


def test_views_of_13_bands_on_the_device_are_those_of_the_cpu_in_distribution():
    """Means and deviations over many views agree, for each channel."""
    image = LoadChannels(13)(dict(img=bands(13)))['img']
    steps = [ChannelJitter(), ChannelDropout(), GaussianNoise((0.02, 0.1))]
    policy = dict(size=12, strength=0, grey_prob=0, blur=True)
    cpu = MultiView([SimCLRView(**policy), *steps], num_views=400)
    random.seed(0)
    on_cpu = np.stack(cpu(dict(img=image))['img']).transpose(0, 3, 1, 2)
    packed = PackForDevice(32)(dict(img=image, sample_idx=3))
    assert packed['inputs'].dtype == torch.float32
    samples = packed['data_samples']
    views = DeviceViews(num_views=400, operators=steps, **policy)(
        packed['inputs'][None], samples['image_size'][None],
        *(torch.tensor([samples[key]]) for key in ('seed', 'epoch', 'sample_idx')))
    on_device = torch.cat(views).numpy()
    assert on_device.shape == on_cpu.shape == (400, 13, 12, 12)
    np.testing.assert_allclose(on_device.mean(axis=(0, 2, 3)), on_cpu.mean(axis=(0, 2, 3)), atol=9)
    np.testing.assert_allclose(on_device.std(axis=(0, 2, 3)), on_cpu.std(axis=(0, 2, 3)), atol=4)
    with pytest.raises(InputError, match='strength=0'):
        DeviceViews(size=12)(packed['inputs'][None], samples['image_size'][None],
                             *(torch.tensor([samples[key]]) for key in ('seed', 'epoch', 'sample_idx')))


def test_views_are_packed_with_all_their_channels():
    item = MultiView([SimCLRView(12, strength=0, grey_prob=0)], num_views=2)(
        LoadChannels(13)(dict(img=bands(13), sample_idx=0)))
    made = PackViews()(dict(item, img=item['img']))
    for view, tensor in zip(item['img'], made['inputs'], strict=True):
        np.testing.assert_array_equal(tensor.numpy(), view.transpose(2, 0, 1))


def test_any_three_bands_or_a_colour_map_are_shown():
    image = LoadChannels(13)(dict(img=bands(13)))['img']
    shown = as_rgb(image, (3, 2, 1))
    np.testing.assert_array_equal(shown, np.rint(image[:, :, [3, 2, 1]]).astype(np.uint8))
    grey = as_rgb(image, (7,))
    np.testing.assert_array_equal(grey, np.rint(image[:, :, [7] * 3]).astype(np.uint8))
    low, high = shown_limits(image)
    stretched = as_rgb(image, (3, 2, 1), limits=(low, high))
    assert 0.015 < np.mean(stretched == 0) + np.mean(stretched == 255) < 0.06
    coloured = as_rgb(image, (7,), 'viridis')
    expected = cv2.cvtColor(cv2.applyColorMap(grey[:, :, 0], cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(coloured, expected)
    plain = bands(3, 'uint8')
    assert as_rgb(plain) is plain
    for arguments in ((None, 'nothing'), ((1, 2), None), ((1, 2, 13), None), ((1, 2, 3), 'viridis')):
        with pytest.raises(InputError):
            as_rgb(image, *arguments)
