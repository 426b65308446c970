"""Names: numbered as numpy numbers them, and ranked the same everywhere."""

import numpy as np
import pytest

from vitlab.data.names import hash_rank, unique


@pytest.mark.parametrize(
    "texts",
    [["b", "a", "b", ""], ["é", "z", "e\u0301", "\U0001f600", "\uffff", "Z"], ["image:a\udc80.png", "p 1"], []],
)
def test_names_are_numbered_as_numpy_does(texts):
    texts = np.array(texts, dtype=np.str_)
    names, codes = np.unique(texts, return_inverse=True)
    found = unique(texts)
    assert found[0].tolist() == names.tolist() and found[0].dtype == names.dtype
    assert found[1].tolist() == codes.tolist() and found[1].dtype == np.int64


def test_ranks_are_fixed_numbers_that_depend_on_no_other_name():
    ranks = hash_rank(["a", "b", "a\udc80"], 0, "split")
    assert ranks.dtype == np.uint64 and ranks[1] == hash_rank(["b"], 0, "split")[0]
    assert hash_rank(["a"], 0, "split").tolist() == [17939901320043363433]
    assert len({int(hash_rank(["a"], seed, purpose)[0]) for seed in (0, 1) for purpose in ("split", "class")}) == 4
