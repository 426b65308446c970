"""The order of an epoch: a permutation of all rows, or one that keeps a disk's reads together where memory is short.

A permutation of more images than the memory holds reads the disk anew for every image, and with each the megabytes
around it that the system reads ahead. So above `WHOLE` bytes, blocks of neighbouring images are shuffled, and then each
image is delayed by a random time within a window of many blocks.
"""

import numpy as np
from numpy.typing import NDArray

# Fixed sizes, never this machine's memory: a run has the same order everywhere. Choices, not measurements, but for the
# block, which is the longest read-ahead seen on a disk.
WHOLE = 8 * 2**30  # bytes of images up to which all are shuffled among all
BLOCK = 8 * 2**20  # bytes of neighbouring images that are read together
WINDOW = 32  # blocks that a batch is drawn from; as many have to stay in memory


def shuffled(n: int, image_bytes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return an order of rows in which each comes once, (n,).

    Above `WHOLE` bytes it is that of "py1e" of MosaicML's Streaming (streaming.base.shuffle.get_shuffle_py1e: shuffled
    shards, each sample moved by a random distance within a range), where shuffle buffers, as of WebDataset (Aizman et
    al. 2019, arXiv 2001.01858), know their order only when they have read. Ours delays past the end back to the start,
    so that the first batch is drawn from a whole window too.

    Args:
        n: Number of rows.
        image_bytes: Size of an image in the cache.
        rng: Of this epoch; nothing else is random.
    """
    if n * image_bytes <= WHOLE:
        return rng.permutation(n)
    block = max(1, BLOCK // image_bytes)
    starts = rng.permutation(-(-n // block)) * block
    rows = (starts[:, None] + np.arange(block)).ravel()
    rows = rows[rows < n]
    delay = rng.integers(0, min(n, block * WINDOW), n)
    order: NDArray[np.int64] = rows[np.argsort((np.arange(n) + delay) % n, kind="stable")]
    return order
