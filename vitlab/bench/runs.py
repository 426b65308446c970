"""Rows of whole runs: an epoch with all that belongs to it, a run's overhead, its memory; and where the time goes."""

import io
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any, Literal

from vitlab.bench import plain, plain_loop
from vitlab.bench.conditions import Conditions
from vitlab.bench.measure import Spent, Target
from vitlab.bench.stages import StageProfiler
from vitlab.lightning_cli import VitlabCLI, quieten
from vitlab.shipped import configs_folder

RUN = {"cpu": 100.0, "cuda": 60.0}  # seconds: the run that the target of the overhead speaks of


def fit_arguments(conditions: Conditions, kind: str, size: int, root: Path, epochs: int) -> list[str]:
    """Return the command line of `fit` that trains what the plain loop trains."""
    low, high = plain.CROP_SCALE
    augment = {"crop_scale": f"[{low},{high}]", "rotation": plain.ROTATION, "brightness": plain.JITTER,
               "contrast": plain.JITTER, "gamma": 0.0}  # fmt: skip
    recipe, gpu = plain_loop.recipe_on(conditions.device, kind), conditions.device == "cuda"
    on_gpu = ["--config", str(configs_folder() / "hardware" / "gpu.yaml"), f"--model.backbone={recipe['backbone']}"]
    return [
        "--config", str(configs_folder() / f"{kind}.yaml"), "--data.source=ImageFolder",
        f"--data.source.root={conditions.images}", "--data.name=bench", f"--data.image_size={size}",
        f"--data.cache_dir={conditions.work / 'cache'}", f"--trainer.max_epochs={epochs}", f"--run.root={root}",
        *(on_gpu if gpu else ["--trainer.accelerator=cpu", "--trainer.devices=1"]),
        f"--data.batch_size={recipe['batch']}", f"--compile={str(conditions.compile).lower()}",
        *(f"--data.augment.{name}={value}" for name, value in augment.items()),
    ]  # fmt: skip


class _Fit(VitlabCLI):
    """`fit` in this process, with a profiler where one is given."""

    profiler: StageProfiler | None = None

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Add the profiler."""
        trainer = super().instantiate_trainer(**kwargs)
        if self.profiler is not None:
            trainer.profiler = self.profiler
            self.profiler.watch_logging(trainer)
        return trainer


def fit(
    conditions: Conditions, kind: str, size: int, epochs: int, profiler: StageProfiler | None = None
) -> dict[str, Any]:
    """Run `fit` in this process and return its results."""
    root = conditions.work / uuid.uuid4().hex
    command = type("_Profiled", (_Fit,), {"profiler": profiler})
    quieten()
    with redirect_stdout(io.StringIO()), ExitStack() as held:
        command("fit", fit_arguments(conditions, kind, size, root, epochs), configs_folder(), held)
    return _results(root)


def _results(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(next(root.rglob("results.json")).read_text())
    shutil.rmtree(root)
    return found


class Epoch:
    """A supervised run with validation, logging and checkpoints, by epoch, against the plain loop of the same model.

    Args:
        conditions: Shared by all rows.
        size: Side of the images in pixels.
        kind: cnn or vit.
    """

    unit: Literal["s"] = "s"

    def __init__(self, conditions: Conditions, size: int, kind: Literal["cnn", "vit"]) -> None:
        self.name, self.conditions, self.size, self.kind = f"epoch-{kind}-{size}", conditions, size, kind
        self.against = "ImageFolder, torchvision v2, timm model, loop, TensorBoard, validation, best checkpoint"
        self.target = Target(2.0, "ratio", ">= 2x")
        self.facts: dict[str, Any] = {"epochs": conditions.epochs, "test_accuracy": [], "plain_test_accuracy": []}

    def ours(self) -> Spent:
        """Run `fit`."""
        results = fit(self.conditions, self.kind, self.size, self.conditions.epochs)
        self.facts["test_accuracy"].append(results["metrics"]["test"]["accuracy"])
        return Spent(results["wall_seconds"], results["epochs"])

    def plain(self) -> Spent:
        """Run the plain loop."""
        out = self.conditions.work / uuid.uuid4().hex
        out.mkdir()
        seconds, accuracy = plain_loop.train(self.conditions, self.kind, self.size, out)
        self.facts["plain_test_accuracy"].append(accuracy)
        shutil.rmtree(out)
        return Spent(seconds, self.conditions.epochs)


class Overhead:
    """A whole run as a process against its own training steps; what is neither is start-up, validation and the end.

    Args:
        conditions: Shared by all rows.
        size: Side of the images in pixels.
    """

    unit: Literal["s"] = "s"

    def __init__(self, conditions: Conditions, size: int) -> None:
        self.name, self.conditions, self.size = f"run-{size}", conditions, size
        self.run = RUN[conditions.device]
        self.against = f"training steps of the same run, from {conditions.run_seconds:g} s stretched to {self.run:g} s"
        self.target = Target(1 - 10 / self.run, "ratio", f"<= 10 s of {self.run:g} s")
        self.facts: dict[str, Any] = {"runs": []}
        self._epochs = 1
        self._pending: dict[str, Spent] = {}

    def ours(self) -> Spent:
        """Take the whole."""
        return self._half("ours")

    def plain(self) -> Spent:
        """Take the training steps of the run that the other half of the pair has timed."""
        return self._half("plain")

    def _half(self, side: str) -> Spent:
        if side not in self._pending:
            self._run()
        return self._pending.pop(side)

    def _run(self) -> None:
        root = self.conditions.work / uuid.uuid4().hex
        start = time.perf_counter()
        call(["fit", *fit_arguments(self.conditions, "cnn", self.size, root, self._epochs)], self.conditions)
        whole = time.perf_counter() - start
        results = _results(root)
        steps = results["images_seen"] / results["images_per_second"]
        # Start and end stay as long as they are in a longer run; what lies between grows with it.
        ends = whole - results["wall_seconds"]
        training = steps / results["wall_seconds"] * max(self.run - ends, 0)
        self._pending = {"ours": Spent(self.run), "plain": Spent(training)}
        self.facts["runs"].append({"seconds": whole, "epochs": self._epochs, "steps": steps, "start_and_end": ends})
        self._epochs = max(1, round(self.conditions.run_seconds / (results["wall_seconds"] / self._epochs)))


class Memory:
    """The largest process of a run against that of the plain loop, workers not counted."""

    unit: Literal["MiB"] = "MiB"
    target = None

    def __init__(self, conditions: Conditions, size: int) -> None:
        self.name, self.conditions, self.size = f"memory-{size}", conditions, size
        self.against = "plain loop, its worker processes not counted"
        self.facts: dict[str, Any] = {}

    def ours(self) -> Spent:
        """Run `fit` for an epoch."""
        root = self.conditions.work / uuid.uuid4().hex
        call(["fit", *fit_arguments(self.conditions, "cnn", self.size, root, 1)], self.conditions)
        return Spent(_results(root)["peak_memory_bytes"])

    def plain(self) -> Spent:
        """Run the plain loop for an epoch."""
        out = self.conditions.work / uuid.uuid4().hex
        out.mkdir()
        arguments = [str(self.conditions.images), str(self.size), "1", self.conditions.device, str(out)]
        said = call(arguments, self.conditions, module="vitlab.bench.plain_loop")
        shutil.rmtree(out)
        return Spent(float(said.split()[-1]))


def call(arguments: list[str], conditions: Conditions, module: str = "vitlab") -> str:
    """Run a module as a process of its own and return what it printed.

    Raises:
        RuntimeError: It failed.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=conditions.environment, cwd=os.getcwd())
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def breakdown(conditions: Conditions, size: int) -> dict[str, Any]:
    """Return where the time of a supervised run's epochs goes, by Lightning's own hooks, for CNN and ViT."""
    found = {}
    for kind in ("cnn", "vit"):
        profiler = StageProfiler(conditions.device)
        fit(conditions, kind, size, conditions.epochs, profiler)
        found[kind] = {"size": size, "seconds_an_epoch": profiler.total / conditions.epochs, "shares": profiler.shares}
    return found
