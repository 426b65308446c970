"""Names of patients, images and classes: numbered in order, and ranked as if by chance."""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def unique(texts: NDArray[np.str_]) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Returns what np.unique(texts, return_inverse=True) does, with less memory."""
    listed = texts.tolist()
    names = sorted(set(listed))
    place = {name: number for number, name in enumerate(names)}
    return np.array(names, dtype=texts.dtype), np.fromiter(map(place.__getitem__, listed), np.int64, len(listed))


def hash_rank(names: Iterable[str], seed: int, purpose: str) -> NDArray[np.uint64]:
    """Returns a number for each name that looks random, is the same everywhere and depends on no other name."""
    digests = b"".join(
        hashlib.blake2b(f"{seed}:{purpose}:{name}".encode(errors="surrogateescape"), digest_size=8).digest()
        for name in names  # a path among them may be of any bytes
    )
    return np.frombuffer(digests, ">u8").astype(np.uint64)
