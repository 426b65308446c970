"""results.json: what a finished run leaves for `compare`, and what is needed to repeat it."""

import hashlib
import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

SCHEMA = 1
PACKAGES = ("vitlab", "torch", "torchvision", "timm", "lightning", "lightly", "torchmetrics", "numpy", "jsonargparse")


def write_results(folder: Path, results: dict[str, Any]) -> Path:
    """Write results.json under a temporary name and rename it: its existence says that the run is finished.

    Args:
        folder: The run folder.
        results: Everything but schema, versions, platform and commit, which are added here.

    Returns:
        The path of results.json.
    """
    path = folder / "results.json"
    record = {"schema": SCHEMA, **results, "versions": versions(), "git_commit": git_commit()}
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(record, indent=1, allow_nan=False, default=str) + "\n")
    os.replace(temporary, path)
    return path


def read_results(folder: Path) -> dict[str, Any] | None:
    """Return the results.json of a run folder, or None where the run is not finished.

    Raises:
        ValueError: The file is not JSON.
    """
    path = folder / "results.json"
    try:
        results: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} is not readable as JSON ({error}); delete it and run again") from None
    return results


def pretraining_cost(weights: str | None) -> dict[str, Any] | None:
    """Return what the backbone file cost, so that a comparison adds it to the fine-tuning.

    Args:
        weights: A backbone.safetensors, usually in the run folder of its pretraining.

    Returns:
        File, sha256, and where its run folder holds results.json: approach, epochs, images_seen, wall_seconds,
        manifest and split. None without weights.
    """
    if weights is None:
        return None
    path = Path(weights)
    cost: dict[str, Any] = {"weights": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    run = read_results(path.parent)
    if run is not None:
        keys = ("approach", "dataset", "manifest_sha256", "split", "seed", "epochs", "images_seen", "wall_seconds")
        cost.update({key: run.get(key) for key in keys})
    return cost


def check_same_split(pretrain: dict[str, Any] | None, manifest_sha256: str, split: dict[str, Any]) -> None:
    """Refuse a backbone that was pretrained on images which this run validates or tests on.

    Args:
        pretrain: From `pretraining_cost`.
        manifest_sha256: The data set of this run.
        split: This run's split settings.

    Raises:
        ValueError: Same data set, other split.
    """
    if pretrain is None or pretrain.get("manifest_sha256") != manifest_sha256:
        return
    theirs = pretrain.get("split") or {}
    differing = [key for key in split if theirs.get(key) != split[key]]
    if differing:
        facts = ", ".join(f"data.{key} {theirs.get(key)} there and {split[key]} here" for key in differing)
        raise ValueError(
            f"{pretrain['weights']} was pretrained on another split of the same images ({facts}), so it has seen test "
            "images of this run: pretrain with the same data settings"
        )


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """Return the commit of the code that ran, with "+dirty" after it where it was changed; None outside a checkout."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    try:
        git = ("git", "-C", str(here))
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + ("+dirty" if changed.stdout.strip() else "")
