"""How time and memory of an audit grow: phantoms of several sizes with planted copies, each audited by a new process.

python -m tests.audit.scale --sizes 1000 3000 10000 30000 100000 --into README.md --mark audit-scale
"""

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from vitlab.audit.copies.planting import FAULTS, plant
from vitlab.data.decode import open_image
from vitlab.data.manifest import Manifest
from vitlab.data.phantom import generate
from vitlab.report.insert import insert

CLASSES, SLICES = 4, 3


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 3000, 10_000, 30_000, 100_000])
    parser.add_argument("--phantom", type=Path, help="a phantom that is large enough; drawn where there is none")
    parser.add_argument("--out", type=Path, default=Path("lightning_logs/published/audits/scale.csv"))
    parser.add_argument("--into", type=Path)
    parser.add_argument("--mark", default="audit-scale")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vitlab-scale-") as folder:
        phantom = options.phantom or Path(folder) / "phantom"
        if not (phantom / "manifest.csv").exists():
            patients = -(-max(options.sizes) // (CLASSES * SLICES))
            test = max(2, patients // 10)
            generate(phantom, train_patients=patients - 2 * test, val_patients=test, test_patients=test)
        rows = [measure(Manifest.read(phantom / "manifest.csv"), size, Path(folder)) for size in options.sizes]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    if options.into:
        insert(markdown(rows), options.into, options.mark)


def measure(phantom, size, folder):
    """Audit `size` images, about a hundredth of them planted copies, and return what it took and what was found."""
    each = max(1, size // 100 // len(FAULTS))
    own = size - each * len(FAULTS)
    patients = np.unique(phantom.patient_id)
    kept = np.isin(phantom.patient_id, np.random.default_rng(0).permutation(patients)[: -(-own // SLICES)])
    phantom = phantom.where(np.flatnonzero(kept)[:own])
    planted = plant(phantom, lambda path: open_image(phantom.root / path), folder / f"copies{size}", each=each)
    split = np.where(planted.fault < 0, phantom.split[planted.original], "test").astype(object)
    planted.manifest.with_columns(split=split).write(folder / "manifest.csv")
    table = folder / "manifest.csv"
    source = ["--data.source=Csv", f"--data.source.root={phantom.root}", f"--data.source.manifest={table}"]
    args = ["audit", *source, f"--out={folder / 'out'}"]
    environment = {**os.environ, "VITLAB_CACHE": str(folder / "cache")}
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "vitlab", *args], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    complaint = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    assert os.waitstatus_to_exitcode(status) == 0, complaint
    paths = planted.manifest.path
    true = {frozenset((paths[row], paths[planted.original[row]])) for row in np.flatnonzero(planted.fault >= 0)}
    with (folder / "out" / "pairs.csv").open() as file:
        found = {frozenset((row["path_a"], row["path_b"])) for row in csv.DictReader(file)}
    shutil.rmtree(folder / "cache")
    row = {
        "images": len(planted.manifest),
        "seconds": round(seconds, 1),
        "memory_gb": round(usage.ru_maxrss / 1e6, 2),
        "planted": len(true),
        "found": len(true & found),
        "other_pairs": len(found - true),
    }
    print(row, file=sys.stderr, flush=True)
    return row


def markdown(rows):
    lines = ["| images | seconds | ms an image | peak memory | planted copies | found | other pairs |"]
    lines += ["|---:|---:|---:|---:|---:|---:|---:|"]
    for row in rows:
        each = 1000 * row["seconds"] / row["images"]
        lines.append(
            f"| {row['images']:,} | {row['seconds']:.0f} | {each:.1f} | {row['memory_gb']:.1f} GB | {row['planted']:,} "
            f"| {row['found']:,} | {row['other_pairs']:,} |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
