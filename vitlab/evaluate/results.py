"""results.json: what a finished run leaves for `compare`, and what is needed to repeat it."""

import hashlib
import json
import platform
import subprocess
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

from safetensors import safe_open

from vitlab.atomic import write_text

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
    write_text(path, json.dumps(record, indent=1, allow_nan=False, default=str) + "\n")
    return path


def read_results(folder: Path) -> dict[str, Any] | None:
    """Return the results.json of a run folder, or None where the run is not finished.

    Raises:
        ValueError: The file is not JSON.
    """
    path = folder / "results.json"
    try:
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(results, dict):
            raise ValueError("it is not a JSON object")
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not readable as JSON ({error}); delete it and run again") from None
    return results


def pretraining_cost(weights: str | None) -> dict[str, Any] | None:
    """Return what the backbone file says of its training, so that a comparison adds its cost to the fine-tuning's.

    Args:
        weights: A backbone.safetensors; `ResultsWriter` writes the facts into it, so that it may be copied anywhere.

    Returns:
        File, sha256, and where the file has them: approach, dataset, manifest_sha256, split_sha256, seed, epochs,
        images_seen, wall_seconds. None without weights.
    """
    if weights is None:
        return None
    path = Path(weights)
    cost: dict[str, Any] = {"weights": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    with safe_open(path, "np") as file:
        facts = json.loads((file.metadata() or {}).get("training", "{}"))
    return {**cost, **facts}


def check_same_split(pretrain: dict[str, Any] | None, manifest_sha256: str, split_sha256: dict[str, str]) -> None:
    """Refuse a backbone that was trained on images which this run validates or tests on.

    Warns where that cannot be told: the file says nothing of its images, or they are of another manifest.

    Args:
        pretrain: From `pretraining_cost`.
        manifest_sha256: The data set of this run.
        split_sha256: Digest of the images of each split of this run.

    Raises:
        ValueError: Same data set, other images in val or test.
    """
    if pretrain is None:
        return
    if pretrain.get("manifest_sha256") != manifest_sha256:
        of = f"of {pretrain['dataset']}, another manifest" if "dataset" in pretrain else "that it does not name"
        warnings.warn(
            f"{pretrain['weights']} was trained on images {of}: check that none of them is in val or test of this run",
            stacklevel=2,
        )
        return
    if pretrain["split_sha256"]["train"] == split_sha256["train"]:
        return  # whatever the others are, they are not in it
    differing = [part for part in ("val", "test") if pretrain["split_sha256"][part] != split_sha256[part]]
    if differing:
        raise ValueError(
            f"{pretrain['weights']} was trained on another split of the same images: {' and '.join(differing)} of this "
            "run have images that it has seen or left out; pretrain with this run's data.fold, data.seed and fractions"
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
