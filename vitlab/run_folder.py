"""The run folder: its name, what may not be written over, and the loggers and checkpoints that write into it."""

import csv
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from torch.utils.tensorboard.summary import hparams

from vitlab.atomic import replacing
from vitlab.checkpoint import read_checkpoint
from vitlab.lock import hold, holds

# In TensorBoard's table of runs; all others are among the scalars.
SHOWN = (
    "final/test_balanced_accuracy", "final/test_accuracy", "final/test_auroc", "final/val_balanced_accuracy",
    "final/val_accuracy", "final/train_balanced_accuracy",
)  # fmt: skip


@dataclass
class RunSettings:
    """Where a run is written.

    Args:
        approach: Name in tables, e.g. cnn_simclr; the recipe states it.
        study: First folder of the run; null is the data set's name.
        root: Folder of all runs.
        axes: What this run varies, e.g. lr=0.001; one more folder, and a row of its own in the table.
        overwrite: Replace a run that is already there.
        robustness: Test the best checkpoint on corrupted test images as well and write robustness.csv: 36 times the
            test's time.
        features: Write features.npz: what the best checkpoint's backbone makes of the test images.
    """

    approach: str | None = None
    study: str | None = None
    root: str = "lightning_logs"
    axes: str | None = None
    overwrite: bool = False
    robustness: bool = False
    features: bool = False


class SaveConfigAtFit(SaveConfigCallback):
    """Saves config.yaml in the run folder, whatever the loggers are, and at fit only: a later test leaves it alone."""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Save when training starts."""
        if stage == "fit" and trainer.is_global_zero:
            self.config = self.config.clone()  # without what `fit --config` on the file must not do again
            self.config.run.overwrite, self.config.ckpt_path = False, None
            folder = run_folder(self.config, type(pl_module)).absolute()
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(folder / "config.yaml") as temporary:
                self.parser.save(self.config, temporary, skip_none=False, multifile=False)


def approach_of(stated: str | None, model_class: type) -> str:
    """Return the recipe's approach, or the model class in lower case where a user has no recipe."""
    return stated or model_class.__name__.removesuffix("Classifier").lower()


def study_of(config: Any) -> str:
    """Return the study's name, or the data set's where none is given."""
    named: str | None = config.run.study or config.data.name
    if named:
        return named
    source = config.data.source
    module, _, class_name = source.class_path.rpartition(".")
    name: str = getattr(import_module(module), class_name)(**(source.get("init_args") or {})).name
    return name


def run_folder(config: Any, model_class: type) -> Path:
    """Return `<root>/<study or data set>/<approach>/<axes>/seed<k>[-fold<f>]`.

    Raises:
        ValueError: A name in it leads elsewhere.
    """
    run, data = config.run, config.data
    axes = run.axes or (f"label_fraction={data.label_fraction:g}" if data.label_fraction != 1 else "")
    seed = f"seed{int(config.seed_everything)}" + (f"-fold{data.fold}" if data.fold is not None else "")
    names = study_of(config), approach_of(run.approach, model_class), axes
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{name} leads out of {run.root}: give names, and the folder as --run.root")
    folder = Path(run.root).joinpath(*names, seed)
    if files := [above for above in (folder, *folder.parents) if above.is_file()]:
        raise ValueError(f"{files[0]} is a file: give a folder as --run.root")
    return folder


def check_free(folder: Path, config: Any, held: ExitStack) -> bool:
    """Keep runs from being written over, finished, unfinished or under way.

    Args:
        folder: The run folder.
        config: The settings of `fit`.
        held: Holds the folder's lock from here on.

    Returns:
        Whether the run is made by hand: the worker of a study holds the folder already.

    Raises:
        ValueError: There is a run already, and neither --ckpt_path nor --run.overwrite was given; or both were. Or
            another process is at it.
    """
    resuming, overwrite, by_hand = bool(config.get("ckpt_path")), config.run.overwrite, not holds(folder)
    if getattr(rank_zero_only, "rank", 0) == 0:
        held.enter_context(hold(folder))
    if overwrite and resuming:
        raise ValueError("--run.overwrite=true starts anew and --ckpt_path goes on: give one of them")
    if overwrite:
        return by_hand
    finished, last = folder / "results.json", folder / "checkpoints" / "last.ckpt"
    if finished.exists():
        raise ValueError(
            f"{folder} holds a finished run: name what differs with --run.axes, choose another --seed_everything, "
            "or replace it with --run.overwrite=true"
        )
    if last.exists() and not resuming:
        raise ValueError(
            f"{folder} holds a run that was stopped: go on with --ckpt_path {last}, or --run.overwrite=true"
        )
    return by_hand


def clear(folder: Path, *, by_hand: bool = True) -> None:
    """Remove what an earlier run left in the folder; to be called when the new one has passed all checks.

    Args:
        folder: The run folder.
        by_hand: The run is not a study's: what the study says there of its own is no longer true.
    """
    left = ("results.json", "predictions.csv", "backbone.safetensors", "metrics.csv", "robustness.csv", "features.npz")
    for name in (*(("job.json",) if by_hand else ()), *left):
        (folder / name).unlink(missing_ok=True)
    for path in [*folder.glob("events.out.tfevents*"), *folder.glob("checkpoints/*.ckpt")]:
        path.unlink()


class EpochRow(Callback):
    """Keeps in an epoch's checkpoint the row of metrics.csv that Lightning writes behind it: see `loggers`."""

    def __init__(self) -> None:
        self._at_end = False

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Keep nothing in checkpoints within the epoch: what is logged is of the epoch before."""
        self._at_end = False

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Keep it in those of its end: they are written behind all other callbacks."""
        self._at_end = True

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Add what the epoch's training has logged, less what steps have logged: that has rows of its own."""
        if self._at_end:
            figures = {key: float(value) for key, value in trainer._logger_connector.metrics["log"].items()}
            checkpoint["epoch_row"] = figures | {"epoch": trainer.current_epoch, "step": trainer.global_step - 1}


class CurvesWriter(ExperimentWriter):
    """Lightning's writer of metrics.csv, which goes on with earlier rows and replaces the file as a whole.

    Args:
        log_dir: The run folder.
        rows: Earlier rows to go on with; without them the file starts anew.
    """

    def __init__(self, log_dir: str, rows: list[dict[str, Any]]) -> None:
        super().__init__(log_dir)
        self.metrics_keys = sorted(set().union(*rows))
        if rows:
            self._replace(rows)
        else:
            Path(self.metrics_file_path).unlink(missing_ok=True)

    def _check_log_dir_exists(self) -> None:
        """Leave the earlier file there until the new one is whole; Lightning's removes it."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        self._replace(read_curves(Path(self.metrics_file_path)))

    def _replace(self, rows: list[dict[str, Any]]) -> None:
        with replacing(Path(self.metrics_file_path)) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)


class CurvesLogger(CSVLogger):
    """Lightning's CSVLogger with the writer above.

    Args:
        folder: The run folder.
        rows: Earlier rows to go on with.
    """

    def __init__(self, folder: Path, rows: list[dict[str, Any]]) -> None:
        # every row at once: a run that is killed keeps its curves
        super().__init__(str(folder.parent), name="", version=folder.name, flush_logs_every_n_steps=1)
        self._rows = rows

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """Return the writer, made when it is first asked for: then all checks are passed."""
        self._experiment = self._experiment or CurvesWriter(self.log_dir, self._rows)
        return self._experiment


def read_curves(path: Path) -> list[dict[str, Any]]:
    """Return the whole rows of a metrics.csv, without empty fields; a kill or a full disk may have cut one."""
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        lines = [line for line in file if line.endswith("\n")]
    whole = [row for row in csv.DictReader(lines) if None not in row and None not in row.values()]
    return [{key: value for key, value in row.items() if value} for row in whole if row.get("step", "").isdecimal()]


def loggers(folder: Path, resumed: str | None) -> list[Any]:
    """Return TensorBoard and CSV loggers that write into the run folder.

    Args:
        folder: The run folder.
        resumed: Checkpoint that the run goes on from: earlier rows of metrics.csv up to it are kept, as CSVLogger would
            start the file anew, and the row of its epoch where a kill between the two has cost it.
    """
    earlier = folder / "metrics.csv"
    rows: list[dict[str, Any]] = []
    if resumed and earlier.exists():
        checkpoint = read_checkpoint(Path(resumed))
        rows = [row for row in read_curves(earlier) if int(row["step"]) < checkpoint["global_step"]]
        own = checkpoint.get("epoch_row")
        if own and not any(int(row["step"]) == own["step"] and own.keys() <= row.keys() for row in rows):
            rows.append(own)
    board = TensorBoardLogger(str(folder.parent), name="", version=folder.name, default_hp_metric=False)
    return [board, CurvesLogger(folder, rows)]


def log_final(trainer: Any, results: dict[str, Any]) -> None:
    """Write the final figures into the loggers, as final/<split>_<metric>, and TensorBoard's table of runs."""
    figures = {
        f"final/{split}_{name}": value
        for split, metrics in results["metrics"].items()
        for name, value in metrics.items()
        if value is not None
    }
    for logger in trainer.loggers:
        logger.log_metrics(figures, step=trainer.global_step)
        if figures and isinstance(logger, TensorBoardLogger):
            shown = [name for name in SHOWN if name in figures]
            for summary in hparams(settings_of(trainer, results), dict.fromkeys(shown, 0.0)):  # type: ignore[no-untyped-call]
                logger.experiment.file_writer.add_summary(summary)
        logger.save()


def summary(results: dict[str, Any], folder: Path) -> str:
    """Return two lines: what the run reached and where it lies."""
    if results["task"] == "pretrain":
        reached = ", ".join(f"{name} {value:.3f}" for name, value in results["probe"].items())
        reached = f"pretrained {results['epochs']} epochs; val probe: {reached or 'none'}"
        where = folder / "backbone.safetensors"
    else:
        test = results["metrics"].get("test") or {}
        reached = "test: " + ", ".join(f"{name} {value:.3f}" for name, value in test.items() if value is not None)
        where = folder
    return f"{results['approach']} seed {results['seed']}: {reached} ({results['wall_seconds']:.0f} s)\n{where}"


def settings_of(trainer: Any, results: dict[str, Any]) -> dict[str, str | float]:
    """Return what tells a study's runs apart.

    TensorBoard takes its columns from the first run that it finds: all runs have the same ones, of the same types.
    """
    optim, data = trainer.lightning_module.optim, trainer.datamodule
    named = {key: str(results[key] or "-") for key in ("approach", "axes", "fold", "backbone")}
    return {
        **named,
        "seed": results["seed"],
        "label_fraction": results["label_fraction"],
        "optimizer": optim.optimizer,
        "lr": optim.lr,
        "weight_decay": optim.weight_decay,
        "epochs": results["epochs"] if trainer.max_epochs in (None, 0, -1) else trainer.max_epochs,
        "batch_size": data.batch_size * trainer.world_size * trainer.accumulate_grad_batches,
    }
