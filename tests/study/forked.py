"""Workers of a study forked from one process that has imported torch: what costs seconds a start costs them once.

The process never computes, so that what is forked from it is as new as what is started. Studies that are started as
processes of their own start their workers as users' do.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading


class Nursery:
    """The process that workers are forked from, started when there is a first one."""

    def __init__(self):
        self.process = None

    def _start(self):
        self.socket, theirs = socket.socketpair()
        command = [sys.executable, "-c", "from tests.study.forked import serve; serve()", str(theirs.fileno())]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()

    def close(self):
        if self.process is not None:
            self.socket.close()
            self.process.wait(60)

    def popen(self, command, *, stdin, stdout, text, env, start_new_session):
        """Return a worker, as `subprocess.Popen` does."""
        assert command[1:] == ["-m", "vitlab.study"] and stdin == stdout == subprocess.PIPE
        assert text and start_new_session
        if self.process is None:
            self._start()
        return Forked(self.socket, env)


class Forked:
    """What `vitlab.study.workers` uses of a Popen."""

    def __init__(self, nursery, env):
        (orders, self_in), (self_out, answers), (status, told) = os.pipe(), os.pipe(), os.pipe()
        # To standard error as it is now: pytest lays a file over it for each test.
        socket.send_fds(nursery, [json.dumps(env).encode() + b"\n"], [orders, answers, 2, told])
        for number in (orders, answers, told):
            os.close(number)
        self.stdin, self.stdout = os.fdopen(self_in, "w"), os.fdopen(self_out)
        self._status = os.fdopen(status)
        self.pid, self.returncode, self._ended = int(self._status.readline()), None, threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        self.returncode = int(self._status.readline() or -9)  # nothing is told where the nursery itself was killed
        self._status.close()
        self._ended.set()

    def poll(self):
        return self.returncode

    def wait(self):
        self._ended.wait()
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(15)

    def kill(self):
        self.send_signal(9)


def serve():
    """Fork a worker for each environment that comes, until nobody can ask any more."""
    from vitlab.study import worker

    asked = socket.socket(fileno=int(sys.argv[1]))
    while True:
        message, passed, _, _ = socket.recv_fds(asked, 2**20, 4)
        if not message:
            _reap(0)
            return
        while not message.endswith(b"\n"):
            message += asked.recv(2**20)
        if os.fork() == 0:
            asked.close()
            _guard(worker, json.loads(message), *passed)
        for number in passed:
            os.close(number)
        _reap(os.WNOHANG)


def _reap(options):
    """Wait for the guards that have ended, or without options for all."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, options)[0]:
            pass


def _guard(worker, env, orders, answers, errors, told):
    """Fork the worker, and tell its process id and, when it has ended, its code."""
    pid = os.fork()
    if pid == 0:
        os.close(told)
        os._exit(_work(worker, env, orders, answers, errors))
    for number in (orders, answers):
        os.close(number)
    os.write(told, f"{pid}\n".encode())
    os.write(told, f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n".encode())
    os._exit(0)


def _work(worker, env, *streams):
    import torch

    os.setsid()
    for number, own in zip(streams, range(3), strict=True):
        os.dup2(number, own)
        os.close(number)
    os.environ.clear()
    os.environ.update(env)
    torch.set_num_threads(int(env["OMP_NUM_THREADS"]))
    try:
        return worker.main()
    except SystemExit as exit_:
        return int(exit_.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
