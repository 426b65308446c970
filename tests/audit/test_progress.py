"""Work in threads: results in order, and an end at once where something goes wrong."""

import time

import pytest

from vitlab.audit.progress import in_threads


def test_blocks_come_back_in_order():
    found = in_threads(lambda part: list(range(part.start, part.stop)), 10, 3, "counting")
    assert found == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert in_threads(lambda part: part, 0, 3, "nothing") == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interruption_leaves_the_rest_undone(error):
    done = []

    def work(part):
        done.append(part.start)
        time.sleep(0.002)
        if part.start == 0:
            raise error

    with pytest.raises(error):
        in_threads(work, 5000, 1, "working")
    assert len(done) < 2500
