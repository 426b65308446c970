"""Freed blocks of a batch's size stay with the process, and are used again without page faults."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from vitlab.allocator import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()

def work(times):
    for _ in range(times):
        held = [np.empty(24 * 2**20, np.uint8) for _ in range(6)]  # two views and what they are made from
        for block in held:
            block[::4096] = 1

work(2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work(5)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")
def test_a_block_that_was_freed_is_used_again_without_a_fault():
    faults = {
        how: int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)
        for how in ("kept", "default")
    }
    assert faults["kept"] < 1000 < faults["default"]  # of 5 times 36,864 pages
