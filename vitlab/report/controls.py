"""The answers of studies that are controls, in words: shuffled labels, and splits that leak."""

from collections.abc import Sequence

from vitlab.evaluate.paired import Pair
from vitlab.report.clauses import could_find, difference, largest, turn
from vitlab.report.rows import CUT_BY, Row
from vitlab.report.summary import Table
from vitlab.report.words import ends, listed, points

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def of_shuffled(table: Table) -> list[str]:
    """Say whether models that were trained on shuffled labels are at chance, and how much they know by heart."""
    found = table.chance
    if found is None:
        said = ["Trained on shuffled labels, every score should be chance; without predictions and resamples, nothing "
                "says whether it is"]  # fmt: skip
    else:
        interval = f"the interval of chance{ends(found.low, found.high)}"
        unit = "of test balanced accuracy per image"
        above, below, within = (
            [name for name in found.scores if found.place(name) == place] for place in ("above", "below", "within")
        )
        if above:
            text = f"{_scored(above, table)} above {interval} {unit}: something leaks"
            text += f"; {_scored(below, table)} below it" if below else ""
        elif below:
            text = f"{_scored(below, table)} below {interval} {unit}, as chance is in one study of 40"
        else:
            text = f"{_all(table)} within {interval} {unit}: no leak shows"
        if within and (above or below):
            text += f"; {listed(within)} {'is' if len(within) == 1 else 'are'} within it"
        said = [f"Trained on shuffled labels, {text}"]
    known = [(row.name, row.stat("slice", "train", "accuracy").mean) for row in table.rows]
    if learned := [f"{name} {mean:.2f}" for name, mean in known if mean is not None]:
        said.append(f"Train accuracy is what they know by heart: {listed(learned)}")
    return [f"{sentence}." for sentence in said]


def of_leak(pairs: Sequence[Pair], leaks: Sequence[tuple[Row, Row]], unit: str, *, once: bool) -> str:
    """Say what a split by image pretends.

    Args:
        pairs: each of a row that is split by image and the one that is split by patient, either first.
        leaks: rows split by image, each with that by patient.
        unit: what differences are of.
        once: whether every row is of a single run.
    """
    names = {leaky.name: _uncut(leaky) for leaky, _ in leaks}
    pairs = [pair if pair.a in names else turn(pair) for pair in largest(pairs)]
    found = [pair for pair in pairs if pair.differs]
    same = [pair for pair in pairs if not pair.differs]
    shown = listed([f"{names[pair.a]} {points(pair.difference, pair.low, pair.high)}" for pair in same]) if same else ""
    chance = f"may be chance{could_find(same)}"
    if not found:
        return f"What a split by image pretends, this study cannot tell: {shown} of {unit} {chance}"
    start, verb, pretends = ("In single runs split", "scored", "pretended") if once else ("Split", "scores", "pretends")
    parts = []
    meanings = {"more": f": that is what the leak {pretends}", "less": ", which no leak does"}
    for sign, word in ((1, "more"), (-1, "less")):
        own = [pair for pair in found if sign * difference(pair) > 0]
        if own:
            clauses = [f"{names[p.a]} {verb} {points(*_size(p), signed=False)}" for p in own]
            parts.append(f"{listed(clauses)} of {unit} {word} than by patient{meanings[word]}")
    parts += [f"{shown} {chance}"] if same else []
    return f"{start} by image, {'; '.join(parts)}"


def _size(pair: Pair) -> tuple[float | None, float | None, float | None]:
    """The difference without its sign, and its ends."""
    pair = pair if difference(pair) > 0 else turn(pair)
    return pair.difference, pair.low, pair.high


def _uncut(row: Row) -> str:
    """The row's name without what its splits were cut by."""
    if not row.axes:
        return row.name
    return " ".join(row.name.replace(row.axes, CUT_BY.sub("", row.axes).strip(",")).split())


def _scored(names: list[str], table: Table) -> str:
    """Names with their scores, and the verb."""
    assert table.chance is not None
    told = listed([f"{name} ({table.chance.scores[name]:.2f})" for name in names])
    return f"{told} {'is' if len(names) == 1 else 'are'}"


def _all(table: Table) -> str:
    """All that were tested, and the verb."""
    assert table.chance is not None
    names = list(table.chance.scores)
    what = "rows" if any(row.axes for row in table.rows) else "approaches"
    if len(names) == 1:
        return f"{names[0]} is"
    number = NUMBERS[len(names)] if len(names) < len(NUMBERS) else str(len(names))
    return f"both {what} are" if len(names) == 2 else f"all {number} {what} are"
