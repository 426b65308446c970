"""The order of an epoch: a permutation where images fit in memory, else mixed blocks that a disk reads at once."""

import numpy as np
import pytest

from vitlab.data import shuffle
from vitlab.data.batches import BatchSampler
from vitlab.data.shuffle import shuffled

N, IMAGE = 200_000, 64 * 64
PER_BLOCK = 2048


@pytest.fixture
def large(monkeypatch):
    """Make 200,000 images of 64 px, 780 MiB, count as more than memory holds."""
    monkeypatch.setattr(shuffle, "WHOLE", 512 * 2**20)


def epoch(number, seed=0):
    return shuffled(N, IMAGE, np.random.default_rng((seed, number)))


def test_what_fits_is_a_permutation_of_all_by_the_epoch_s_generator_alone():
    rng = np.random.default_rng((3, 5))
    assert (shuffled(1000, IMAGE, np.random.default_rng((3, 5))) == rng.permutation(1000)).all()
    edge = shuffle.WHOLE // 2**20
    exact = np.random.default_rng(1).permutation(edge)
    assert (shuffled(edge, 2**20, np.random.default_rng(1)) == exact).all()
    assert (shuffled(edge, 2**20 + 1, np.random.default_rng(1)) != exact).any()


def test_every_row_comes_once_and_every_epoch_is_another(large):
    first, second = epoch(0), epoch(1)
    assert (np.sort(first) == np.arange(N)).all() and (np.sort(second) == np.arange(N)).all()
    assert (first == epoch(0)).all() and (first != second).mean() > 0.99 and (first != epoch(0, seed=1)).mean() > 0.99
    # What were neighbours in one epoch are none in the next.
    place = np.empty(N, np.int64)
    place[second] = np.arange(N)
    assert np.median(np.abs(np.diff(place[first]))) > N / 10


def test_each_batch_mixes_a_whole_window_from_the_first_to_the_last(large):
    """128 draws from 32 to 33 blocks meet nearly all of them, where a permutation of 98 blocks would meet 72."""
    batches = epoch(0)[: N // 128 * 128].reshape(-1, 128)
    blocks = np.array([len(np.unique(batch // PER_BLOCK)) for batch in batches])
    assert 29 < blocks.mean() < 34 and blocks.min() > 20 and blocks.max() < 45
    assert blocks[:5].min() > 25 and blocks[-5:].min() > 25
    # Sorted by class as a folder a class is: ten classes of equal size, so that one block has one class.
    shares = np.array([np.bincount(batch * 10 // N, minlength=10) / 128 for batch in batches])
    # sqrt(p (1 - p) (1 / 32 blocks + 1 / 128 draws)) is .059; in a permutation it is .027, in sorted batches .3.
    assert 0.04 < shares.std(0).mean() < 0.07
    assert shares.mean(0) == pytest.approx(np.full(10, 0.1), abs=0.002)


def test_the_disk_is_read_in_whole_blocks(large):
    """Count reads of 8 MiB in a memory of 48 blocks, the least recently used given up first."""

    def reads(order):
        held, count = {}, 0
        for block in (order // PER_BLOCK).tolist():
            count += block not in held
            held.pop(block, None)
            held[block] = None
            if len(held) > 48:
                del held[next(iter(held))]
        return count

    blocks = -(-N // PER_BLOCK)
    assert reads(np.arange(N)) == blocks
    assert reads(epoch(0)) <= blocks + shuffle.WINDOW + 1  # those delayed past the end are read at both ends
    assert reads(np.random.default_rng(0).permutation(N)) > 0.4 * N


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_and_resumes_share_one_order(large, world_size):
    settings = {"seed": 0, "image_bytes": IMAGE}
    one = list(BatchSampler(N, 60 * world_size, **settings))
    ranks = [list(BatchSampler(N, 60, rank=rank, world_size=world_size, **settings)) for rank in range(world_size)]
    for step in (0, 7, len(one) - 1):
        assert np.concatenate([batches[step] for batches in ranks]).tolist() == one[step].tolist()
    rest = list(BatchSampler(N, 60 * world_size, progress=lambda: (0, 100), **settings))
    assert all((mine == whole).all() for mine, whole in zip(rest, one[100:], strict=True))


def test_images_larger_than_a_block_are_shuffled_too(monkeypatch):
    monkeypatch.setattr(shuffle, "WHOLE", 100)
    assert sorted(shuffled(50, shuffle.BLOCK * 2, np.random.default_rng(0))) == list(range(50))
