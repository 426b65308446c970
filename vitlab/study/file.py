"""The study file: what is compared with what, over which seeds, folds, label fractions and settings."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from vitlab.shipped import configs_folder, find_config
from vitlab.study.settings import Settings, read_yaml

OUTPUTS = ("run.robustness", "run.features")  # what a study may say of where and what its runs write
ALL = "*"  # `*:key` is for every recipe of a chain
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")


@dataclass(frozen=True)
class Setting:
    """A dotted key of `fit`, and the recipes that it is for.

    Args:
        key: E.g. model.optim.lr.
        recipes: Their names; empty where none is named: `data.*` is then for the whole chain, others for its last.
    """

    key: str
    recipes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Setting":
        """Read `key`, `recipe:key` or `recipe,recipe:key`."""
        recipes, colon, key = text.rpartition(":")
        return cls(key, tuple(name.strip() for name in recipes.split(",")) if colon else ())

    def reaches(self, recipe: str, last: str) -> bool:
        """Say whether it is for a recipe of a chain that ends in `last`."""
        if self.recipes:
            return ALL in self.recipes or recipe in self.recipes
        return self.key.startswith("data.") or recipe == last


@dataclass(frozen=True, kw_only=True)
class StudyFile:
    """A study as its file states it.

    Args:
        name: Folder of its runs below the root of all; the file's name without .yaml where it is not given.
        data: YAML files laid over every recipe: a data set's, and overlays such as configs/hardware/cpu.yaml.
        approaches: Name in tables -> its chain of recipes. Each before the last is a pretraining, which hands on its
            backbone.
        seeds: Of training.
        folds: Folds of the data; where they are not given, the one that `data` names, or none.
        label_fractions: Shares of the training patients whose labels are used; pretraining sees all images.
        grid: Dotted key -> values; every combination is a run, named by it.
        settings: Dotted key -> value, for all runs.
        retries: How often a run that failed is tried again.
    """

    name: str
    data: list[str]
    approaches: dict[str, list[str]]
    seeds: list[int] = field(default_factory=lambda: [0])
    folds: list[int | None] | None = None
    label_fractions: list[float] | None = None
    grid: dict[str, list[Any]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    retries: int = 0


def load(path: Path) -> StudyFile:
    """Read and check a study file.

    Raises:
        ValueError: In one line, naming the file and the key.
    """
    found = read_yaml(path)
    keys = [each.name for each in fields(StudyFile)]
    for key in found:
        if key not in keys:
            raise ValueError(f"{path}: there is no key {key}{nearest(str(key), keys)}; there are {', '.join(keys)}")
    try:
        return _checked(path, found)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _checked(path: Path, found: Settings) -> StudyFile:
    name = found.get("name", path.stem)
    _check_name("name", name)
    data, approaches = found.get("data"), found.get("approaches")
    data = [data] if isinstance(data, str) else data
    if not isinstance(data, list) or not data or not all(isinstance(file, str) for file in data):
        raise ValueError("data must name a YAML file, e.g. data: configs/data/phantom.yaml")
    if not isinstance(approaches, dict) or not approaches:
        raise ValueError("approaches must map names to recipes, e.g. cnn_simclr: [simclr_pretrain, cnn_simclr]")
    chains: dict[str, list[str]] = {}
    for approach, chain in approaches.items():
        _check_name("approaches", approach)
        chains[approach] = [chain] if isinstance(chain, str) else chain
        if not isinstance(chains[approach], list) or not chain or not all(isinstance(r, str) for r in chains[approach]):
            raise ValueError(f"approaches.{approach} must be a list of recipes, e.g. [simclr_pretrain, cnn_simclr]")
    retries = found.get("retries", 0)
    if type(retries) is not int or retries < 0:
        raise ValueError(f"retries is {retries!r}; give a whole number of at least 0")
    grid, settings = found.get("grid") or {}, found.get("settings") or {}
    for section, mapping in (("grid", grid), ("settings", settings)):
        if not isinstance(mapping, dict) or not all(isinstance(key, str) for key in mapping):
            raise ValueError(f"{section} must map dotted keys to values, e.g. model.optim.lr")
    for key, values in grid.items():
        _check_list(f"grid.{key}", values)
    # shipped ones too: who takes an approach out of a study need not clear its settings away
    recipes = {path.stem for path in configs_folder().glob("*.yaml")} - {"base"}
    recipes |= {recipe_name(recipe) for chain in chains.values() for recipe in chain}
    for key in [*grid, *settings]:
        _check_setting(Setting.parse(key), key, recipes)
    return StudyFile(
        name=name, data=data, approaches=chains, grid=grid, settings=settings, retries=retries,
        seeds=_numbers("seeds", found.get("seeds", [0])) or [0],
        folds=_folds(found.get("folds")),
        label_fractions=_fractions(found.get("label_fractions")),
    )  # fmt: skip


def _check_setting(setting: Setting, text: str, recipes: Iterable[str]) -> None:
    for recipe in setting.recipes:
        if recipe != ALL and recipe not in recipes:
            raise ValueError(
                f"{text!r} is for the recipe {recipe}, which no approach has{nearest(recipe, recipes)}; "
                f"there are {', '.join(sorted(recipes))}"
            )
    instead = {
        "seed_everything": "seeds", "data.fold": "folds", "data.label_fraction": "label_fractions",
        "ckpt_path": "nothing, a study goes on by itself",
    }  # fmt: skip
    if setting.key in instead or (setting.key.partition(".")[0] == "run" and setting.key not in OUTPUTS):
        raise ValueError(f"{text!r} is set by the study itself; use {instead.get(setting.key, 'name')}")


def _check_name(key: str, name: Any) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{key}: {name!r} must be a name that can be a folder: letters, digits, - and _")


def _check_list(key: str, values: Any) -> list[Any]:
    if not isinstance(values, list) or not values:
        raise ValueError(f"{key} must be a list of values, e.g. [0, 1, 2], not {values!r}")
    if any(value in values[:place] for place, value in enumerate(values)):
        raise ValueError(f"{key} has a value twice: {values}")
    return values


def _numbers(key: str, values: Any) -> list[int]:
    for value in _check_list(key, values):
        if type(value) is not int or value < 0:
            raise ValueError(f"{key} must be whole numbers of at least 0, not {value!r}")
    return list(values)


def _folds(values: Any) -> list[int | None] | None:
    if values is None:
        return None
    for value in _check_list("folds", values):
        if value is not None and (type(value) is not int or value < 1):
            raise ValueError(f"folds must be whole numbers from 1, or null for the published split, not {value!r}")
    return list(values)


def _fractions(values: Any) -> list[float] | None:
    if values is None:
        return None
    for value in _check_list("label_fractions", values):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
            raise ValueError(f"label_fractions must be shares above 0 and at most 1, not {value!r}")
    return [float(value) for value in values]


def recipe_name(recipe: str) -> str:
    """Return the name of a recipe: that of its file, without folder and .yaml."""
    return recipe.rpartition("/")[2].removesuffix(".yaml")


def recipe_file(recipe: str) -> Path:
    """Return the file of a recipe: a path, or the name of a shipped one such as simclr_pretrain."""
    if recipe.endswith(".yaml"):
        return find_config(recipe)
    return find_config(f"configs/{recipe}.yaml")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `, did you mean x?` where a known word is near, else nothing."""
    found = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean {found[0]}?" if found else ""
