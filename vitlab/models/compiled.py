"""How a model is compiled: not at all, by torch's default, or in one of its other modes."""

from collections.abc import Callable
from typing import Literal, TypeVar, cast

# reduce-overhead replays CUDA graphs, where launching the kernels takes longer than running them, as in small models.
CompileMode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]
Work = TypeVar("Work", bound=Callable[..., object])


def compiled(work: Work, chosen: bool | str) -> Work:
    """Return a function or module compiled.

    Args:
        work: A method or a module.
        chosen: A mode of `torch.compile`; True is the default one, False changes nothing.
    """
    import torch

    if not chosen:
        return work
    return cast("Work", torch.compile(work, mode="default" if chosen is True else chosen))
