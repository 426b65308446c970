import time

import pytest

from vitlab.bench.measure import Measured, Spent, Target, measure


class Sleeper:
    """A row whose two sides take as long as they are told."""

    name, unit, against, target = "sleeper", "s", "a shorter nap", Target(1.0, "ratio", ">= 1x")

    def __init__(self, ours=0.0, plain=0.0):
        self.lengths, self.facts, self.called = {"ours": ours, "plain": plain}, {}, []

    def _nap(self, side):
        self.called.append(side)
        start = time.perf_counter()
        time.sleep(self.lengths[side])
        return Spent(time.perf_counter() - start)

    def ours(self):
        return self._nap("ours")

    def plain(self):
        return self._nap("plain")


def test_a_planted_slow_side_is_seen():
    slow = measure(Sleeper(ours=0.06, plain=0.01), 3)
    assert slow.ratio.median < 0.5 and slow.reached is False
    fast = measure(Sleeper(ours=0.01, plain=0.06), 3)
    assert fast.ratio.median > 2 and fast.reached is True


def test_sides_take_turns_behind_a_warm_up():
    row = Sleeper()
    measured = measure(row, 3)
    assert row.called == ["ours", "plain", "ours", "plain", "plain", "ours", "ours", "plain"]
    assert len(measured.ours) == len(measured.plain) == 3


def measured(ours, plain, unit="images/s", target=None):
    pairs = [[Spent(*pair) for pair in side] for side in (ours, plain)]
    return Measured("row", unit, "plain", target, *pairs)


def test_ratios_are_of_pairs():
    """A machine that slows down by ten takes both sides of a pair with it."""
    found = measured([(1, 10), (10, 10), (1, 10)], [(2, 10), (20, 10), (2, 10)])
    assert found.ratios == [2, 2, 2] and found.ratio.low == found.ratio.high == 2
    unlike = measured([(1, 10), (10, 10), (100, 10)], [(200, 10), (2, 10), (20, 10)])
    assert unlike.ratios == pytest.approx([200, 0.2, 0.2])
    assert unlike.ratio.median == pytest.approx(0.2)


def test_counts_are_divided_out():
    """One that does twice the work in twice the time is as fast."""
    assert measured([(2, 20)] * 3, [(1, 10)] * 3).ratio.median == 1


def test_units():
    found = measured([(2, 100)] * 3, [(4, 100)] * 3)
    assert found.shown(found.ours).median == 50 and found.shown(found.plain).median == 25
    memory = measured([(2**21, 1)] * 3, [(2**20, 1)] * 3, "MiB")
    assert memory.shown(memory.ours).median == 2 and memory.ratio.median == 0.5


@pytest.mark.parametrize(("target", "reached"), [
    (Target(2, "ratio", ">= 2x"), True), (Target(2.1, "ratio", ">= 2.1x"), False),
    (Target(0.02, "ours", "0.02 s"), True), (Target(0.01, "ours", "0.01 s"), False), (None, None),
])  # fmt: skip
def test_targets(target, reached):
    assert measured([(2, 100)] * 3, [(4, 100)] * 3, target=target).reached is reached
