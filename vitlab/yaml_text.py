"""YAML of a stranger: plain values of a bounded size, or one line; nothing in it is executed.

Imports nothing heavy: it is read before the verb is known.
"""

from typing import Any

MOST = 100_000  # values, aliases unfolded; the largest configuration of a run has some three hundred


class Unfolds(ValueError):
    """Aliases in aliases unfold to more than any configuration holds, or nesting has no end."""


def parse(text: str, loader: Any = None) -> Any:
    """Return what YAML holds.

    Args:
        text: The YAML.
        loader: A subclass of yaml.SafeLoader, which is taken where none is given.

    Raises:
        ValueError: It is not YAML.
        Unfolds: It holds more than `MOST` values, or itself; ten lines of aliases can mean billions.
    """
    import yaml

    try:
        found = yaml.load(text, loader or yaml.SafeLoader)
        if _unfolded(found, {}) > MOST:
            raise Unfolds(f"its aliases unfold to more than {MOST:,} values: write what it holds without them")
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    except (LookupError, AttributeError):  # of yaml itself, as for !!int "" or !!bool maybe
        raise ValueError("a value is not what its tag says: leave out the tag, which begins with !!") from None
    except RecursionError:
        raise Unfolds("it is nested too deeply for a configuration") from None
    return found


def check_texts(found: Any) -> None:
    """Look into texts that are YAML once more, which jsonargparse makes of one where something else is due.

    Args:
        found: What `parse` returned.

    Raises:
        Unfolds: One holds more than `MOST` values.
    """
    if isinstance(found, list | dict):
        for value in found if isinstance(found, list) else found.values():
            check_texts(value)
    elif isinstance(found, str) and not {"&", "[", "{"}.isdisjoint(found):
        try:
            inside = parse(found)
        except Unfolds:
            raise
        except ValueError:  # plain text
            return
        if inside != found:
            check_texts(inside)


def _unfolded(node: Any, known: dict[int, int]) -> int:
    """Count values as if every alias were written out, without doing so; 64 letters count as one."""
    if isinstance(node, str):
        return 1 + len(node) // 64
    if not isinstance(node, list | dict):
        return 1
    if id(node) not in known:
        known[id(node)] = MOST + 1  # found again inside itself, it has no end
        values = node if isinstance(node, list) else [*node, *node.values()]
        known[id(node)] = 1 + sum(_unfolded(value, known) for value in values)
    return known[id(node)]
