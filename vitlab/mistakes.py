"""Turns jsonargparse's messages into one line that says what to do, with the nearest right word.

jsonargparse reports every alternative it tried and dumps the value; a user needs the key, what is wrong with it and the
nearest key or class that exists. A class in a configuration has a parser of its own, whose line becomes part of the
message of the parser around it: there the keys are lengthened, from `optim.lr` to `model.optim.lr`.
"""

import dataclasses
import difflib
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NoReturn, get_args, get_type_hints

_UNION = re.compile(
    r"Does not validate against any of the Union subtypes\s*Subtypes: .*?\n\s*Errors:\n(?P<errors>.*)\n"
    r"\s*Given value type: .*?\n\s*Given value: (?P<value>.*)$",
    re.DOTALL,
)
_EXPECTED = re.compile(r"Expected a (?P<kind>.+?)(?:\. Got value: (?P<value>.*))?$", re.DOTALL)
_UNKNOWN_KEY = re.compile(
    r"(?:unrecognized arguments: (?P<flag>-\S+)|Option '(?P<option>[^']+)' is not accepted"
    r"|Group '(?P<group>[^']+)' does not accept (?:option|nested key) '(?P<below>[^']+)'"
    r"|Subcommand '[^']+' does not accept option '(?P<own>[^']+)'"
    r"|[Kk]ey '?\"?(?P<key>[\w.]+)'?\"? is not expected|No action for key '?\"?(?P<action>[\w.]+))"
)
_UNKNOWN_CLASS = (
    r"Expected a dot import path string: (\S+)",
    r"Problem with given class_path '([^']+)':\s+(?:module|No module|cannot import|type object)",
    r"Import path (?:(\S+) )?does not correspond",
)
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "tuple": "a list",
    "list": "a list",
    "dict": "{key: value, ...}",
    "NoneType": "null",
}
_WORDS = {"None": "null", "True": "true", "False": "false"}


class OneLine:
    """Mixed into a parser of jsonargparse: a mistake is a ValueError of one line, and no flag may be abbreviated.

    Nor does the name of a file stand for settings, as jsonargparse has it: what is read is what `--config` names.
    """

    named: ClassVar[Mapping[str, Sequence[type]]] = {}
    """Classes that a key can name: their names and settings are candidates for misspelt ones."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        from jsonargparse import set_parsing_settings

        set_parsing_settings(config_read_mode_fsspec_enabled=False)  # Lightning has addresses read, at its import
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def add_class_arguments(self, *args: Any, **settings: Any) -> Any:
        """Add the settings of a class."""
        return self._without_files(super().add_class_arguments(*args, **settings))  # type: ignore[misc]

    def add_subclass_arguments(self, *args: Any, **settings: Any) -> Any:
        """Add the settings of a class that is named."""
        return self._without_files(super().add_subclass_arguments(*args, **settings))  # type: ignore[misc]

    def _without_files(self, added: Any) -> Any:
        for action in self._actions:  # type: ignore[attr-defined]
            if hasattr(action, "_enable_path"):
                action._enable_path = False
            if hasattr(action, "_load_config"):
                action._load_config = partial(_load_group, action)
        return added

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise instead of printing usage."""
        raise ValueError(explain(message, self, self.named)) from None


def _load_group(action: Any, value: Any, parser: Any) -> Any:
    """Return the settings of a group, of which a text is YAML and never the name of a file."""
    import yaml
    from jsonargparse import get_loader

    try:
        found = get_loader("yaml")(value) if isinstance(value, str) else value
    except yaml.YAMLError:
        found = value
    if isinstance(found, str | list):
        raise TypeError(f'Parser key "{action.dest}": Unable to load config {str(value)!r}')
    return type(action)._load_config(action, found, parser)


def one_line_parser(named: Mapping[str, Sequence[type]] | None = None, **settings: Any) -> Any:
    """Return a parser of jsonargparse, which is imported only here, whose mistakes are one line.

    Args:
        named: See `OneLine`.
        settings: Of `jsonargparse.ArgumentParser`.
    """
    from jsonargparse import ArgumentParser

    class Parser(OneLine, ArgumentParser):
        """The parsers of classes inside a configuration are made from its class, with the same names."""

    Parser.named = named or {}
    return Parser(**settings)


def explain(message: str, parser: Any, named: Mapping[str, Sequence[type]]) -> str:
    """Return one line for a parsing error.

    Args:
        message: What jsonargparse says, often several lines with the whole trail.
        parser: The parser that failed; its keys are candidates for a misspelt one.
        named: Classes that a key can name; their names and settings are candidates too.
    """
    return " ".join(_explain(message.strip(), set(_keys(parser, named)), named, None).split())


def refuse_null(key: str, kind: type, settings: Mapping[str, Any]) -> None:
    """Find a null where the class wants a value: jsonargparse takes one for every setting of a class.

    Raises:
        ValueError: A setting is null and its type does not say that it may be.
    """
    hints = get_type_hints(kind.__init__)  # type: ignore[misc]
    for name, value in settings.items():
        if value is None and name in hints and type(None) not in get_args(hints[name]):
            raise ValueError(f"{key}.{name}: expected {_wanted(hints[name])}, got null")


def _explain(message: str, keys: set[str], named: Mapping[str, Sequence[type]], key: str | None) -> str:
    """Return the line, its keys not yet lengthened by the keys around it."""
    if (head := re.match(r'(?:Parser key "|--)([\w.]+?)(?:"[^:]*|\.help):\s*', message)) is not None:
        return _inside(head[1], _explain(message[head.end() :], keys, named, head[1]))
    message = re.sub(r"^\s*- Expected a path but .*? either not accessible or invalid\s+- ", "", message)
    value = None
    if (union := _UNION.search(message)) is not None:
        message, value = _of_union(union["errors"]), union["value"]
    for pattern in _UNKNOWN_CLASS:
        if (found := re.match(pattern, message)) is not None:
            name = str(found[1] or value)
            return f"unknown class {name}{_class_near(name, named.get(key or '', ()))}"
    if (unknown := _UNKNOWN_KEY.match(message)) is not None:
        name = ".".join(part for part in unknown.groups() if part)
        name = name.lstrip("-").partition("=")[0].replace(".init_args.", ".")
        return f"there is no setting {name}{_near(name, keys)}"
    if (word := re.match(r"unrecognized arguments: (\S+)", message)) is not None:
        file = word[1].endswith((".yaml", ".yml"))
        return f"cannot use '{word[1]}': " + (
            f"give it as --config {word[1]}" if file else "settings begin with --, as in --config FILE"
        )
    if flag := re.match(r"argument (?:-c/)?--(\S+): (expected one argument|ignored explicit argument)", message):
        return f"--{flag[1]} " + ("needs a value" if flag[2] == "expected one argument" else "takes no value")
    if (missing := re.match(r"[Tt]he following arguments are required: ([\w.]+)", message)) is not None:
        return _required(missing[1])
    if re.match(r"(Unable to load config|Not a valid subclass)", message) is not None:
        given = str(value or (re.findall(r"'(.*?)'|Got value: (\S+)", message) or [("", "")])[0][0])
        file = "/" in given or given.endswith((".yaml", ".yml", ".json"))
        hint = "; a file of them takes a --config of its own, where they stand under their key" if file else ""
        return "is a group of settings" + _got(given) + hint
    if "NonNegativeInt" in message:
        return "expected a whole number of at least 0" + _got(value)
    if (expected := _EXPECTED.match(message)) is not None:
        return f"expected {_wanted(expected['kind'])}{_got(expected['value'] or value)}"
    return message.removeprefix("- ")


def _of_union(errors: str) -> str:
    """Return the most telling alternative, or the kinds of all where each only says what it expected."""
    indent = len(errors) - len(errors.lstrip(" "))
    alternatives = [part.strip() for part in re.split(rf"^ {{{indent}}}- ", errors, flags=re.MULTILINE) if part.strip()]
    expected = [None if "import path" in part else _EXPECTED.match(part) for part in alternatives]
    if all(expected):
        value = next((f". Got value: {found['value']}" for found in expected if found and found["value"]), "")
        return "Expected a " + " | ".join(found["kind"] for found in expected if found) + value
    return next(part for part, found in zip(alternatives, expected, strict=True) if found is None)


def _inside(key: str, line: str) -> str:
    """Lengthen the keys that an inner line names by the key it stands under."""
    if line.startswith("there is no setting "):
        return re.sub(r"(?<=^there is no setting )|(?<=, did you mean )", f"{key}.", line)
    return f"{key}.{line}" if re.match(r"[\w.]+: ", line) else f"{key}: {line}"


def _required(key: str) -> str:
    if key.endswith("model"):
        return "no model: give a recipe such as --config configs/cnn.yaml, or --model and its settings"
    if key.endswith("data.source"):
        return "no data: give --config configs/data/phantom.yaml, or --data.source and its settings"
    return f"{key}: has no default, give a value"


def _wanted(kind: Any) -> str:
    """Return a type, or what a message calls it, in words; several stand with | between them."""
    kind = str(kind)
    if choices := ", ".join(re.findall(r"Literal\[(.*?)\]", kind)):
        return f"one of {', '.join(dict.fromkeys(choices.split(', ')))}"
    if (length := re.match(r"tuple with (\d+) elements", kind)) is not None:
        return f"a list of {length[1]} values"
    names = [re.sub(r"^<class '|'>$|\[.*", "", name) for name in kind.split(" | ")]
    return " or ".join(dict.fromkeys(_KINDS.get(name, name.rpartition(".")[2]) for name in names))


def _got(value: str | None) -> str:
    if not value or value.startswith(("NestedArg(", "Namespace(")):
        return ""
    return f", got {_WORDS.get(value, repr(value) if len(value) < 60 else repr(value[:60] + '...'))}"


def _keys(parser: Any, named: Mapping[str, Sequence[type]]) -> Iterator[str]:
    """Return the keys of a parser, of its verb, and of the classes that the keys name."""
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for verb in action.choices.values():
                yield from _keys(verb, named)
        elif not action.dest.endswith(".help"):
            yield action.dest
        for kind in named.get(action.dest, ()):
            yield from (f"{action.dest}.{name}" for name in _settings(kind))


def _settings(kind: type) -> Iterator[str]:
    for name, parameter in inspect.signature(kind).parameters.items():
        yield name
        if dataclasses.is_dataclass(parameter.annotation):
            yield from (f"{name}.{field.name}" for field in dataclasses.fields(parameter.annotation))


def _class_near(name: str, classes: Iterable[type]) -> str:
    names = [kind.__name__ for kind in classes]
    near = _near(name.rpartition(".")[2], names)
    return near if "did you mean" in near or not 0 < len(names) < 10 else f", choose one of {', '.join(names)}"


def _near(name: str, known: Iterable[str]) -> str:
    """Return the nearest known name: one that the name begins, else compared whole and by the last part."""
    known = sorted(set(known), key=lambda full: (full.count("."), full))
    last = {full.rpartition(".")[2]: full for full in reversed(known)}
    part = name.rpartition(".")[2]
    found = [full for full in known if full.startswith(name)] or [full for full in (last.get(part),) if full]
    found = found or difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    found = found or [last[near] for near in difflib.get_close_matches(part, last, n=1, cutoff=0.7)]
    group, groups = name.partition(".")[0], {full.partition(".")[0] for full in known}
    if group != name and group not in groups:
        found = found or difflib.get_close_matches(group, groups, n=1, cutoff=0.7)
    return f", did you mean {found[0]}?" if found else "; --help lists all"
