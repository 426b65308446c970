import json

import numpy as np
import pytest

from vitlab.audit.copies.pairs import KINDS, Pairs
from vitlab.audit.page.pictures import choose_pairs, script_json


def test_few_pairs_are_all_shown():
    split = np.array(["train", "test", "train"], object)
    pairs = Pairs(np.array([0, 0, 1]), np.array([2, 1, 2]), np.array(["same file"] * 3, object), np.ones(3, np.float32))
    chosen = choose_pairs(pairs, split, np.array(["", "", ""], object))
    assert sorted(zip(chosen.first, chosen.second, strict=True)) == [(0, 1), (0, 2), (1, 2)]
    assert (chosen.first[-1], chosen.second[-1]) == (0, 2)  # the one within a split comes last


@pytest.mark.parametrize("limit", [100, 1000])
def test_every_kind_is_shown_however_many_exact_pairs_there_are(limit):
    rare = np.array([*KINDS[1:]], object)
    kinds = np.concatenate([np.full(5000, KINDS[0], object), rare, rare])
    count = len(kinds)
    split = np.array(["train", "test"] * count, object)
    pairs = Pairs(np.arange(count) * 2, np.arange(count) * 2 + 1, kinds, np.linspace(1, 0.86, count, dtype=np.float32))
    chosen = choose_pairs(pairs, split, np.full(2 * count, "a", object), limit)
    assert len(chosen) == limit == len(np.unique(chosen.first))
    assert {kind: int((chosen.kind == kind).sum()) for kind in KINDS[1:]} == dict.fromkeys(KINDS[1:], 2)
    # The rest are the worst of all, and the order is that of all pairs.
    assert set(np.flatnonzero(kinds == KINDS[0])[: limit - 2 * len(rare)]) <= set(chosen.first // 2)
    assert chosen.kind[0] == KINDS[0] and chosen.kind[-1] == KINDS[-1]


def test_json_that_cannot_end_its_element():
    value = {"path": ["</script><!--<script>", "]]>", "a & b", "\u2028", "é"]}
    written = script_json(value)
    assert not set("<>&\u2028") & set(written)
    assert json.loads(written) == value
