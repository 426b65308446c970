"""How workers begin: what is printed then is no answer of theirs."""

import queue

from vitlab.study import workers

PRINTS = """
import os

os.write(1, b'a banner\\n[1]\\n{"level": "info"}\\n\\xff\\nno end')  # by a library, when it is imported
from vitlab.study.__main__ import main

raise SystemExit(main())
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
