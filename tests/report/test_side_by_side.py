"""Rows side by side: in other processes, in order, with the first error, and in this one where a fork would hang."""

import subprocess
import sys

import pytest

from vitlab.report.side_by_side import side_by_side

SCRIPT = """
import os, sys, threading, time
{first}
from vitlab.report.side_by_side import side_by_side

def work(number, seconds):
    time.sleep(seconds)
    if number > 2:
        raise ValueError(f"row {{number}} is wrong")
    return number, os.getpid()

os.sched_getaffinity = lambda process: {{0, 1}}
found = side_by_side(work, [(0, 0.2), (1, 0), (2, 0)])
print([number for number, _ in found], len({{pid for _, pid in found}} - {{os.getpid()}}))
try:
    side_by_side(work, [(0, 0.0), (3, 0.2), (4, 0)])
except ValueError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems make rows one after the other")
@pytest.mark.parametrize(
    ("first", "processes"),
    [("", 2), ("import torch", 0), ("threading.Thread(target=time.sleep, args=(3,)).start()", 0)],
)
def test_in_order_in_other_processes_where_that_is_safe(first, processes):
    command = [sys.executable, "-c", SCRIPT.format(first=first)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"[0, 1, 2] {processes}\nrow 3 is wrong\n"


def test_one_call_is_made_here():
    assert side_by_side(lambda: 1, [()]) == [1] and side_by_side(int, []) == []


TABLES = """
import sys
from pathlib import Path
{first}
from vitlab.report.formats import render
from vitlab.report.summary import build_tables
from vitlab.report.table import collect

runs, _ = collect([Path(sys.argv[1])])
for every, form in ((True, "json"), (True, "csv"), (False, "markdown")):
    tables = build_tables(runs, resamples=200, every=every)
    print(render(tables, form), *(sorted(row.scored) for row in tables[0].rows))
    print(sum(len(run.predictions) for row in tables[0].rows for own in row.scored.values() for run in own))
"""


def test_what_tables_say_does_not_depend_on_it(make_scored, tmp_path):
    test = [0.9] * 15 + [0.2] * 5
    for approach, seed in (("cnn", 0), ("cnn", 1), ("vit", 0), ("vit", 1)):
        make_scored(approach, seed, test=test[seed:] + test[:seed], train=test, val=test, per_patient=2)
    said = [
        subprocess.run(
            [sys.executable, "-c", TABLES.format(first=first), str(tmp_path / "logs")],
            check=True, capture_output=True, text=True, timeout=60,
        ).stdout
        for first in ("import torch", "")
    ]  # fmt: skip
    assert said[0] == said[1] and said[0].count("['test', 'train', 'val']") == 4 and said[0].count("['test']") == 2
