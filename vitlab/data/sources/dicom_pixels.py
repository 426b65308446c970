"""Pixels of a DICOM file as gray or colour pictures: rescale, window, palette, frames, compression.

Shapes: F frames, H, W pixels.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.data.sources.dicom_limits import check_claims, check_deflated
from vitlab.data.sources.volumes import PERCENTILES, Volume, Window, windowed


def read_dicom(file: Path, window: Window | None = None) -> Volume:
    """Read all frames of a DICOM image.

    Values go through the modality's rescale (or table), then the first window of the header (or its table), PS3.3 of
    the standard, C.11.1 and C.11.2; MONOCHROME1 is turned, so that large is bright no more than in MONOCHROME2.

    Args:
        file: It is read by pydicom; nothing in it is executed.
        window: Values that become black and white, over the header's; null takes the header's, or the 0.5 and 99.5
            percentiles of each frame.

    Raises:
        ValueError: It is no DICOM image, is damaged, or its compression is not read here.
    """
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that the standard forbids and everyone writes
        try:
            check_deflated(file)
            found = pydicom.dcmread(file, force=True)
        except OSError:
            raise
        except Exception as error:  # pydicom's own kinds, KeyError, struct.error
            raise ValueError(f"not DICOM, or damaged ({_line(error)})") from None
        if "PixelData" not in found and "FloatPixelData" not in found and "DoubleFloatPixelData" not in found:
            raise ValueError("not a DICOM image, or damaged: it has no pixels")
        check_claims(found)
        frames = _stored(found)
        palette = found.get("PhotometricInterpretation") == "PALETTE COLOR"
        paint = _coloured if palette or _samples(found) == 3 else _gray
        try:
            slices = np.stack([paint(found, frame, number, window) for number, frame in enumerate(frames)])
        except (KeyError, IndexError, TypeError, AttributeError, NotImplementedError) as error:
            raise ValueError(f"its window or palette is damaged ({_line(error)})") from None
        return Volume(slices, _spacing(found))


def _stored(found: Any) -> NDArray[Any]:
    """Return the values as stored, (F, H, W) or (F, H, W, 3)."""
    from pydicom.uid import ImplicitVRLittleEndian

    if not hasattr(found, "file_meta") or "TransferSyntaxUID" not in found.file_meta:
        found.ensure_file_meta()
        found.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian  # the standard's default, of old files without
    syntax = found.file_meta.TransferSyntaxUID
    try:
        pixels = found.pixel_array
    except (NotImplementedError, RuntimeError) as error:
        if not syntax.is_compressed:
            raise ValueError(f"its pixels are damaged ({_line(error)})") from None
        raise ValueError(
            f"its compression, {syntax.name}, cannot be read here or is damaged: decompress it, e.g. with gdcmconv "
            "--raw, or install pylibjpeg"
        ) from None
    except Exception as error:  # decoders raise anything
        raise ValueError(f"its pixels are damaged ({_line(error)})") from None
    stored: NDArray[Any] = pixels if pixels.ndim == (4 if _samples(found) == 3 else 3) else pixels[None]
    return stored


def _samples(found: Any) -> int:
    return int(found.get("SamplesPerPixel") or 1)


def _gray(found: Any, frame: NDArray[Any], number: int, window: Window | None) -> NDArray[np.uint8]:
    from pydicom.pixels.processing import apply_modality_lut, apply_voi

    shown = _for_frame(found, number)
    values = apply_modality_lut(frame, shown)
    padding = _padding(found, frame)
    if window is None and shown.get("VOILUTSequence"):
        bits = int(shown.VOILUTSequence[0].LUTDescriptor[2])
        gray = windowed(apply_voi(np.rint(values).astype(np.int64), shown), (0.0, 2.0**bits - 1))
    elif window is None and (centre := _first(shown, "WindowCenter")) is not None:
        gray = _by_header(values, centre, _first(shown, "WindowWidth"), str(shown.get("VOILUTFunction") or "LINEAR"))
    elif window is None and not padding.all():
        low, high = map(float, np.percentile(values[~padding], PERCENTILES))
        gray = windowed(values, (low, high) if low < high else None)
    else:
        gray = windowed(values, window)
    if found.get("PhotometricInterpretation") == "MONOCHROME1":
        gray = 255 - gray
    gray[padding] = 0
    return gray


def _by_header(values: NDArray[Any], centre: float, width: float | None, function: str) -> NDArray[np.uint8]:
    """Show values by a window as the standard defines it, PS3.3 C.11.2.1.2 and C.11.2.1.3.

    Raises:
        ValueError: The window is none.
    """
    function = function.upper()
    if width is None or width < (1 if function == "LINEAR" else 1e-9):
        raise ValueError(f"the WindowWidth of its header is {width}: correct it")
    if function == "SIGMOID":
        return windowed(1 / (1 + np.exp(-4 * (values.astype(np.float64) - centre) / width)), (0.0, 1.0))
    if function == "LINEAR":
        centre, width = centre - 0.5, max(width - 1, 1e-9)
    return windowed(values, (centre - width / 2, centre + width / 2))


def _padding(found: Any, frame: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where a scanner has put nothing, (H, W)."""
    start = found.get("PixelPaddingValue")
    if not isinstance(start, int):
        return np.zeros(frame.shape, bool)
    end = found.get("PixelPaddingRangeLimit")
    above = 2 ** (8 * frame.dtype.itemsize - 1)  # -2000 of signed pixels is often written as 63536, the same bits
    ends = [start, end if isinstance(end, int) else start]
    low, high = sorted(value - 2 * above * (frame.dtype.kind == "i" and above <= value < 2 * above) for value in ends)
    return np.asarray((frame >= low) & (frame <= high))


def _first(shown: Any, name: str) -> float | None:
    """Return a number of the header, the first where there are several, None where there is none."""
    value = shown.get(name)
    if value is None or isinstance(value, str) or (hasattr(value, "__len__") and not len(value)):
        return None
    return float(value[0] if hasattr(value, "__len__") else value)


def _coloured(found: Any, frame: NDArray[Any], _number: int, _window: Window | None) -> NDArray[np.uint8]:
    from pydicom.pixels.processing import apply_color_lut

    if found.PhotometricInterpretation == "PALETTE COLOR":
        frame = apply_color_lut(frame, found)[..., :3]
        stored = 16  # of a palette, which fills its type
    else:  # pixel_array has turned YBR to RGB
        stored = int(found.get("BitsStored") or 16)
    bits = min(stored, 8 * frame.dtype.itemsize)
    return (frame >> max(0, bits - 8)).astype(np.uint8)


def _for_frame(found: Any, number: int) -> Any:
    """Return what says how a frame is shown: in enhanced multi-frame files it stands in functional groups."""
    from pydicom.dataset import Dataset

    groups: list[Any] = list(found.get("SharedFunctionalGroupsSequence") or [])[:1]
    own = found.get("PerFrameFunctionalGroupsSequence") or []
    groups += [own[number]] if number < len(own) else []
    if not groups:
        return found
    shown = Dataset()
    for name in ("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "WindowCenter", "WindowWidth",
                 "VOILUTFunction", "VOILUTSequence"):  # fmt: skip
        if name in found:
            shown[name] = found[name]
    for group in groups:
        for sequence in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in list(group.get(sequence) or [])[:1]:
                shown.update(item)
    return shown


def _spacing(found: Any) -> tuple[float, float]:
    """Return height and width of a pixel, equal ones where the header does not tell."""
    groups = list(found.get("SharedFunctionalGroupsSequence") or [])[:1]
    measures = [item for group in groups for item in list(group.get("PixelMeasuresSequence") or [])[:1]]
    for where in (*measures, found):
        for name in ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"):
            value = where.get(name)
            if value is not None and len(value) == 2:
                return float(value[0]), float(value[1])
    return 1.0, 1.0


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
