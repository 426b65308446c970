"""All rows by name, in the order of the table."""

from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from functools import partial

from vitlab.bench.conditions import Conditions
from vitlab.bench.fed import Fed
from vitlab.bench.files import AuditImages, Cache, Compare, Start
from vitlab.bench.measure import Row
from vitlab.bench.pipeline import Pipeline
from vitlab.bench.runs import Epoch, Memory, Overhead
from vitlab.bench.steps import SUPERVISED, Kind, Step

KINDS: tuple[Kind, ...] = ("cnn", "vit", "simclr", "mae")


def all_rows(device: str, sizes: Sequence[int]) -> dict[str, Callable[[Conditions], Row]]:
    """Return name -> what makes the row.

    Args:
        device: cpu or cuda.
        sizes: Sides of the images of the input pipeline in pixels; training is measured at one of them.
    """
    rows: dict[str, Callable[[Conditions], Row]] = {}
    for size in sizes:
        rows[f"pipeline-supervised-{size}"] = partial(Pipeline, size=size, views=1)
        rows[f"pipeline-two-views-{size}"] = partial(Pipeline, size=size, views=2)
    size = training_size(device, sizes)
    for kind in KINDS:
        rows[f"step-{kind}-{size}"] = partial(Step, size=size, kind=kind)
    for supervised in SUPERVISED:
        rows[f"fed-{supervised}-{size}"] = partial(Fed, size=size, kind=supervised)
        if device == "cuda":
            rows[f"fed-{supervised}-{size}-copied"] = partial(Fed, size=size, kind=supervised, resident=False)
        rows[f"epoch-{supervised}-{size}"] = partial(Epoch, size=size, kind=supervised)
    small = min(sizes)
    rows |= {
        f"run-{size}": partial(Overhead, size=size),
        "start-help": Start,
        "start-fit-help": partial(Start, verb="fit"),
        f"cache-{small}": partial(Cache, size=small),
        "compare-100-runs": Compare,
        "audit": AuditImages,
        f"memory-{size}": partial(Memory, size=size),
    }
    return rows


def training_size(device: str, sizes: Sequence[int]) -> int:
    """Return the side at which training is measured: what either device trains in reasonable time."""
    return max(sizes) if device == "cuda" else min(sizes)


def chosen(rows: dict[str, Callable[[Conditions], Row]], patterns: Sequence[str]) -> Iterator[str]:
    """Yield the names of rows that were asked for: whole names, or patterns such as `step-*`.

    Raises:
        ValueError: A pattern fits none.
    """
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in rows):
            raise ValueError(f"there is no row {pattern}: --rows takes {', '.join(rows)}, or patterns such as 'step-*'")
    yield from (name for name in rows if not patterns or any(fnmatch(name, pattern) for pattern in patterns))
