"""Blocks of a batch's size are had with few page faults."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

WORK = """
import resource, sys
from vitlab import allocator

how, block_of, mib = sys.argv[1], sys.argv[2], int(sys.argv[3])
if how == "without":
    allocator._has_huge_pages = lambda: False
if how != "default":
    assert allocator.allocate_cheaply()
if block_of == "torch":
    import torch
    make = lambda: torch.empty(mib * 2**20, dtype=torch.uint8)
else:
    import numpy as np
    make = lambda: np.empty(mib * 2**20, np.uint8)

def work(times):
    for _ in range(times):
        held = [make() for _ in range(6)]  # two views and what they are made from
        for block in held:
            block[::4096] = 1

work(2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work(5)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")


def faults(how: str, block_of: str, mib: int, **variables: str) -> int:
    environment = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"} | variables
    command = [sys.executable, "-c", WORK, how, block_of, str(mib)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


def test_without_huge_pages_a_block_that_was_freed_is_used_again_without_a_fault():
    assert faults("without", "numpy", 24) < 1000 < faults("default", "numpy", 24)  # of 5 times 36,864 pages


@pytest.mark.skipif(
    not HUGE_PAGES.is_file() or "[never]" in HUGE_PAGES.read_text(), reason="the kernel gives no huge pages"
)
def test_with_huge_pages_a_large_block_costs_few_faults_although_it_goes_back():
    by_default = faults("default", "torch", 48)  # more than glibc ever serves from its heap
    assert by_default > 300_000  # 5 times 6 blocks of 12,288 pages
    assert faults("ours", "torch", 48) < by_default / 8  # the ends of a block are of small pages
    assert faults("ours", "torch", 48, THP_MEM_ALLOC_ENABLE="0") > by_default / 2  # a user's own setting is kept
