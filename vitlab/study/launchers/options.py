"""The settings of launchers on the command line of `study`, and the launcher that they ask for."""

import argparse
import importlib.util
import os
from pathlib import Path

from vitlab.report.table import positive
from vitlab.study.costs import in_seconds
from vitlab.study.launchers import slurm
from vitlab.study.launchers.base import Launcher
from vitlab.study.launchers.local import LocalLauncher

_ALSO = {"cpus_per_run": ("slurm", "ray"), "gpus_per_run": ("slurm", "ray")}  # others are named after their launcher
_MODULES = {"slurm": "submitit", "ray": "ray"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings to the parser of `study`."""
    add = parser.add_argument_group("where runs run").add_argument
    add("--launcher", choices=("local", "slurm", "ray"), default="local",
        help="processes here, SLURM jobs, or Ray actors (default: %(default)s)")  # fmt: skip
    add("--cpus_per_run", type=positive, default=1, metavar="N",
        help="slurm, ray: CPUs and threads of a run (type: int, default: %(default)s)")  # fmt: skip
    add(
        "--gpus_per_run",
        type=_share,
        default=0.0,
        metavar="N",
        help="slurm, ray: GPUs of a run; with ray also a part, 0.25 lets four share one (type: float, default: 0)",
    )
    add("--slurm_partition", metavar="NAME", help="(type: str, default: the cluster's)")
    add("--slurm_time", type=in_seconds, default=4 * 3600.0, metavar="TIME",
        help="limit of a job, e.g. 90m; a run that needs longer is requeued and goes on (default: 4h)")  # fmt: skip
    add("--slurm_setup", action="append", default=[], metavar="LINE",
        help="shell line before a run, e.g. 'module load cuda'; may be given several times")  # fmt: skip
    add("--slurm_options", type=_pairs, default={}, metavar="KEY=VALUE[,...]",
        help="further options of sbatch, e.g. account=lab,mem=32G")  # fmt: skip
    add("--ray_address", metavar="ADDRESS", help="a cluster's, or auto (type: str, default: start one here)")


def check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Raise a ValueError where the launcher is not installed, or settings are not its own."""
    chosen = options.launcher
    for name, value in vars(options).items():
        of = _ALSO.get(name) or tuple(each for each in ("slurm", "ray") if name.startswith(f"{each}_"))
        if of and chosen not in of and value != parser.get_default(name):
            raise ValueError(f"--{name} is for --launcher {' or '.join(of)}, and this is {chosen}")
    if chosen == "local":
        return
    if options.workers_per_device != 1:
        raise ValueError(f"--workers_per_device is for --launcher local: with {chosen} give --gpus_per_run")
    if importlib.util.find_spec(_MODULES[chosen]) is None:
        raise ValueError(f"--launcher {chosen} needs {_MODULES[chosen]}: pip install 'vitlab[{chosen}]'")
    if chosen == "slurm":
        if not slurm.available():
            raise ValueError("--launcher slurm: sbatch is not on this machine, start the study where you submit jobs")
        if options.gpus_per_run % 1:
            raise ValueError(f"--gpus_per_run {options.gpus_per_run:g}: SLURM gives whole GPUs only")


def make(options: argparse.Namespace, study: str, folder: Path, threads: int, workers: int) -> Launcher:
    """Return the launcher.

    Args:
        options: That `check` has passed.
        study: Name of the study.
        folder: Of the study.
        threads: CPU threads of a worker.
        workers: How many workers there will be at most.

    Raises:
        ValueError: The cluster is not there, or takes no such runs.
    """
    if options.launcher == "slurm":
        return slurm.SlurmLauncher(
            study, folder, threads=threads, gpus=int(options.gpus_per_run), partition=options.slurm_partition,
            minutes=max(1, int(options.slurm_time // 60)), setup=options.slurm_setup, options=options.slurm_options,
            parallel=workers,
        )  # fmt: skip
    if options.launcher == "ray":
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before it is imported: nothing leaves the machine
        from vitlab.study.launchers.ray import RayLauncher

        return RayLauncher(threads=threads, gpus=options.gpus_per_run, address=options.ray_address)
    return LocalLauncher(threads)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf") or (value > 1 and value % 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not 0, a part of a GPU such as 0.25, or a whole number")
    return value


def _pairs(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name and equals for name, equals, _ in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE, or several with commas")
    return {name.lstrip("-").replace("_", "-"): value for name, _, value in pairs}
