"""Progress of the audit's stages: a bar on a terminal, one plain line elsewhere."""

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

from vitlab.cores import cores

T = TypeVar("T")

def stage(items: Iterable[T], total: int, name: str) -> Iterator[T]:
    """Yield the items of a stage, counted on a terminal, else announced in one line.

    Args:
        items: What the stage goes through.
        total: How many there are.
        name: Of the stage, shown to the user.
    """
    if not sys.stderr.isatty():
        print(f"{name} ({total})", file=sys.stderr, flush=True)
        yield from items
        return
    with tqdm(items, total=total, desc=name, leave=False) as bar:
        yield from bar


def in_threads(work: Callable[[slice], T], total: int, block: int, name: str) -> list[T]:
    """Return work(rows) for all blocks of rows below total, worked on in threads.

    Decoders, numpy, torch and faiss work outside the interpreter's lock. Threads of our own, with one thread each in
    torch and faiss, are as fast as OpenMP's on a quiet machine, and not ten times slower beside another busy process.

    Args:
        work: What to do for a block.
        total: Number of rows.
        block: Rows of a block.
        name: Of the stage, shown to the user.
    """
    blocks = [slice(start, min(start + block, total)) for start in range(0, total, block)]
    with ThreadPoolExecutor(cores()) as pool:
        try:
            return list(stage(pool.map(work, blocks), len(blocks), name))
        except BaseException:  # Ctrl-C too: do not work off what is left
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Keep torch to one thread a call, for calls from `in_threads`."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
