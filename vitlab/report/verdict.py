"""The answer in words: whether pretraining helps, which architecture generalises, and what this study cannot tell."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

from vitlab.evaluate.paired import Pair
from vitlab.report.controls import of_shuffled
from vitlab.report.rows import Row
from vitlab.report.summary import Table
from vitlab.report.words import PER, at_least, figure, listed, points

METRIC = "balanced_accuracy"  # a rare class counts as much as a frequent one
PRETRAINED = {"cnn_simclr": "cnn", "vit_mae": "vit"}
ARCHITECTURES = {"vit": "cnn", "vit_mae": "cnn_simclr"}
Question = Literal["pretraining", "architecture", "settings", "others"]
LISTED = 3  # pairs that a sentence names, the largest differences first


def verdict(table: Table) -> list[str]:
    """Answer the two questions from the tests, in sentences.

    Differences are of balanced accuracy on test, per patient where patients are known, else per image. One is called
    so where `Pair.differs` says that it is larger than chance. Of shuffled labels the question is another one, see
    `controls`.
    """
    if table.shuffled:
        return of_shuffled(table)
    rows = {row.name: row for row in table.rows}
    pairs = [pair for pair in table.pairs if pair.level == table.level and pair.metric == METRIC]
    pairs = [pair for pair in pairs if pair.difference is not None]
    if not pairs:
        return [_untested(table)]
    groups: dict[Question, list[Pair]] = {name: [] for name in get_args(Question)}
    for pair in pairs:
        groups[question(rows[pair.a], rows[pair.b])].append(pair)
    unit = f"balanced accuracy {PER[table.level]}"
    sentences = []
    if groups["pretraining"]:
        sentences.append(_pretraining(groups["pretraining"], unit))
    if groups["architecture"]:
        sentences.append(_architecture(groups["architecture"], unit, rows))
    if groups["settings"]:
        sentences.append(_settings(groups["settings"], unit))
    if sentences and groups["others"]:
        sentences[-1] += _others(groups["others"])
    elif groups["others"]:
        sentences.append(_between(groups["others"], unit))
    if all(row.n == 1 for row in table.rows):
        once = "Each was run once, so that this holds for these trained models alone"
        sentences.append(f"{once}: another seed may turn it round")
    return [sentence + "." for sentence in sentences]


def question(a: Row, b: Row) -> Question:
    """Say which question a pair answers; `a` is the later row."""
    if a.axes == b.axes and PRETRAINED.get(a.approach) == b.approach and a.backbone == b.backbone:
        return "pretraining"
    if a.axes == b.axes and ARCHITECTURES.get(a.approach) == b.approach:
        return "architecture"
    return "settings" if a.approach == b.approach and a.axes != b.axes else "others"


def _pretraining(pairs: Sequence[Pair], unit: str) -> str:
    found = [pair for pair in pairs if pair.differs]
    if not found:
        return f"Whether self-supervised pretraining helps, this study cannot tell: {_undecided(pairs, unit)}"
    signs = {_difference(pair) > 0 for pair in found}
    what = "helps one and hurts another" if len(signs) == 2 else "helps" if True in signs else "hurts"
    clauses = listed([_clause(pair) for pair in _largest(found)], LISTED)
    return f"Self-supervised pretraining {what}: {clauses} of {unit}{_rest(pairs)}"


def _architecture(pairs: Sequence[Pair], unit: str, rows: dict[str, Row]) -> str:
    found = [pair for pair in pairs if pair.differs]
    if not found:
        return f"Which architecture generalises better, this study cannot tell: {_undecided(pairs, unit)}"
    better = {rows[_forward(pair).a].approach.partition("_")[0] for pair in found}
    ahead = {"cnn": "The CNN generalises better", "vit": "The ViT generalises better"}
    what = ahead[better.pop()] if len(better) == 1 else "Neither architecture generalises better throughout"
    clauses = listed([_clause(_forward(pair)) for pair in _largest(found)], LISTED)
    return f"{what}: {clauses} of {unit}{_rest(pairs)}"


def _settings(pairs: Sequence[Pair], unit: str) -> str:
    found = [pair for pair in pairs if pair.differs]
    if not found:
        return f"Between the settings of one approach, no difference is larger than chance: {_undecided(pairs, unit)}"
    clauses = listed([_clause(_forward(pair)) for pair in _largest(found)], LISTED)
    return f"Settings matter: {clauses} of {unit}{_rest(pairs)}"


def _between(pairs: Sequence[Pair], unit: str) -> str:
    """The sentence of a table that has none of the four approaches' questions in it."""
    found = [pair for pair in pairs if pair.differs]
    if not found:
        return f"No difference is larger than chance: {_undecided(pairs, unit)}"
    clauses = listed([_clause(_forward(pair)) for pair in _largest(found)], LISTED)
    return f"{clauses} of {unit}{_rest(pairs)}"


def _others(pairs: Sequence[Pair]) -> str:
    found = [pair for pair in pairs if pair.differs]
    if not found:
        return "; no other difference is larger than chance"
    return f"; across both, {listed([_clause(_forward(pair)) for pair in _largest(found)], LISTED)}"


def _rest(pairs: Sequence[Pair]) -> str:
    """What of a group is not larger than chance."""
    rest = [pair for pair in pairs if not pair.differs]
    if not rest:
        return ""
    return f"; {listed([_shown(pair) for pair in _largest(rest)], LISTED)} may be chance{_could(rest)}"


def _undecided(pairs: Sequence[Pair], unit: str) -> str:
    return f"{listed([_shown(pair) for pair in _largest(pairs)], LISTED)} of {unit} may be chance{_could(pairs)}"


def _could(pairs: Sequence[Pair]) -> str:
    known = [pair.detectable for pair in pairs if pair.detectable is not None]
    return f" (this study could have found differences of {at_least(max(known))} and more)" if known else ""


def _clause(pair: Pair) -> str:
    if _difference(pair) < 0:
        pair = _turned(pair)
        return f"{pair.b} is worse than {pair.a} by {points(pair.difference, pair.low, pair.high, signed=False)}"
    return f"{pair.a} is better than {pair.b} by {points(pair.difference, pair.low, pair.high, signed=False)}"


def _shown(pair: Pair) -> str:
    return f"{pair.a} against {pair.b} {points(pair.difference, pair.low, pair.high)}"


def _largest(pairs: Sequence[Pair]) -> list[Pair]:
    return sorted(pairs, key=lambda pair: -abs(_difference(pair)))


def _difference(pair: Pair) -> float:
    assert pair.difference is not None
    return pair.difference


def _forward(pair: Pair) -> Pair:
    """The better one first."""
    return _turned(pair) if _difference(pair) < 0 else pair


def _turned(pair: Pair) -> Pair:
    low, high = (None if end is None else -end for end in (pair.high, pair.low))
    better = None if pair.p_better is None else 1 - pair.p_better
    return replace(pair, a=pair.b, b=pair.a, difference=-_difference(pair), low=low, high=high, p_better=better)


def _untested(table: Table) -> str:
    """The sentence where nothing was compared."""
    level = table.level
    known = [(row.stat(level, "test", METRIC).mean, row) for row in table.rows]
    ranked = sorted(((mean, row) for mean, row in known if mean is not None), key=lambda item: -item[0])
    if not ranked:
        return "No run has a balanced accuracy on test: there is nothing to compare."
    best, last = ranked[0][1], ranked[-1][1]
    reached = f"a test balanced accuracy of {figure(best.stat(level, 'test', METRIC))} {PER[level]}"
    if len(table.rows) == 1:
        once = " in one run, and another seed may move that" if best.n == 1 else f" over {best.n} runs"
        return f"{best.name} has {reached}{once}; there is nothing to compare it with."
    if best is last:
        return f"{best.name} has {reached}, and no other row has one."
    lowest = f"{figure(last.stat(level, 'test', METRIC))} of {last.name}"
    return f"{best.name} has {reached}, down to {lowest}; without tests, nothing says whether that is chance."
