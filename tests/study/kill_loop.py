"""Kills a study, or one of its workers, at random moments, and compares what it leaves with an unbroken one's.

python -m tests.study.kill_loop --kills 20 --config configs/studies/quick.yaml
"""

import argparse
import csv
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def start(config, root, *flags):
    command = [sys.executable, "-m", "vitlab", "study", "--config", str(config), "--root", str(root), *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def workers_of(study):
    """Return the process ids of a study's workers."""
    children = Path(f"/proc/{study.pid}/task/{study.pid}/children")
    try:
        return [int(number) for number in children.read_text().split()]
    except FileNotFoundError:
        return []


def figures(root):
    """Return what may not depend on kills: file below the root -> content or digest of it."""
    found = {}
    for results in sorted(root.rglob("results.json")):
        if ".replaced" in results.parts:
            continue
        folder, record = results.parent, json.loads(results.read_text())
        place = str(folder.relative_to(root))
        found[f"{place} results"] = {key: record[key] for key in ("metrics", "probe", "epochs", "images_seen")}
        for name in ("predictions.csv", "backbone.safetensors"):
            path = folder / name
            if name.endswith("csv") and path.exists():
                found[f"{place} {name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
            elif path.exists():  # behind its header, which holds seconds: the weights
                data = path.read_bytes()
                found[f"{place} {name}"] = hashlib.sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()
    return found


def curves(root):
    """Return every row of every metrics.csv, without what it cost."""
    found = set()
    for path in sorted(root.rglob("metrics.csv")):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                kept = {key: value for key, value in row.items() if value and not key.startswith("cost/")}
                values = [f"{key} {value}" for key, value in sorted(kept.items())]
                if len(values) > 1:  # more than the step
                    found.add((str(path.parent.relative_to(root)), *values))
    return found


def newest(root):
    """Return the time of the last checkpoint or log that any run has written."""
    paths = [*root.rglob("last.ckpt"), *root.rglob("train.log")]
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)


def broken(config, root, kills, rng, seconds=6.0, flags=()):
    """Run a study to its end through kills, four of five of them while a run is under way.

    Returns:
        How many kills there were of the study and of workers.
    """
    done = {"study": 0, "worker": 0}
    process, since, due = start(config, root, *flags), newest(root), None
    while True:
        if sum(done.values()) == kills:
            output, _ = process.communicate()
        elif process.poll() is None:
            time.sleep(0.05)
            if due is None and (newest(root) > since or rng.random() < 0.002):
                due = time.monotonic() + rng.uniform(0, seconds)
            if due is None or time.monotonic() < due:
                continue
            victims, since, due = workers_of(process), newest(root), None
            if victims and rng.random() < 0.4:
                os.kill(rng.choice(victims), signal.SIGKILL)
                done["worker"] += 1
                continue
            process.kill()
            done["study"] += 1
            process.communicate()
            process = start(config, root, *flags)
            continue
        else:
            output, _ = process.communicate()
        assert process.returncode == 0, output
        return done


def interruptions(root):
    """Return how often a run was begun again or gone on with."""
    return sum(path.read_text().count("\n--- ") for path in root.rglob("train.log"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="configs/studies/quick.yaml")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", default="2")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seconds", type=float, default=6.0, help="at most this long after a checkpoint")
    parser.add_argument("--unbroken", type=Path, help="a finished study of the same file: its folder (default: run it)")
    options = parser.parse_args()
    out = options.out or Path(tempfile.mkdtemp(prefix="vitlab-kills-"))
    flags = ("--workers", options.workers)
    unbroken = options.unbroken
    if unbroken is None:
        begin = time.monotonic()
        whole = start(options.config, out / "whole", *flags)
        output, _ = whole.communicate()
        assert whole.returncode == 0, output
        print(f"unbroken: {time.monotonic() - begin:.0f} s", flush=True)
        (unbroken,) = (out / "whole").iterdir()
    begin = time.monotonic()
    rng = random.Random(options.seed)
    done = broken(options.config, out / "parts", options.kills, rng, options.seconds, flags)
    parts = out / "parts" / unbroken.name
    print(f"broken by {done['study']} kills of the study and {done['worker']} of workers, which interrupted runs "
          f"{interruptions(out / 'parts')} times: {time.monotonic() - begin:.0f} s", flush=True)  # fmt: skip
    expected, found = figures(unbroken), figures(parts)
    differing = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    whole_curves, found_curves = curves(unbroken), curves(parts)
    # Lightning logs an epoch just after its checkpoint: a kill between the two costs that row of the curve
    lost, wrong = len(whole_curves - found_curves), len(found_curves - whole_curves)
    verdict = f"these differ: {differing}" if differing else "all equal to the digit"
    print(f"{len(expected)} files compared, {verdict}; {out}")
    print(f"of {len(whole_curves)} rows of curves {lost} are lost and {wrong} wrong")
    return int(bool(differing) or wrong > 0 or lost > options.kills)


if __name__ == "__main__":
    raise SystemExit(main())
