import subprocess
import sys

import torch

from vitlab.memory import peak_bytes

CPU = torch.device("cpu")
SAY = "import torch; from vitlab.memory import peak_bytes; print(peak_bytes(torch.device('cpu')))"


def test_the_peak_is_this_process_s_own():
    """A process that is started by a large one does not count the large one's memory."""
    alone = int(subprocess.run([sys.executable, "-c", SAY], capture_output=True, text=True, check=True).stdout)
    large = torch.ones(300 * 2**20, dtype=torch.uint8)
    before = peak_bytes(CPU)
    beside = int(subprocess.run([sys.executable, "-c", SAY], capture_output=True, text=True, check=True).stdout)
    assert before > alone + len(large) // 2
    assert beside < alone + len(large) // 4


def test_it_grows_with_what_is_held():
    before = peak_bytes(CPU)
    held = torch.ones(200 * 2**20, dtype=torch.uint8)
    more = torch.ones(400 * 2**20, dtype=torch.uint8)
    assert peak_bytes(CPU) >= min(before, len(held)) + len(more) // 2
