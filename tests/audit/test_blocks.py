"""Means and maxima of blocks are those of numpy's own reductions, to the last bit."""

import numpy as np
import pytest

from vitlab.audit.blocks import block_maxima, block_means


@pytest.mark.parametrize("step", [1, 2, 3, 4, 8, 20])
@pytest.mark.parametrize("shape", [(96, 96), (50, 61), (3, 96, 96)])
def test_blocks_hold_what_a_reduction_over_their_axes_does(step, shape):
    pictures = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    pictures[..., :30, :30] = 255
    height, width = shape[-2] // step, shape[-1] // step
    whole = pictures[..., : height * step, : width * step]
    blocks = whole.reshape(*shape[:-2], height, step, width, step)
    means, before = block_means(pictures, step), pictures.copy()
    assert means.dtype == np.float32 and (means == blocks.mean((-3, -1), dtype=np.float32)).all()
    assert (block_maxima(pictures, step) == blocks.max((-3, -1))).all() and (pictures == before).all()
