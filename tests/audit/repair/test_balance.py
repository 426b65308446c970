"""Balance against every possible choice, where they are few, and in time, where they are many."""

import itertools
import time

import numpy as np
import pytest

from vitlab.audit.repair.balance import PRICE, balance, target


def case(seed, groups, sides=3, classes=2, size=12):
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), rng.integers(1, size, groups))
    label = np.where(rng.random(len(group)) < 0.8, rng.integers(0, classes, groups)[group], 0)
    share = np.r_[0.6, np.full(sides - 1, 0.4 / (sides - 1))]
    whole = rng.random(len(group)) < 0.7
    side = np.where(whole, rng.choice(sides, groups, p=share)[group], rng.choice(sides, len(group), p=share))
    free = side[:, None] == np.arange(sides)
    published = np.zeros((sides, classes), int)
    np.add.at(published, (side, label), 1)
    return published, label, free, group


def solve(published, label, free, group, allowed=None):
    groups = group.max() + 1
    allowed = np.ones((groups, len(published)), bool) if allowed is None else allowed
    wanted = target(published, np.bincount(label, minlength=published.shape[1]))
    return wanted, balance(wanted, label, free, group, allowed, np.arange(groups).astype(np.uint64))


@pytest.mark.parametrize("seed", range(20))
def test_of_all_choices_it_finds_the_best(seed):
    published, label, free, group = case(seed, groups=4 + seed % 4)
    wanted, chosen = solve(published, label, free, group)
    weight = wanted.sum(1, keepdims=True)

    def total(sides):
        of = np.array(sides)[group]
        have = np.zeros(wanted.shape)
        np.add.at(have, (of, label), 1)
        classes = ((have - wanted) ** 2 / (np.maximum(weight, 1) * np.maximum(wanted, 1))).sum()
        sizes = ((have.sum(1) - wanted.sum(1)) ** 2 / np.maximum(weight[:, 0], 1) ** 2).sum()
        return classes + sizes + PRICE * (~free[np.arange(len(of)), of]).mean()

    best = min(map(total, itertools.product(range(3), repeat=group.max() + 1)))
    assert total(chosen) == pytest.approx(best)


def test_the_target_is_what_was_published_where_nothing_is_dropped_and_else_keeps_the_sizes():
    published = np.array([[70, 30, 0], [10, 8, 2]])
    assert target(published, published.sum(0)) == pytest.approx(published)
    kept = np.array([40, 38, 2])
    wanted = target(published, kept)
    assert wanted.sum(0) == pytest.approx(kept) and wanted[0, 2] == 0
    assert wanted.sum(1) == pytest.approx([80 * 100 / 120, 80 * 20 / 120], rel=1e-3)
    shares = wanted / wanted.sum(1, keepdims=True) - published / published.sum(1, keepdims=True)
    assert np.abs(shares[1]).max() < np.abs(shares[0]).max()


def test_a_class_that_is_nearly_all_copies_stays_in_training():
    wanted = target(np.array([[100, 900], [20, 180]]), np.array([20, 1080]))
    assert wanted[0, 0] > 6 and wanted[:, 0].sum() == pytest.approx(20)


def test_a_group_goes_where_it_may_only():
    published, label, free, group = case(0, groups=30)
    allowed = np.zeros((30, 3), bool)
    allowed[np.arange(30), np.arange(30) % 3] = True
    assert solve(published, label, free, group, allowed)[1].tolist() == (np.arange(30) % 3).tolist()


@pytest.mark.parametrize(("sides", "classes", "size"), [(3, 4, 2), (15, 10, 8)])
def test_a_hundred_thousand_groups_take_seconds(sides, classes, size):
    published, label, free, group = case(0, 100_000, sides, classes, size)
    start = time.process_time()
    wanted, chosen = solve(published, label, free, group)
    assert time.process_time() - start < 10
    have = np.zeros(wanted.shape)
    np.add.at(have, (chosen[group], label), 1)
    assert np.abs(have / have.sum(1, keepdims=True) - wanted / wanted.sum(1, keepdims=True)).max() < 0.003
    assert np.abs(have.sum(1) / wanted.sum(1) - 1).max() < 0.005
