"""Rows side by side: in other processes, in order, with the first error, and in this one where a fork would hang.

Whatever ends `compare` ends these processes too, at once.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vitlab.report.side_by_side import side_by_side

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems make rows one after the other")

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
unpickled = threading.Lock()  # arguments are inherited
print(side_by_side(lambda number, lock: number, [(0, unpickled), (1, unpickled)]))
"""


@linux
@pytest.mark.parametrize(
    ("first", "processes"),
    [("", 2), ("import torch", 0), ("threading.Thread(target=time.sleep, args=(3,)).start()", 0)],
)
def test_in_order_in_other_processes_where_that_is_safe(first, processes):
    command = [sys.executable, "-c", SCRIPT.format(first=first)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"[0, 1, 2] {processes}\nrow 3 is wrong\n[0, 1]\n"


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


SLOW = """
import os, sys, time
from pathlib import Path
from vitlab.report import pairs, summary

def slow(*arguments):
    Path(sys.argv[2], str(os.getpid())).touch()
    time.sleep(float(sys.argv[3]))

os.sched_getaffinity = lambda process: {{0, 1}}
{module}.{function} = slow
from vitlab.cli import main
raise SystemExit(main(["compare", sys.argv[1], "--out", sys.argv[1] + "/table.md"]))
"""
ROWS = SLOW.format(module="summary", function="make_row")


def start(make_scored, tmp_path, script, *, seconds=60):
    """Start `compare` on three rows whose every call takes some time, and wait for two processes to be at it."""
    for approach in ("cnn", "vit", "vit_mae"):
        make_scored(approach, test=[0.9] * 15 + [0.2] * 5, per_patient=2)
    logs, pids = tmp_path / "logs", tmp_path / "pids"
    pids.mkdir()
    (logs / "table.md").write_text("an earlier one\n")
    command = [sys.executable, "-c", script, str(logs), str(pids), str(seconds)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, **streams, start_new_session=True)
    until(lambda: len(list(pids.iterdir())) == 2)
    return process, [int(file.name) for file in pids.iterdir()], logs


def until(true, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def runs(pid):
    """Whether a process is there, and not merely waiting for its end to be read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@linux
@pytest.mark.parametrize("script", [ROWS, SLOW.format(module="pairs", function="_compared")], ids=["rows", "tests"])
@pytest.mark.parametrize("to", ["group", "process"])
def test_ctrl_c_ends_all_at_once(make_scored, tmp_path, script, to):
    """A terminal sends it to all, `kill -INT` to one: nothing is said, written or left running."""
    process, pids, logs = start(make_scored, tmp_path, script)
    assert process.pid not in pids and all(map(runs, pids))
    before = sorted(logs.rglob("*"))
    (os.killpg if to == "group" else os.kill)(process.pid, signal.SIGINT)
    began = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - began < 10  # of the 60 s that a call takes; at once on a quiet machine
    assert (process.returncode, out, err) == (130, "", "")
    assert not any(map(runs, pids))
    assert sorted(logs.rglob("*")) == before and (logs / "table.md").read_text() == "an earlier one\n"


@linux
def test_a_process_that_is_killed_is_told_of_in_one_line(make_scored, tmp_path):
    process, pids, logs = start(make_scored, tmp_path, ROWS)
    os.kill(pids[0], signal.SIGKILL)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, "") and not any(map(runs, pids))
    assert err == "vitlab compare: a process that made rows was killed: is there enough memory?\n"
    assert (logs / "table.md").read_text() == "an earlier one\n"


@linux
def test_processes_end_behind_one_that_was_killed(make_scored, tmp_path):
    process, pids, _ = start(make_scored, tmp_path, ROWS, seconds=1)
    process.kill()
    process.communicate(timeout=30)
    until(lambda: not any(map(runs, pids)))
