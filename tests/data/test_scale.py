"""Many images: a manifest of 200,000 rows over a cache of shards trains with flat memory, and epochs start at once.

python -m tests.data.test_scale ROWS FOLDER measures it at another size: a million rows of 96 px are 8.6 GiB.
"""

import json
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from lightning import Callback, Trainer

from vitlab.data import cache as cache_module
from vitlab.data import shards, shuffle
from vitlab.data.datamodule import ImageDataModule
from vitlab.data.sources import Csv
from vitlab.models.classifier import CNNClassifier
from vitlab.models.optim import OptimConfig

EPOCHS, STEPS = 5, 10


def own_memory():
    """Return this process's own memory in MiB, without the pages of files that it maps."""
    facts = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(facts["RssAnon"].split()[0]) / 1024


def write_set(folder, rows, size):
    """Write a table of images that are not there, and their decoded pixels: shards that are holes, so zeros."""
    table = ["path,label,patient_id"]
    table += [f"images/{row // 1000:04d}/{row:07d}.png,{'abcd'[row % 4]},P{row % 10_000:05d}" for row in range(rows)]
    folder.mkdir(exist_ok=True)
    (folder / "manifest.csv").write_text("\n".join(table))
    source = Csv(str(folder))
    key = cache_module._key(source.manifest(), size, 1, "pad", source.decode)
    cache = folder / "cache" / "images" / f"{size}px-1ch-{key[:24]}"
    cache.mkdir(parents=True)
    shape = (rows, 1, size, size)
    each = shards.rows_of_a_shard(shape)
    assert each, "the set is too small for shards"
    for number, start in enumerate(range(0, rows, each)):
        shard = (min(each, rows - start), *shape[1:])
        np.lib.format.open_memmap(cache / shards.name_of(number), mode="w+", dtype=np.uint8, shape=shard)
    (cache / "cache.json").write_text(json.dumps({"failures": [], "shard_rows": each}))


class Watch(Callback):
    """Measures how long each epoch takes to its first batch, and what memory it ends with."""

    def __init__(self):
        self.starts, self.memory, self.rows = [], [], []

    def on_train_epoch_start(self, *_):
        self.begin = time.perf_counter()

    def on_train_batch_start(self, trainer, module, batch, index):
        if index == 0:
            self.starts.append(time.perf_counter() - self.begin)
            self.rows.append(batch.indices.tolist())

    def on_train_epoch_end(self, *_):
        self.memory.append(own_memory())


def measure(folder, rows, size):
    """Return what `fit` of a few steps an epoch measures."""
    begin = time.perf_counter()
    data = ImageDataModule(Csv(str(folder)), image_size=size, batch_size=128, cache_dir=str(folder / "cache"))
    classes = data.num_classes
    data.setup("fit")
    ready = time.perf_counter() - begin
    _ = data.mean_std
    counted = time.perf_counter() - begin - ready
    model = CNNClassifier(
        num_classes=classes,
        image_size=size,
        channels=1,
        backbone="resnet18",
        backbone_kwargs={"channels": [8, 8, 8, 8]},  # of 4, the backward pass of torch 2.14 on a CPU corrupts memory
        optim=OptimConfig(),
    )
    watch = Watch()
    trainer = Trainer(
        max_epochs=EPOCHS, limit_train_batches=STEPS, limit_val_batches=0, logger=False, callbacks=[watch],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
    )  # fmt: skip
    trainer.fit(model, data)
    first = [np.unique(np.array(indices) * size**2 // shuffle.BLOCK).size for indices in watch.rows]
    return {
        "ready": ready, "mean_std": counted, "starts": watch.starts, "memory": watch.memory, "blocks": first,
        "images": type(data.cache.images).__name__, "rows": len(data.rows("train")),
    }  # fmt: skip


def main(rows, folder, size=96):
    warnings.simplefilter("ignore")
    if rows < 10**6:  # shards and windows as if a little were much
        size, shards.SINGLE, shards.SHARD = 16, 2**24, 2**23
        shuffle.WHOLE, shuffle.BLOCK = 2**24, 2**19
    write_set(folder, rows, size)
    print(json.dumps(measure(folder, rows, size)))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_stays_flat_and_epochs_start_at_once(tmp_path):
    command = [sys.executable, "-m", "tests.data.test_scale", "200000", str(tmp_path / "set")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["images"] == "Shards" and found["rows"] > 120_000
    assert max(found["starts"][1:]) < 2, found  # 0.05 s on a quiet machine
    # An epoch's order of 200,000 rows is 1.1 MiB, the decoded images are 49 MiB.
    assert max(found["memory"][1:]) - found["memory"][0] < 16, found
    assert min(found["blocks"]) > 20, found  # of 98


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
