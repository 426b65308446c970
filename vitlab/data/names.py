"""Names of patients, images and classes: numbered in order, and ranked as if by chance."""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def unique(texts: NDArray[np.str_]) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Return what np.unique(texts, return_inverse=True) does, with less memory.

    Args:
        texts: (N,), of which K differ.

    Returns:
        The names, sorted, (K,), and the place of each text among them, int64 (N,).
    """
    listed = texts.tolist()
    names = sorted(set(listed))
    place = {name: number for number, name in enumerate(names)}
    return np.array(names, dtype=texts.dtype), np.fromiter(map(place.__getitem__, listed), np.int64, len(listed))


def hash_rank(names: Iterable[str], seed: int, purpose: str) -> NDArray[np.uint64]:
    """Return a number for each name that looks random, is the same everywhere and depends on no other name.

    Args:
        names: N names.
        seed: Other seeds give other numbers.
        purpose: What they are for, so that the numbers of two purposes have nothing to do with each other.

    Returns:
        uint64 (N,).
    """
    digests = b"".join(
        hashlib.blake2b(f"{seed}:{purpose}:{name}".encode(errors="surrogateescape"), digest_size=8).digest()
        for name in names  # a path among them may be of any bytes
    )
    return np.frombuffer(digests, ">u8").astype(np.uint64)
