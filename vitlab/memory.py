"""The most memory that a process or its device has held."""

import contextlib
import resource
import sys
from pathlib import Path

import torch


def peak_bytes(device: torch.device) -> int:
    """Return the peak of the memory allocated on a GPU, or of the process on a CPU.

    That of the process is read from /proc on Linux, where getrusage counts what the parent held when it started it.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts in bytes, others in KiB
