"""How workers begin: what is printed then is no answer of theirs, and torch finds huge pages asked for."""

import os
import queue
import subprocess
import sys

import pytest

from vitlab.study import workers

PRINTS = """
import os

os.write(1, b'a banner\\n[1]\\n{"level": "info"}\\n\\xff\\nno end')  # by a library, when it is imported
from vitlab.study.__main__ import main

raise SystemExit(main())
"""
FAKE_TORCH = """
import os

print(os.environ.get("THP_MEM_ALLOC_ENABLE"), flush=True)
os._exit(0)
"""


def test_what_is_printed_at_an_import_is_no_answer(nursery, monkeypatch):
    def popen(command, **settings):
        return nursery.popen([command[0], "-c", PRINTS], **settings)

    monkeypatch.setattr(workers.subprocess, "Popen", popen)
    events = queue.Queue()
    worker = workers.Worker(events, 1, None)
    try:
        assert events.get(timeout=60) == (worker, {"event": "ready"})
    finally:
        worker.kill()
    assert events.get(timeout=60)[1]["event"] == "gone"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux has them")
@pytest.mark.parametrize(("outside", "found"), [({}, "1"), ({"THP_MEM_ALLOC_ENABLE": "0"}, "0")])
def test_a_worker_that_inherits_nothing_asks_for_huge_pages_itself(tmp_path, outside, found):
    (tmp_path / "torch.py").write_text(FAKE_TORCH)
    inherited = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    environment = {**inherited, "PYTHONPATH": str(tmp_path), **outside}
    command = [sys.executable, "-m", "vitlab.study"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == found, done.stderr


def test_workers_that_cannot_start_end_the_study_in_one_line(study, capsys, monkeypatch):
    monkeypatch.setattr(workers.subprocess, "Popen", lambda _, **settings: subprocess.Popen(["false"], **settings))
    assert study.run() == 2
    said = "the worker that checks settings ends before it begins: mend what it says above"
    assert capsys.readouterr().err.strip().splitlines()[-1] == f"vitlab study: {said}"
    assert not list(study.root.rglob("results.json"))
