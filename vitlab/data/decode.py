"""Any image to the model's square: what a file, a container or an array holds, as uint8 (C, H, W)."""

import os
from pathlib import Path
from stat import S_ISREG
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

Decoded = Image.Image | NDArray[Any]
_EXIF_ORIENTATION, _PHOTOMETRIC = 0x0112, 0x0106
# Pillow knows more, and for some, such as EPS, it starts a program on what the file holds.
FORMATS = ("PNG", "JPEG", "JPEG2000", "TIFF", "BMP", "DIB", "GIF", "WEBP", "PPM", "AVIF")
_LOSSY = ("JPEG", "JPEG2000", "MPO", "WEBP", "AVIF")
_LABELS = 16  # values in a mask, at most, that are labels and no gray edges


def open_image(path: Path | str) -> Image.Image:
    """Open an image file; its pixels are read by `to_uint8`, which knows how many it needs.

    Raises:
        OSError: There is no such file, it is no image of `FORMATS`, or a pipe or device, which would never end.
    """
    if not S_ISREG(os.stat(path).st_mode):
        raise OSError("not a file")
    return Image.open(path, formats=FORMATS)


def to_uint8(image: Decoded, image_size: int, channels: int, fit: Literal["pad", "crop"]) -> NDArray[np.uint8]:
    """Turn any image into the model's square.

    EXIF orientation is applied; the first frame of an animation is taken; transparency lies over black; integers of
    more than 8 bits and floats are scaled from their own minimum and maximum to 0..255. Resizing is antialiased (a
    triangle filter). A truncated file is an error: half an image, the rest gray, would be learnt as if it were whole.

    Args:
        image: A PIL image, loaded or not, or an array (H, W) or (H, W, 1|3|4) of any numeric type.
        image_size: Side in pixels.
        channels: 1 or 3.
        fit: pad or crop.

    Returns:
        uint8 (C, H, W).

    Raises:
        OSError: The file is truncated or damaged.
        ValueError: An array is no image.
    """
    if isinstance(image, Image.Image):
        image = _load(image, image_size, channels, fit)
    else:
        image = from_array(image)
    mode = "L" if channels == 1 else "RGB"
    if image.mode.startswith("I") or image.mode == "F":
        image = from_array(np.asarray(image))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    if image.mode not in (mode, "L"):
        image = image.convert("RGB").convert(mode)
    pixels = np.asarray(to_square(image, image_size, fit), dtype=np.uint8)
    return pixels.transpose(2, 0, 1) if pixels.ndim == 3 else np.repeat(pixels[None], channels, axis=0)


def to_square(
    image: Image.Image,
    image_size: int,
    fit: Literal["pad", "crop"],
    filter_: Image.Resampling = Image.Resampling.BILINEAR,
) -> Image.Image:
    """Return an image as a square, padded with black or cropped; masks take it with another filter than images.

    Args:
        image: Upright and loaded, of 8 bits.
        image_size: Side in pixels.
        fit: pad or crop.
        filter_: Of the resizing; antialiased.
    """
    width, height = image.size
    if fit == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        return image.resize((image_size, image_size), filter_, (left, top, left + side, top + side))
    scale = image_size / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    square = image.resize(size, filter_)
    if size == (image_size, image_size):
        return square
    padded = Image.new(image.mode, (image_size, image_size))
    padded.paste(square, ((image_size - size[0]) // 2, (image_size - size[1]) // 2))
    return padded


def to_mask(image: Image.Image) -> NDArray[np.bool_]:
    """Return where an image of a mask is lesion, bool (H, W).

    Few values are labels, as in BraTS, and all above a background of 0 are lesion. Many values are gray edges, and in a
    lossy format they are noise: there lesion is what is above half the largest.

    Args:
        image: Loaded or not.
    """
    deep = image.mode.startswith("I") or image.mode == "F"  # "L" would clip them at 255
    pixels = np.asarray(image if deep else image.convert("L"))
    mask: NDArray[np.bool_] = pixels > 0
    labels = image.format not in _LOSSY and not mask.all() and len(np.unique(pixels)) <= _LABELS
    return mask if labels else pixels > np.nanmax(pixels) / 2


def to_pixels(image: Decoded) -> NDArray[Any]:
    """Return all pixels as they are stored, upright: (H, W), or (H, W, 3) in colour; only arrays hold deep colour.

    Colour with three equal channels is gray, transparency lies over black, and of an animation the first frame counts,
    so that a picture equals its copy in another format.

    Args:
        image: A PIL image, loaded or not, or an array (H, W) or (H, W, 1|3|4) of any numeric type.

    Raises:
        OSError: The file is truncated or damaged.
        ValueError: An array is no image.
    """
    if isinstance(image, np.ndarray):
        pixels = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
        if pixels.ndim == 2 and pixels.dtype != np.bool_:
            return _finite(pixels)
        if pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype not in (np.uint8, np.bool_):
            return _without_colour(_finite(pixels))
        image = from_array(image)
    image.load()
    image = _upright(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _finite(np.asarray(image))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    pixels = np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    return _without_colour(pixels) if pixels.ndim == 3 else pixels


def _without_colour(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return (H, W) of three equal channels, other pixels (H, W, 3) as they are."""
    return pixels[..., 0] if (pixels[..., :1] == pixels[..., 1:]).all() else pixels


def _finite(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values with those that are no numbers as dark as the darkest, and infinite ones as the ends.

    Raises:
        ValueError: None is finite.
    """
    if values.dtype.kind != "f" or (known := np.isfinite(values)).all():
        return values
    if not known.any():
        raise ValueError("it holds no finite value")
    low, high = values[known].min(), values[known].max()
    finite: NDArray[Any] = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    return finite


def _load(image: Image.Image, image_size: int, channels: int, fit: str) -> Image.Image:
    """Load the first frame, large JPEGs at a half, quarter or eighth of their size, turned as EXIF says."""
    # At least twice the size that is needed: the rest is left to the antialiased filter.
    factor = (max(image.size) if fit == "pad" else min(image.size)) / (2 * image_size)
    least = max(1, int(image.width / factor)), max(1, int(image.height / factor))
    image.draft("L" if channels == 1 else "RGB", least)
    image.load()
    return _upright(image)


def _upright(image: Image.Image) -> Image.Image:
    """Turn a loaded image as its EXIF data says, and its gray values where white is 0: Pillow does that to 8 bits."""
    white_is_zero = image.mode.startswith("I;16") and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # broken metadata raise anything from SyntaxError to struct.error; the pixels are fine
        orientation = 1
    image = ImageOps.exif_transpose(image) if orientation in range(2, 9) else image
    return Image.fromarray(np.iinfo(np.uint16).max - np.asarray(image)) if white_is_zero else image


def from_array(array: NDArray[Any]) -> Image.Image:
    """Return an 8-bit image of an array (H, W) or (H, W, 1|3|4)."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or not array.size:
        raise ValueError(f"an array of shape {array.shape} is no image")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype != np.uint8:
        # 16 bits fit float32 without loss, at half the time.
        values = array.astype(np.float32 if array.dtype.kind in "iu" and array.dtype.itemsize <= 2 else np.float64)
        low, high = float(values.min()), float(values.max())
        if not np.isfinite(low + high):
            values = _finite(values)
            low, high = float(values.min()), float(values.max())
        values -= low
        values *= 255 / (high - low) if high > low else 0
        array = np.rint(values, out=values).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(array))


def reason(error: Exception) -> str:
    """Say in a few words why a file cannot be read."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or damaged from its start"
    if isinstance(error, Image.DecompressionBombError):
        return "its header claims too many pixels"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
