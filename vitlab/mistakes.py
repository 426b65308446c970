"""Turns jsonargparse's messages into one line that says what to do, with the nearest right word.

jsonargparse reports every alternative it tried and dumps the value; a user needs the key, what is wrong with it and the
nearest key or class that exists.
"""

import dataclasses
import difflib
import inspect
import re
from collections.abc import Iterable
from typing import Any

_NOISE = re.compile(r"\s*-? ?Expected a <class 'NoneType'>.*$|\s*Given value type: .*$")
_TYPES = {
    "<class 'int'>": "whole number",
    "<class 'float'>": "number",
    "<class 'bool'>": "true or false",
    "<class 'str'>": "text",
}
_UNKNOWN_KEY = (
    r"Option '([\w.]+)' is not accepted",
    r"[Kk]ey '?\"?([\w.]+)'?\"? is not expected",
    r"No action for key '?\"?([\w.]+)'?\"?",
    r"[Gg]roup '[^']*' does not accept nested key '([\w.]+)'",
)


def explain(message: str, parser: Any, classes: Iterable[type]) -> str:
    """Return one line for a parsing error.

    Args:
        message: What jsonargparse says, often several lines with the whole trail.
        parser: The parser that failed; its keys are candidates for a misspelt one.
        classes: Classes that can be named in the configuration; their names and settings are candidates too.
    """
    text = " ".join(message.split())
    text = re.sub(r"Does not validate against any of the Union subtypes Subtypes: \[.*?\] Errors:", "", text)
    text = _NOISE.sub("", text)
    key = _first(r'Parser key "([\w.]+)":', text)
    flags = [action.dest for action in parser._actions]
    settings = {name for kind in classes for name in _settings(kind)}
    if (name := _first(r"unrecognized arguments: (\S+)", text)) is not None:
        name = name.lstrip("-").partition("=")[0]
        known = flags if name in text and "." in name and key is None else [*settings, *flags]
        return f"there is no setting {_join(key, name)}{_near(name, known)}"
    for pattern in _UNKNOWN_KEY:
        if (name := _first(pattern, text)) is not None:
            return f"there is no setting {_join(key, name)}{_near(name.rpartition('.')[2], [*settings, *flags])}"
    if (name := _first(r"Expected a dot import path string: (\S+)", text)) is not None:
        nearest = _near(name, [kind.__name__ for kind in classes])
        return f"{key or 'the configuration'} names an unknown class {name}{nearest}"
    if "arguments are required" in text and "model" in text:
        return "no model: give a recipe such as --config configs/cnn.yaml, or --model and its settings"
    for kind, words in _TYPES.items():
        text = text.replace(f"Expected a {kind}", f"expected a {words}")
    text = re.sub(r"Expected a typing\.Literal\[(.*?)\]", r"expected one of \1", text)
    text = re.sub(r'Parser key "([\w.]+)": ?-? ?', r"\1: ", text)
    return text.strip().removeprefix("- ")


def _settings(kind: type) -> list[str]:
    names: list[str] = []
    for name, parameter in inspect.signature(kind).parameters.items():
        names.append(name)
        if dataclasses.is_dataclass(parameter.annotation):
            names += [field.name for field in dataclasses.fields(parameter.annotation)]
    return names


def _first(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return found[1] if found else None


def _join(key: str | None, name: str) -> str:
    return name if key is None or name.startswith(key) else f"{key}.{name}"


def _near(name: str, known: Iterable[str]) -> str:
    """Return the nearest known names, compared whole and by their last part."""
    known = sorted(set(known))
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    last = {full.rpartition(".")[2]: full for full in known}
    found = found or [last[part] for part in difflib.get_close_matches(name.rpartition(".")[2], last, n=1)]
    return f", did you mean {found[0]}?" if found else "; --help lists all"
