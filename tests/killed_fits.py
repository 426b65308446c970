"""Kills `fit` at random moments, inside a checkpoint's writing and around its renaming, and goes on with what is left.

python -m tests.killed_fits --kills 20
"""

import argparse
import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from tests.forked import Nursery
from tests.study.kill_loop import curves, figures

MOMENTS = ("writing", "before the rename", "behind the rename")


DYING = """
import sys
from tests.killed_fits import die_at
from vitlab.cli import main

if sys.argv[1]:
    die_at(sys.argv[1], int(sys.argv[2]))
sys.exit(main(sys.argv[3:]))
"""


def die_at(moment, number):
    """Kill this process when it writes or renames its so-manieth checkpoint."""
    counted = {"left": number}
    save, replace = torch.save, os.replace

    def due():
        counted["left"] -= 1
        return counted["left"] == 0

    def half(what, file, *args, **settings):
        save(what, file, *args, **settings)
        if moment == "writing" and due():
            file.flush()
            os.truncate(file.name, os.path.getsize(file.name) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    def renamed(source, target):
        mine = str(target).endswith(".ckpt") and moment != "writing" and due()
        if mine and moment == "before the rename":
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
        if mine:
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save, os.replace = half, renamed


class Runs:
    """Runs of `fit` in processes of their own, which a nursery starts."""

    def __init__(self, nursery, log):
        self.nursery, self.log = nursery, log

    def run(self, argv, moment=None, checkpoint=0, after=None):
        """Return the exit code of a run, -9 of one that was killed.

        Args:
            argv: Of vitlab.
            moment: One of MOMENTS at which it kills itself.
            checkpoint: Which checkpoint's, from 1.
            after: Seconds after which it is killed from outside.
        """
        with self.log.open("a") as log:
            process = self.nursery.popen(
                [sys.executable, "-c", DYING, moment or "", str(checkpoint), *argv], stdout=log,
                stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        if after is not None:
            time.sleep(after)
            with contextlib.suppress(ProcessLookupError):  # it has ended; its number is not given to another so soon
                process.kill()
        return process.wait()


def gone_on_with(argv, folder):
    """Return the command line that goes on with what a killed run has left."""
    last = folder / "checkpoints" / "last.ckpt"
    return [*argv, "--ckpt_path", str(last)] if last.exists() else [*argv, "--run.overwrite=true"]


def weights(folder):
    """Return every tensor of the last checkpoint, of the optimizer too."""
    held = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    moments = {
        f"{number} {name}": value
        for number, state in held["optimizer_states"][0]["state"].items()
        for name, value in state.items()
    }
    return held["state_dict"] | moments


def differences(whole, parts):
    """Return what differs between the folders of an unbroken run and of one that was killed: nothing should."""
    expected, found = figures(whole), figures(parts)
    names = [name for name in {*expected, *found} if expected.get(name) != found.get(name)]
    ours, theirs = weights(parts), weights(whole)
    names += [name for name in {*ours, *theirs} if not torch.equal(ours[name], theirs[name])]
    return sorted(names) + [f"wrong row {row}" for row in curves(parts) - curves(whole)]


def main():
    from tests.conftest import write_discs
    from tests.test_killed import APPROACHES, command

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="of each approach")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    out, rng, failed = Path(tempfile.mkdtemp(prefix="vitlab-kills-")), random.Random(options.seed), []
    images = write_discs(out / "discs")
    nursery = Nursery()
    runs = Runs(nursery, out / "log")
    for approach in APPROACHES:
        begin = time.monotonic()
        argv, whole = command(approach, images, out / "whole")
        assert runs.run(argv) == 0, out
        seconds, lost = time.monotonic() - begin, 0
        argv, parts = command(approach, images, out / "parts")
        for number in itertools.count():
            if lost == options.kills:
                break
            moment = MOMENTS[number % 6] if number % 6 < 3 else None
            after = None if moment else rng.uniform(0.1, seconds)
            code = runs.run(argv, moment, rng.randint(1, 4), after)
            assert code in (-9, 0), out
            if code == 0:
                seconds *= 0.9  # it was over before it was killed, and counts as none
            else:
                lost += 1
                assert runs.run(gone_on_with(argv, parts)) == 0, out
            names = differences(whole, parts)
            rows = len(curves(whole) - curves(parts))
            print(f"{approach} {moment or f'after {after:.1f} s'}: {names or 'equal'}, {rows} rows lost", flush=True)
            failed += names + ["rows"] * (rows > 0)
            (parts / "results.json").unlink()
            for path in (parts / "checkpoints").iterdir():
                path.unlink()
        print(f"{approach}: {lost} kills")
    nursery.close()
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
