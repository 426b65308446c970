"""The lock of a run folder: between processes, gone with them, and no trace of it left."""

import os
import signal
import subprocess
import sys
import time

import pytest

from vitlab.lock import InUse, hold

HOLDER = "import sys, time; from pathlib import Path; from vitlab.lock import hold\n" \
         "with hold(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"  # fmt: skip


def holder(folder):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_another_process_is_kept_out_until_it_is_dead(tmp_path):
    folder = tmp_path / "study" / "cnn" / "seed0"
    process = holder(folder)
    with pytest.raises(InUse, match="another process is training in"), hold(folder):
        pass
    process.kill()
    process.wait()
    with hold(folder), hold(folder):  # ours already
        (folder).mkdir()
        folder.rename(tmp_path / "moved")  # the lock is not in it
    assert (tmp_path / "moved").is_dir() and not list(tmp_path.rglob(".*"))


def test_what_a_dead_process_has_forked_holds_nothing(tmp_path):
    """A loader process outlives `kill -9` of its run by seconds; the run holds its lock whatever the loader does."""
    code = (
        "import os, sys, time; from pathlib import Path; from vitlab.lock import hold\n"
        "with hold(Path(sys.argv[1])):\n"
        "    if os.fork() == 0: os.write(1, b'forked\\n'); time.sleep(60)\n"
        "    if os.fork() == 0: os._exit(0)\n"
        "    os.wait(); os.write(1, b'held\\n'); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "seed0")], stdout=subprocess.PIPE, text=True,
                               start_new_session=True)  # fmt: skip
    try:
        assert {process.stdout.readline(), process.stdout.readline()} == {"forked\n", "held\n"}
        with pytest.raises(InUse), hold(tmp_path / "seed0"):
            pass
        process.kill()
        process.wait()
        os.killpg(process.pid, 0)  # the loader lives
        with hold(tmp_path / "seed0"):
            pass
    finally:
        os.killpg(process.pid, signal.SIGKILL)


def test_a_forked_process_neither_holds_nor_ends_a_lock(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from vitlab.lock import InUse, hold\n"
        "folder, child = Path(sys.argv[1]), None\n"
        "with hold(folder):\n"
        "    if (child := os.fork()) == 0:\n"
        "        try:\n"
        "            with hold(folder): print('held by both')\n"
        "        except InUse: pass\n"
        "    else: os.wait(); print(folder.with_name('.seed0.lock').exists())\n"
        "if child: print(folder.with_name('.seed0.lock').exists())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "seed0")], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True\nFalse\n", "")


def test_one_of_many_holds_it_at_a_time(tmp_path):
    """Eight processes take turns at one counter, with the lock file removed at each turn."""
    count = (
        "import sys, time; from pathlib import Path; from vitlab.lock import InUse, hold\n"
        "folder, total = Path(sys.argv[1]) / 'run', Path(sys.argv[1]) / 'total'\n"
        "for _ in range(50):\n"
        "    while True:\n"
        "        try:\n"
        "            with hold(folder):\n"
        "                value = int(total.read_text()); time.sleep(0.0005); total.write_text(str(value + 1))\n"
        "            break\n"
        "        except InUse: time.sleep(0.0005)\n"
    )
    (tmp_path / "total").write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", count, str(tmp_path)]) for _ in range(8)]
    assert [process.wait(timeout=120) for process in processes] == [0] * 8
    assert (tmp_path / "total").read_text() == "400"
    assert [path.name for path in tmp_path.iterdir()] == ["total"]


def test_a_mistake_leaves_no_folder(tmp_path):
    start = time.monotonic()
    with pytest.raises(ValueError, match="mistake"), hold(tmp_path / "a" / "b" / "seed0"):
        raise ValueError("mistake")
    assert list(tmp_path.iterdir()) == [] and time.monotonic() - start < 5


@pytest.mark.parametrize(("root", "why"), [("/proc/vitlab", "No such file"), ("file/below", "Not a directory")])
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, root, why):
    """In /proc a new folder is not forbidden, it is missing: as one that another process has just removed."""
    (tmp_path / "file").write_text("")
    start = time.monotonic()
    with pytest.raises(OSError, match=f"cannot write to .*{root}/study \\({why}.*\\): choose another folder"):
        with hold(tmp_path / root / "study" / "seed0"):
            pass
    assert time.monotonic() - start < 10
