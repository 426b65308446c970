"""The YAML files that a command line names: found from any folder, and of the kind that its verb takes.

A study, a recipe and a data set are all YAML, and the parser of one calls the first key of another a misspelt setting.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vitlab.shipped import find_config
from vitlab.yaml_text import Unfolds, check_texts, parse

FLAGS = ("--config", "-c")
_LIGHTNING = ("fit", "validate", "test", "predict")
_STUDY = {"approaches", "seeds", "folds", "label_fractions", "grid", "retries"}
# what a configuration of `fit` has beside `data`
_TRAINING = {
    "model", "trainer", "checkpoint", "probe", "reconstructions", "run", "seed_everything", "compile", "ckpt_path",
}  # fmt: skip
_TAKES = {
    "bench": "bench takes the data alone, as in configs/data/cheng.yaml",
    "audit": "audit takes the data alone, as in configs/data/cheng.yaml",
    "study": "a study lists approaches, as configs/studies/phantom.yaml does",
    "compare": "compare takes folders of runs",
    "data": "data takes its own settings, out and seed",
    "predict --images": "predict --images takes its own settings, ckpt_path, images, out and explain",
}


def find_configs(verb: str, args: list[str]) -> list[str]:
    """Let `--config configs/cnn.yaml` find the shipped file from any folder; files of the user's own come first.

    Args:
        verb: fit, validate, test, predict, audit or bench.
        args: The rest of the command line.

    Returns:
        The command line with the paths of the files.

    Raises:
        FileNotFoundError: A named file exists nowhere.
        ValueError: One is no configuration, or another verb's; or none of them has a model.
    """
    args, named, keys = list(args), [], set()
    for place, flag, name in _named(args):
        path = find_config(name)
        args[place] = f"{flag}={path}" if flag else str(path)
        found = _read(path)
        _check_kind(verb, name, found)
        named.append(name)
        keys |= set(found)
    known = keys <= _TRAINING | {"data"}  # else a misspelt key may be the model
    asked = any(arg.startswith("--model") or arg in ("-h", "--help") for arg in args)
    if verb in _LIGHTNING and named and known and "model" not in keys and not asked:
        raise ValueError(
            f"{' and '.join(named)} {'has' if len(named) == 1 else 'have'} no model: put a recipe before it, such as "
            "--config configs/cnn.yaml"
        )
    return args


def check_kinds(verb: str, args: list[str]) -> None:
    """Refuse another verb's file before a verb that reads its own.

    Args:
        verb: study, compare, data, or predict with --images.
        args: The rest of the command line.

    Raises:
        ValueError: A file is one of `fit` or of a study, and the verb takes another.
    """
    for _, _, name in _named(args):
        try:
            path = find_config(name)
            found = _read(path)
        except (OSError, ValueError) as error:
            if verb in ("data", "predict --images") or isinstance(error, Unfolds):
                raise
            continue  # the verb says it, with what it wants
        _check_kind(verb, name, found)


def _named(args: list[str]) -> Iterator[tuple[int, str, str]]:
    """Yield where each file is named, the flag where it stands in the same argument, and the name."""
    for place, arg in enumerate(args):
        flag, joined, name = arg.partition("=")
        if arg.startswith("-c") and flag not in FLAGS:  # -cFILE
            flag, joined, name = arg[:2], arg[:2], arg[2:]
        if flag in FLAGS and joined:
            yield place, flag, name
        elif flag in FLAGS and place + 1 < len(args):
            yield place + 1, "", args[place + 1]


def _read(path: Path) -> dict[str, Any]:
    """Return what a file holds; jsonargparse would not name the file that is no configuration."""
    try:
        found = parse(path.read_text(encoding="utf-8"))
        check_texts(found)
    except Unfolds as error:
        raise Unfolds(f"{path}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path} is not YAML: {error}") from None
    if isinstance(found, dict) and "config" in found:
        raise ValueError(f"{path} names a further file as config: give each by a --config of its own, and leave it out")
    if not isinstance(found, dict):
        held = {type(None): "nothing", list: "a list", str: "text"}.get(type(found), "a value")
        raise ValueError(f"{path} is not a configuration: it holds {held}, not keys such as model and data")
    return found


def _check_kind(verb: str, name: str, found: dict[str, Any]) -> None:
    study, training = _STUDY & set(found), _TRAINING & set(found)
    if study and verb != "study":
        raise ValueError(f"{name} is a study: run it with `python -m vitlab study --config {name}`" + _takes(verb))
    if training and not study and verb not in _LIGHTNING:
        raise ValueError(f"{name} is a configuration of fit, it sets {', '.join(sorted(training))}" + _takes(verb))
    if isinstance(found.get("data"), dict) and not study and verb in ("study", "compare", "data", "predict --images"):
        raise ValueError(f"{name} describes a data set" + _takes(verb))


def _takes(verb: str) -> str:
    return f"; {_TAKES[verb]}" if verb in _TAKES else ""
