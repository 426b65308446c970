"""The answers of studies that are controls, in words: shuffled labels, where every score should be chance."""

from vitlab.report.summary import Table
from vitlab.report.words import ends, listed

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
