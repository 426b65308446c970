"""Tumour masks on the model's square: where on an image, as the model sees it, the lesion lies.

Shapes: N images, H = W = image_size.
"""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitlab.cores import cores
from vitlab.data.datamodule import ImageDataModule
from vitlab.data.decode import reason, to_square

HALF = 127.5  # of 255: a pixel of the square is lesion where at least half of its area is


def masks_of(data: ImageDataModule, rows: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the masks of images, padded or cropped and resized as the images in the cache are.

    Masks are resized by area, so that a lesion keeps its size; one that covers no half of any pixel is gone, and its
    image counts as one without a mask, as does an image whose mask cannot be read (`audit` names those; so does one
    warning here).

    Args:
        data: Of the images.
        rows: Of the manifest, (N,).

    Returns:
        Masks, (N, H, W), empty where there is none; and whether there is one, (N,).
    """
    paths = data.source_manifest.mask_path[rows].tolist()
    size = data.image_size
    masks = np.zeros((len(rows), size, size), np.bool_)

    def read(at: int) -> str:
        try:
            mask = np.asarray(data.source.read_mask(paths[at]), np.bool_)
            square = to_square(Image.fromarray(mask.astype(np.uint8) * 255), size, data.fit, Image.Resampling.BOX)
        except Exception as error:  # decoders raise anything from struct.error to SyntaxError
            return f"{paths[at]} ({reason(error)})"
        masks[at] = np.asarray(square) > HALF
        return ""

    named = [at for at, path in enumerate(paths) if path]
    with ThreadPoolExecutor(min(4, cores())) as pool:
        failed = [line for line in pool.map(read, named) if line]
    data.source.close()
    if failed:
        warnings.warn(
            f"{len(failed)} of {len(named)} masks cannot be read, and their images are left out: {failed[0]}"
            + (" and more" if len(failed) > 1 else ""),
            stacklevel=2,
        )
    there: NDArray[np.bool_] = np.asarray(masks.any((1, 2)))
    return masks, there
