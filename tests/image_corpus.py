"""Files that a folder of images may hold: unusual but good ones with their pixels, and bad ones."""

import io
import struct
import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageOps

ORIENTATION = 0x0112


def photograph(height: int = 60, width: int = 80) -> np.ndarray:
    """Return an RGB image without symmetry, uint8 [H, W, 3]."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


@dataclass(frozen=True)
class Good:
    """A file that must be read, and the pixels that must come of it, within a mean difference."""

    content: bytes
    pixels: np.ndarray
    tolerance: float = 0.0


def encoded(image: np.ndarray | Image.Image, kind: str, **options) -> bytes:
    """Return a file's content as Pillow writes it."""
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def as_pillow_reads(content: bytes) -> np.ndarray:
    """Return the first frame as Pillow reads it, turned upright, in RGB."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert('RGB'))


def _jpeg_like_pillow(content: bytes) -> Good:
    return Good(content, as_pillow_reads(content), 1.0)          # two versions of the same decoder


def _on_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None].astype(float) / 255
    return np.rint(rgb * share + 255 * (1 - share)).astype(np.uint8)


def good_files() -> dict[str, Good]:
    """Return the good files by name."""
    rgb, grey = photograph(), photograph()[..., 0]
    image = Image.fromarray(rgb)
    alpha = np.tile(np.arange(80, dtype=np.uint8) * 3, (60, 1))
    palette = image.quantize(16)
    opaque = np.asarray(palette) != 3
    frames = dict(save_all=True, append_images=[Image.fromarray(255 - rgb)])
    jpeg, png = encoded(rgb, 'JPEG', quality=95), encoded(rgb, 'PNG')
    three = grey[..., None].repeat(3, 2)
    files = {
        'plain.jpg': _jpeg_like_pillow(jpeg),
        'png_named.jpg': Good(png, rgb),
        'jpeg_named.png': _jpeg_like_pillow(jpeg),
        'bytes_after_the_end.jpg': _jpeg_like_pillow(jpeg + b'appended'),
        'cmyk.jpg': Good(content := encoded(image.convert('CMYK'), 'JPEG', quality=95),
                         as_pillow_reads(content), 0.0),
        'grey.jpg': _jpeg_like_pillow(encoded(grey, 'JPEG', quality=95)),
        'grey.png': Good(encoded(grey, 'PNG'), three),
        'one_bit.png': Good(encoded(Image.fromarray(grey > 128), 'PNG'),
                            (255 * (three > 128)).astype(np.uint8)),
        'rgba.png': Good(encoded(np.dstack([rgb, alpha]), 'PNG'), _on_white(rgb, alpha), 0.6),
        'grey_alpha.png': Good(encoded(Image.merge('LA', [Image.fromarray(grey), Image.fromarray(alpha)]),
                                       'PNG'), _on_white(three, alpha), 0.6),
        'transparent_palette.png': Good(
            encoded(palette, 'PNG', transparency=3),
            np.where(opaque[..., None], np.asarray(palette.convert('RGB')), 255).astype(np.uint8)),
        'end_missing.png': Good(png[:-12], rgb),                 # its pixels are all there
        'one_pixel.png': Good(encoded(rgb[:1, :1], 'PNG'), rgb[:1, :1]),
        'one_pixel.jpg': _jpeg_like_pillow(encoded(rgb[:1, :1], 'JPEG', quality=95)),
        'long.png': Good(encoded(long := np.tile(photograph(1, 200), (1, 100, 1)), 'PNG'), long),
        'tall.jpg': _jpeg_like_pillow(encoded(np.tile(photograph(200, 1), (100, 1, 1)), 'JPEG', quality=95)),
        'animated.png': Good(encoded(rgb, 'PNG', **frames), rgb),
        'animated.webp': Good(encoded(rgb, 'WEBP', lossless=True, **frames), rgb),
        'animated.gif': Good(content := encoded(palette, 'GIF', save_all=True,
                                                append_images=[Image.fromarray(255 - rgb)]),
                             as_pillow_reads(content)),
        'pages.tif': Good(encoded(rgb, 'TIFF', **frames), rgb),
    }
    assert files['long.png'].pixels.shape == (1, 20_000, 3)
    assert files['tall.jpg'].pixels.shape == (20_000, 1, 3)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        files[f'orientation_{orientation}.jpg'] = _jpeg_like_pillow(
            encoded(rgb, 'JPEG', quality=95, exif=exif))
    return files


def bad_files() -> dict[str, bytes]:
    """Return the contents of the bad files by name."""
    jpeg, png = encoded(photograph(), 'JPEG', quality=95), encoded(photograph(), 'PNG')
    deep = photograph().astype(np.uint16) * 256 + 77
    size = jpeg.index(b'\xff\xc0') + 5
    return {
        'half.jpg': jpeg[:len(jpeg) // 2],
        'end_marker_missing.jpg': jpeg[:-2],
        'last_bytes_missing.jpg': jpeg[:-20],
        'half.png': png[:len(png) // 2],
        'damaged.png': png[:len(png) // 2] + bytes(8) + png[len(png) // 2 + 8:],
        'middle_missing.png': png[:len(png) // 2] + png[-12:],
        'empty.jpg': b'',
        'text.jpg': b'an error page, saved under the name of an image',
        'markers_only.jpg': b'\xff\xd8\xff\xd9',
        'deep_grey.png': encoded(deep[..., 0], 'PNG'),
        'deep_grey.tif': encoded(deep[..., 0], 'TIFF'),
        'deep.png': cv2.imencode('.png', deep)[1].tobytes(),
        'deep.tif': cv2.imencode('.tif', deep)[1].tobytes(),
        'floats.tif': encoded(deep[..., 0].astype(np.float32) / 65535, 'TIFF'),
        'program.jpg': b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n',
        'bomb.png': _png_of_size(30_000, 30_000),
        'bomb.jpg': jpeg[:size] + struct.pack('>HH', 60_000, 60_000) + jpeg[size + 4:],
    }


def _png_of_size(width: int, height: int) -> bytes:
    """Return a PNG that declares a size and holds a few bytes of pixels."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(bytes(1000))) + \
        chunk(b'IEND', b'')
