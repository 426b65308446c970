"""A study file in, its jobs out: which runs there are, what each depends on, and the key that says whether it is done.

No torch here: a plan is made and shown at once.
"""

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vitlab.shipped import configs_folder, find_config
from vitlab.study.file import Setting, StudyFile, recipe_file, recipe_name
from vitlab.study.images import SPLIT_DEFAULTS, SPLIT_KEYS, images_of
from vitlab.study.settings import Settings, assign, get, material, merge, read_yaml, without

VERSION = 1  # part of every key: raise it when what a run with the same settings computes has changed
# A pretraining sees all images and no label, and nothing is measured of it.
CLASSIFIERS_ONLY = ("data.label_fraction", "data.shuffle_labels", "run.robustness", "run.features")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of `fit`.

    Args:
        approach: Its name in tables and folders.
        recipe: Name of its recipe.
        seed: Of training.
        fold: Of the data; None for a published or cut split.
        axes: What it varies beside seed and fold, e.g. model.optim.lr=0.001; the folder's name.
        settings: All that its files, settings and grid say, for `fit --config`.
        layer: What the YAML files alone say.
        stated: Dotted key and value of what the study's file sets over that.
        folder: Where it is run.
        needs: Key of the pretraining whose backbone it starts from.
        weights: That backbone's file.
        last: Whether it ends its chain, so that it is a row of the table.
        chain: The approach that it was first planned for.
        key: What its figures depend on, hashed.
        matters: The settings among that, for saying what has changed.
        images: Number of training images.
        dataset: Name of the data set.
        manifest_sha256: Of the data set.
        train_sha256: Of the training split's images.
    """

    approach: str
    recipe: str
    seed: int
    fold: int | None
    axes: str
    settings: Settings
    layer: Settings
    stated: list[tuple[str, Any]]
    folder: Path
    last: bool
    chain: str
    needs: str | None = None
    weights: Path | None = None
    key: str = ""
    matters: Settings = field(default_factory=dict)
    images: int = 0
    dataset: str = ""
    manifest_sha256: str = ""
    train_sha256: str = ""

    @property
    def name(self) -> str:
        """Name in messages: approach, axes, seed and fold."""
        return " ".join(part for part in (self.approach, self.axes, self.folder.name) if part)

    @property
    def images_to_see(self) -> int | None:
        """Training images over all epochs, where the settings say how many epochs there are."""
        epochs = get(self.settings, "trainer.max_epochs")
        return self.images * epochs if isinstance(epochs, int) and epochs > 0 else None


def plan(study: StudyFile, root: Path, only: list[str] | None = None) -> list[Job]:
    """Return the jobs of a study, each behind the one that it needs.

    Args:
        study: What the file says.
        root: Folder of all runs.
        only: Approaches to plan; all where it is None.

    Raises:
        ValueError: A file or setting is wrong, or two jobs would be written into one folder.
        FileNotFoundError: A file, or the images, are not there.
    """
    jobs: dict[str, Job] = {}
    folders: dict[Path, Job] = {}
    data = [read_yaml(find_config(file)) for file in study.data]
    layers = {recipe: _layer(recipe, data) for chain in study.approaches.values() for recipe in chain}
    for approach, chain in study.approaches.items():
        if only is not None and approach not in only:
            continue
        for point in _points(study):
            before: Job | None = None
            for recipe in chain:
                job = _job(study, root, approach, recipe, layers[recipe], point)
                if before is not None:
                    job = replace(job, needs=before.key, weights=before.folder / "backbone.safetensors")
                job = _with_key(job)
                before = jobs.setdefault(job.key, job)
                other = folders.setdefault(before.folder, before)
                if other.key != before.key:
                    raise ValueError(
                        f"{other.chain} and {approach} would both write {before.folder}, with other settings: give "
                        f"their recipes {other.recipe} and {recipe} names of their own in run.approach"
                    )
    return list(jobs.values())


def _layer(recipe: str, data: list[Settings]) -> Settings:
    """Return base.yaml with a recipe and the data's files over it."""
    layer = merge(read_yaml(configs_folder() / "base.yaml"), read_yaml(recipe_file(recipe)))
    for file in data:
        layer = merge(layer, file)
    return layer


@dataclass(frozen=True)
class _Point:
    """One of the runs of each approach.

    Args:
        seed: Of training.
        data: What the study says of fold and label_fraction; what it does not say is the data file's.
        grid: Key as it stands in the file, and value.
    """

    seed: int
    data: Settings
    grid: tuple[tuple[str, Any], ...]


def _points(study: StudyFile) -> Iterator[_Point]:
    """Yield the runs of an approach; folds outermost, then seeds: tables fill up evenly."""
    folds = [{}] if study.folds is None else [{"fold": fold} for fold in study.folds]
    fractions = [{}] if study.label_fractions is None else [{"label_fraction": each} for each in study.label_fractions]
    grid = [tuple(zip(study.grid, values, strict=True)) for values in itertools.product(*study.grid.values())]
    for fold, seed, fraction, values in itertools.product(folds, study.seeds, fractions, grid):
        yield _Point(seed, {**fold, **fraction}, values)


def _job(study: StudyFile, root: Path, approach: str, recipe: str, layer: Settings, point: _Point) -> Job:
    """Return the job of one recipe of an approach's chain at a point, without its key."""
    chain = [recipe_name(name) for name in study.approaches[approach]]
    own, last = recipe_name(recipe), chain[-1]
    so_far = chain[: chain.index(own) + 1]
    stated, axes = [], []
    general_first = sorted(study.settings.items(), key=lambda item: bool(Setting.parse(item[0]).recipes))
    for text, value in (*general_first, *point.grid):
        setting = Setting.parse(text)
        if own != last and setting.key in CLASSIFIERS_ONLY:
            continue
        if setting.reaches(own, last):
            stated.append((setting.key, value))
        if text in study.grid and any(setting.reaches(each, last) for each in so_far):
            axes.append(f"{text}={_shown(value)}")
    settings = layer
    for key, value in stated:
        settings = assign(settings, key, value)
    settings = merge(settings, {"data": point.data})
    if own != last:
        settings = without(settings, CLASSIFIERS_ONLY)
    if (fraction := get(settings, "data.label_fraction", 1)) != 1:
        axes.insert(0, f"label_fraction={fraction:g}")
    # A pretraining keeps its recipe's name: approaches share it. The last of a chain is the approach.
    name = approach if own == last else get(settings, "run.approach") or own
    folder_name, fold = ",".join(axes), get(settings, "data.fold")
    run = {
        "approach": name,
        "study": study.name,
        "root": str(root),
        # fit itself names the folder of a label fraction, and keeps it out of the table's axes
        "axes": folder_name if study.grid and folder_name else None,
    }
    return Job(
        approach=name,
        recipe=own,
        chain=approach,
        last=own == last,
        seed=point.seed,
        fold=fold,
        axes=folder_name,
        settings=merge(settings, {"seed_everything": point.seed, "run": run}),
        layer=layer,
        stated=stated,
        folder=root / study.name / name / folder_name / (f"seed{point.seed}" + (f"-fold{fold}" if fold else "")),
    )


def _shown(value: Any) -> str:
    """Return a value for the name of a folder."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return text.replace("/", "_")


def _with_key(job: Job) -> Job:
    """Return the job with its key, which changes exactly when its figures may."""
    if not isinstance(get(job.settings, "data.source"), dict):
        raise ValueError(f"the data of {job.recipe} has no source: name a file such as configs/data/phantom.yaml")
    images = images_of(job.settings["data"])
    matters = material(job.settings)
    said = [key for key, default in SPLIT_DEFAULTS.items() if get(matters, f"data.{key}") == default]
    matters = without(matters, tuple(f"data.{key}" for key in said))  # a study that says them has the same runs
    if not job.last:  # the training images say it all: where they are the same, so is the pretraining
        matters = without(matters, tuple(f"data.{key}" for key in SPLIT_KEYS))
    of = {
        "version": VERSION,
        "settings": matters,
        "manifest": images.manifest_sha256,
        "train": images.train_sha256,
        "needs": job.needs,
    }
    key = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()
    return replace(
        job, key=key, matters=matters, images=images.train, dataset=images.name,
        manifest_sha256=images.manifest_sha256, train_sha256=images.train_sha256,
    )  # fmt: skip
