"""All rows by name, in the order of the table; their names are known before torch is imported."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatch
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from vitlab.bench.conditions import Conditions
    from vitlab.bench.measure import Row

KINDS = ("cnn", "vit", "simclr", "mae")
SUPERVISED = ("cnn", "vit")
Class = Literal["Pipeline", "Step", "Fed", "Epoch", "Overhead", "Start", "Cache", "Compare", "AuditImages", "Memory"]


def planned(device: str, sizes: Sequence[int]) -> dict[str, tuple[Class, dict[str, Any]]]:
    """Return name -> class of the row and its settings.

    Args:
        device: cpu or cuda.
        sizes: Sides of the images of the input pipeline in pixels; training is measured at one of them.
    """
    rows: dict[str, tuple[Class, dict[str, Any]]] = {}
    for size in sizes:
        rows[f"pipeline-supervised-{size}"] = "Pipeline", {"size": size, "views": 1}
        rows[f"pipeline-two-views-{size}"] = "Pipeline", {"size": size, "views": 2}
    size = training_size(device, sizes)
    for kind in KINDS:
        rows[f"step-{kind}-{size}"] = "Step", {"size": size, "kind": kind}
    for kind in SUPERVISED:
        rows[f"fed-{kind}-{size}"] = "Fed", {"size": size, "kind": kind}
        if device == "cuda":
            rows[f"fed-{kind}-{size}-copied"] = "Fed", {"size": size, "kind": kind, "resident": False}
        rows[f"epoch-{kind}-{size}"] = "Epoch", {"size": size, "kind": kind}
    small = min(sizes)
    return rows | {
        f"run-{size}": ("Overhead", {"size": size}),
        "start-help": ("Start", {}),
        "start-fit-help": ("Start", {"verb": "fit"}),
        f"cache-{small}": ("Cache", {"size": small}),
        "compare-100-runs": ("Compare", {}),
        "audit": ("AuditImages", {}),
        f"memory-{size}": ("Memory", {"size": size}),
    }


def all_rows(device: str, sizes: Sequence[int]) -> "dict[str, Callable[[Conditions], Row]]":
    """Return name -> what makes the row, of those that are planned."""
    from vitlab.bench.fed import Fed
    from vitlab.bench.files import AuditImages, Cache, Compare, Start
    from vitlab.bench.pipeline import Pipeline
    from vitlab.bench.runs import Epoch, Memory, Overhead
    from vitlab.bench.steps import Step

    classes: dict[Class, Callable[..., Row]] = {
        "Pipeline": Pipeline, "Step": Step, "Fed": Fed, "Epoch": Epoch, "Overhead": Overhead, "Start": Start,
        "Cache": Cache, "Compare": Compare, "AuditImages": AuditImages, "Memory": Memory,
    }  # fmt: skip
    return {name: partial(classes[kind], **settings) for name, (kind, settings) in planned(device, sizes).items()}


def training_size(device: str, sizes: Sequence[int]) -> int:
    """Return the side at which training is measured: what either device trains in reasonable time."""
    return max(sizes) if device == "cuda" else min(sizes)


def chosen(rows: Iterable[str], patterns: Sequence[str]) -> Iterator[str]:
    """Yield the names of rows that were asked for: whole names, or patterns such as `step-*`.

    Raises:
        ValueError: A pattern fits none.
    """
    names = list(rows)
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in names):
            raise ValueError(
                f"there is no row {pattern}: --rows takes {', '.join(names)}, or patterns such as 'step-*'"
            )
    yield from (name for name in names if not patterns or any(fnmatch(name, pattern) for pattern in patterns))
