"""Processes forked from one that has imported torch: what costs 8 seconds a start, and a core's, costs them once.

The process that is forked from never computes, so that what comes from it is as new as what is started. It runs the
command that it is given, `-m MODULE` or `-c CODE`, as `__main__`, and ends without Python's own end.
"""

import contextlib
import json
import os
import runpy
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from types import SimpleNamespace

REPO = Path(__file__).parents[1]


class Nursery:
    """The process that others are forked from, started when there is a first one."""

    def __init__(self):
        self.process = None

    def _start(self):
        self.socket, theirs = socket.socketpair()
        command = [sys.executable, "-c", "from tests.forked import serve; serve()", str(theirs.fileno())]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=REPO)
        theirs.close()

    def close(self):
        if self.process is not None:
            self.socket.close()
            self.process.wait(60)

    def popen(self, command, *, spares=0, **settings):
        """Start a process as `subprocess.Popen` does.

        Args:
            command: `[sys.executable, "-m", MODULE, ...]` or `[sys.executable, "-c", CODE, ...]`.
            spares: How many workers of a study or ranks of Lightning it may start that are forked as well. These are
                its own children, as real ones are, and lie in wait from the beginning, before it computes.
            settings: Of `Popen`, where `Forked` knows them.
        """
        if self.process is None:
            self._start()
        return Forked(self._order, command, spares=spares, **settings)

    def run(self, command, *, timeout=None, **settings):
        """Wait for a process and return its code and what it said, as `subprocess.run` does."""
        process = self.popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **settings)
        out, err = process.communicate(timeout)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def _order(self, order, streams):
        """Return the process id of a new process, and what waits for its exit code."""
        status, told = os.pipe()
        socket.send_fds(self.socket, [order], [*streams, told])
        os.close(told)
        answers = os.fdopen(status)
        # nothing is told where the process between was killed
        return int(answers.readline()), lambda: int(answers.readline() or -9)


class Forked:
    """What tests, `vitlab.study.workers` and Lightning use of a Popen."""

    def __init__(
        self, hand_over, command, *, stdin=None, stdout=None, stderr=None, text=True, errors=None, env=None,
        cwd=None, start_new_session=False, spares=0,
    ):  # fmt: skip
        assert command[0] == sys.executable and text
        order = {"command": command[1:], "env": dict(os.environ if env is None else env), "cwd": cwd or os.getcwd(),
                 "session": start_new_session, "spares": spares}  # fmt: skip
        self.args, self.returncode, self._ended = command, None, threading.Event()
        self._opened, self._errors, theirs = [], errors, []
        self.stdin = self._stream(stdin, 0, theirs)
        self.stdout = self._stream(stdout, 1, theirs)
        self.stderr = self._stream(stderr, 2, theirs)
        self.pid, wait = hand_over(json.dumps(order).encode() + b"\n", theirs)
        for number in self._opened:
            os.close(number)
        threading.Thread(target=self._watch, args=(wait,), daemon=True).start()

    def _stream(self, wanted, number, theirs):
        """Add the process's side of a stream to `theirs` and return ours, if there is one."""
        ours = None
        if wanted == subprocess.PIPE:
            read, write = os.pipe()
            ours, end = (os.fdopen(write, "w"), read) if number == 0 else (
                os.fdopen(read, errors=self._errors), write
            )  # fmt: skip
            self._opened.append(end)
        elif wanted == subprocess.DEVNULL:
            self._opened.append(end := os.open(os.devnull, os.O_RDWR))
        elif wanted == subprocess.STDOUT:
            end = theirs[1]
        elif wanted is None:
            end = number  # as it is now: pytest lays a file over it for each test
        else:
            end = wanted.fileno()
        theirs.append(end)
        return ours

    def _watch(self, wait):
        self.returncode = wait()
        self._ended.set()

    def poll(self):
        return self.returncode

    def wait(self, timeout=None):
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def communicate(self, timeout=None):
        said = {}
        deadline = time.monotonic() + (timeout or 1e6)
        if self.stdin:
            self.stdin.close()
        readers = [
            threading.Thread(target=lambda name=name, stream=stream: said.update({name: stream.read()}), daemon=True)
            for name, stream in (("stdout", self.stdout), ("stderr", self.stderr))
            if stream
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(max(0, deadline - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout)
        self.wait(max(0, deadline - time.monotonic()))
        return said.get("stdout"), said.get("stderr")

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(15)

    def kill(self):
        self.send_signal(9)


def serve():
    """Fork a process for each order that comes, until nobody can ask any more."""
    from vitlab.collector import paused

    with paused():
        import omegaconf  # noqa: F401  # Lightning's loggers and checkpoints import them late
        import tensorboard.plugins.projector  # noqa: F401
        import torch.distributed.fsdp  # noqa: F401

        from vitlab.study import worker  # noqa: F401

    asked = socket.socket(fileno=int(sys.argv[1]))
    while order := _receive(asked, 4):
        if os.fork() == 0:
            asked.close()
            _guard(*order)
        for number in order[1]:
            os.close(number)
        _reap(os.WNOHANG)
    _reap(0)
    os._exit(0)  # Python's own end takes a second with all these modules


def _receive(asked, streams):
    """Return an order and its streams, or None when there is nobody to ask."""
    message, passed, _, _ = socket.recv_fds(asked, 2**20, streams)
    while message and not message.endswith(b"\n"):
        message += asked.recv(2**20)
    return (json.loads(message), passed) if message else None


def _reap(options):
    """Wait for the guards that have ended, or without options for all."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, options)[0]:
            pass


def _guard(order, passed):
    """Fork the process, and tell its process id and, when it has ended, its code."""
    *streams, told = passed
    pid = os.fork()
    if pid == 0:
        os.close(told)
        _work(order, streams)
    for number in streams:
        os.close(number)
    os.write(told, f"{pid}\n".encode())
    os.write(told, f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n".encode())
    os._exit(0)


def _work(order, streams):
    """Be the process that was asked for."""
    import torch
    from lightning.fabric.utilities import rank_zero

    if order["session"]:
        os.setsid()
    if order["spares"]:
        _keep_spares(order["spares"], streams)
    for number, own in zip(streams, range(3), strict=True):
        os.dup2(number, own)
    for number in {*streams} - {0, 1, 2}:
        os.close(number)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.path[:0] = [path for path in order["env"].get("PYTHONPATH", "").split(os.pathsep) if path not in sys.path]
    torch.set_num_threads(int(order["env"]["OMP_NUM_THREADS"]))
    rank_zero.rank_zero_only.rank = rank_zero._get_rank() or 0  # read from the environment at the import
    code = 1
    try:
        code = _run(*order["command"])
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _run(flag, what, *args):
    """Run a module or some code as Python does, and return the exit code."""
    sys.argv = [flag, *args]
    try:
        if flag == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as exit_:
        if isinstance(exit_.code, str):
            print(exit_.code, file=sys.stderr)
        return int(isinstance(exit_.code, str) or exit_.code or 0)
    return 0


def _keep_spares(count, streams):
    """Fork processes that wait for an order, and let the workers of a study and Lightning's ranks be these."""
    from lightning.pytorch.strategies.launchers import subprocess_script

    from vitlab.study import workers

    spares = []
    for _ in range(count):
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            for _, other in spares:
                other.close()
            ours.close()
            for number in streams:  # they end when the last process that has them ends
                os.close(number)
            order = _receive(theirs, 3)
            theirs.close()
            _work(*order) if order else os._exit(0)
        theirs.close()
        spares.append((pid, ours))

    def hand_over(order, own):
        pid, asked = spares.pop(0)
        socket.send_fds(asked, [order], own)
        asked.close()
        return pid, lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def popen(command, **settings):
        return Forked(hand_over, command, **settings)

    for module in (workers, subprocess_script):
        module.subprocess = SimpleNamespace(
            Popen=popen, PIPE=subprocess.PIPE, SubprocessError=subprocess.SubprocessError, run=subprocess.run
        )
