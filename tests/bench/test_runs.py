from collections import Counter

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torchvision.datasets import ImageFolder as TorchImageFolder

from vitlab.bench.conditions import image_folder as folder_of
from vitlab.bench.files import AuditImages, Cache, Compare, write_runs
from vitlab.bench.peak import _SIDE, peak, shares_of_peak
from vitlab.bench.plain_loop import DECAY, RECIPES, SMOOTHING
from vitlab.bench.runs import Epoch, Memory, Overhead, breakdown
from vitlab.bench.stages import STAGES, StageProfiler
from vitlab.data.sources import Csv, ImageFolder
from vitlab.memory import peak_bytes
from vitlab.shipped import configs_folder


@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_the_plain_loop_trains_what_the_recipe_trains(kind):
    recipe = yaml.safe_load((configs_folder() / f"{kind}.yaml").read_text())
    model, own = recipe["model"]["init_args"], RECIPES[kind]
    assert own["backbone"] == model["backbone"] and own["drop_path"] == model["drop_path"]
    assert own["lr"] == model["optim"]["lr"] and own["warmup"] == model["optim"]["warmup_epochs"]
    assert model["optim"]["weight_decay"] == DECAY and model["label_smoothing"] == SMOOTHING
    assert recipe["data"]["batch_size"] == own["batch"] and recipe["trainer"].get("gradient_clip_val") == own["clip"]


def test_an_epoch_is_counted_as_often_on_both_sides(conditions):
    row = Epoch(conditions, 32, "cnn")
    assert row.ours().count == row.plain().count == conditions.epochs
    for side in ("test_accuracy", "plain_test_accuracy"):
        assert len(row.facts[side]) == 1 and 0 <= row.facts[side][0] <= 1


def test_the_stages_of_an_epoch_add_up(conditions):
    found = breakdown(conditions, 32)
    assert list(found) == ["cnn", "vit"]
    for kind in found.values():
        assert list(kind["shares"]) == list(STAGES)
        assert sum(kind["shares"].values()) == pytest.approx(1, abs=0.01)
        assert all(kind["shares"][stage] > 0 for stage in STAGES)


def test_a_moment_belongs_to_the_innermost_stage(monkeypatch):
    """Ten seconds of an optimizer step hold four of forward; what lies in no stage is the rest."""
    now = [0.0]
    monkeypatch.setattr("vitlab.bench.stages.time.perf_counter", lambda: now[0])
    profiler = StageProfiler()

    def at(second, what, action):
        now[0] = 1000 + second
        getattr(profiler, what)(action)

    at(0, "start", "[LightningModule]M.training_step")  # before the first epoch: not counted
    at(5, "stop", "[LightningModule]M.training_step")
    at(10, "start", "[Callback]C.on_train_epoch_start")
    at(11, "stop", "[Callback]C.on_train_epoch_start")
    at(11, "start", "[LightningModule]M.optimizer_step")
    at(13, "start", "[Strategy]S.training_step")
    at(17, "stop", "[Strategy]S.training_step")
    at(21, "stop", "[LightningModule]M.optimizer_step")
    at(22, "start", "[Callback]C.on_validation_start")
    at(22, "stop", "[Callback]C.on_validation_start")
    at(24, "start", "[LightningModule]M.on_validation_end")
    at(25, "stop", "[LightningModule]M.on_validation_end")
    at(30, "start", "[Callback]C.on_train_end")
    assert profiler.total == 20
    assert {name: value for name, value in profiler.seconds.items() if value} == {
        "optimizer": 6, "forward": 4, "validation": 3, "rest": 7,
    }  # fmt: skip


def test_the_overhead_is_of_the_run_that_was_timed(conditions, monkeypatch):
    """A run of 20 s, of which 4 are start and end and 12 of the other 16 steps: 25 + 75 % of 96 s are training."""
    clock = iter([0.0, 20.0])
    monkeypatch.setattr("vitlab.bench.runs.time.perf_counter", lambda: next(clock))
    monkeypatch.setattr("vitlab.bench.runs.call", lambda *_: "")
    results = {"images_seen": 1200, "images_per_second": 100.0, "wall_seconds": 16.0}
    monkeypatch.setattr("vitlab.bench.runs._results", lambda root: results)
    row = Overhead(conditions, 32)
    assert row.ours().amount == 100 and row.plain().amount == pytest.approx(0.75 * 96)
    assert row.facts["runs"][0]["start_and_end"] == 4


def test_both_caches_hold_every_image(conditions):
    row = Cache(conditions, 32)
    assert row.ours().count == row.plain().count == 28


def test_compare_and_the_script_read_the_same_runs(conditions):
    """Both are processes, whose failure is an error."""
    assert write_runs(conditions.work / "runs", images=90, patients=30, folds=3, seeds=1) == 12
    row = Compare(conditions)
    assert "runs" not in row.facts  # those that are there are taken
    assert row.ours().amount > 0 and row.plain().amount > 0


def test_audit_sees_all_images(conditions):
    row = AuditImages(conditions)
    assert row.count == 28 and row.plain().count == 28


def test_the_share_of_the_peak_is_operations_over_the_peak():
    from vitlab.bench.measure import Measured, Spent

    row = Measured("step", "images/s", "", None, [Spent(2, 100)], [Spent(2, 100)], {"flops_per_image": 10.0})
    shares = shares_of_peak([row], {"flops_per_second": 1000.0, "data_sheet": 2000.0})
    assert shares["step"]["measured"] == pytest.approx(0.5) and shares["step"]["data_sheet"] == pytest.approx(0.25)
    assert peak("cpu", "32-true")["flops_per_second"] > 1e8


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16-mixed", "bfloat16"), ("16-mixed", "float16"), ("32-true", "float32")]
)
def test_the_peak_is_of_the_precision_of_the_runs(precision, dtype, monkeypatch):
    monkeypatch.setitem(_SIDE, "cpu", 32)
    assert peak("cpu", precision)["dtype"] == dtype


def test_the_splits_keep_their_proportions(image_folder):
    """A smaller data set has as few images to validate on as the one that it is of."""
    source = ImageFolder(str(image_folder))
    for most, expected in ((10, (10, 4, 4)), (1000, (40, 16, 16))):
        with folder_of(source, splits=source.manifest(), most=most) as (images, _):
            assert tuple(len([*(images / split).rglob("*.png")]) for split in ("train", "val", "test")) == expected


def test_a_rare_class_has_its_number_in_every_split(tmp_path):
    """torchvision numbers the folders that a split has: one that lacks a class would shift the labels behind it."""
    rows = [("train", "b"), *[("train", "ac"[k % 2]) for k in range(40)], *[("val", "ac"[k % 2]) for k in range(8)],
            ("test", "b"), ("test", "c")]  # fmt: skip
    for number in range(len(rows)):
        pixels = np.arange(number, number + 12, dtype=np.uint16).reshape(3, 4)  # rounded as in the cache, 16 bits too
        Image.fromarray(pixels * 100).save(tmp_path / f"{number}.tif")
    lines = [f"{number}.tif,{label},{split}\n" for number, (split, label) in enumerate(rows)]
    (tmp_path / "manifest.csv").write_text("path,label,split\n" + "".join(lines))
    source = Csv(str(tmp_path))
    with folder_of(source, splits=source.manifest(), most=10) as (images, _):
        found = {split: TorchImageFolder(str(images / split), allow_empty=True) for split in ("train", "val", "test")}
        counts = {split: dict(Counter(folder.targets)) for split, folder in found.items()}
        with Image.open(next((images / "train").rglob("0000000.png"))) as image:
            np.testing.assert_array_equal(np.asarray(image).ravel(), np.rint(np.arange(12) * 255 / 11))
    assert counts == {"train": {0: 5, 1: 1, 2: 5}, "val": {0: 1, 2: 1}, "test": {1: 1, 2: 1}}


def test_memory_is_each_process_s_own(conditions):
    """What the bench itself has held before is in neither figure."""
    large = torch.ones(2**30, dtype=torch.uint8)
    row = Memory(conditions, 32)
    ours, plain = row.ours().amount, row.plain().amount
    assert ours != plain and max(ours, plain) < peak_bytes(torch.device("cpu")) and len(large)
