"""How many threads a process was told to use."""

import pytest

from vitlab.cores import stated_threads


@pytest.mark.parametrize(
    ("stated", "threads"), [("3", 3), ("4,2", 4), (" 2 ", 2), ("0", None), ("", None), ("many", None), ("²", None)]
)
def test_threads_are_those_stated_where_it_is_a_number_of_threads(stated, threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", stated)
    assert stated_threads() == threads
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert stated_threads() is None
