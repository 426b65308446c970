"""The answer in words: whether pretraining helps, which architecture generalises, and what this study cannot tell."""

from collections.abc import Sequence
from typing import Literal, get_args

from vitlab.evaluate.paired import Pair
from vitlab.report.clauses import better_than, difference, forward, may_be_chance
from vitlab.report.controls import of_leak, of_shuffled
from vitlab.report.pairs import METRIC
from vitlab.report.rows import Row
from vitlab.report.summary import Table
from vitlab.report.words import PER, figure

PRETRAINED = {"cnn_simclr": "cnn", "vit_mae": "vit"}
ARCHITECTURES = {"vit": "cnn", "vit_mae": "cnn_simclr"}
Question = Literal["leak", "pretraining", "architecture", "settings", "others"]


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
    once = all(row.n == 1 for row in table.rows)
    sentences = []
    if groups["leak"]:
        # What a leak pretends answers no other question.
        leaky = {row.name for row, _ in table.leaks}
        groups = {name: [p for p in own if name == "leak" or not leaky & {p.a, p.b}] for name, own in groups.items()}
        sentences.append(of_leak(groups["leak"], table.leaks, unit, once=once))
    if groups["pretraining"]:
        sentences.append(_pretraining(groups["pretraining"], unit, once))
    if groups["architecture"]:
        sentences.append(_architecture(groups["architecture"], unit, rows, once))
    if groups["settings"]:
        sentences.append(_settings(groups["settings"], unit, once))
    if groups["others"] and len(sentences) > bool(groups["leak"]):
        sentences[-1] += _others(groups["others"], once)
    elif groups["others"]:
        sentences.append(_between(groups["others"], unit, once))
    if once:
        sentences.append("Each was run once, so that this holds for these trained models alone: another seed may turn "
                         "it round")  # fmt: skip
    return [f"{sentence}." for sentence in sentences]


def question(a: Row, b: Row) -> Question:
    """Say which question a pair answers; `a` is the later row, and of a leak that of the split by patient."""
    if b.leaks_beside(a):
        return "leak"
    if a.axes == b.axes and PRETRAINED.get(a.approach) == b.approach and a.backbone == b.backbone:
        return "pretraining"
    if a.axes == b.axes and ARCHITECTURES.get(a.approach) == b.approach:
        return "architecture"
    return "settings" if a.approach == b.approach and a.axes != b.axes else "others"


def _pretraining(pairs: Sequence[Pair], unit: str, once: bool) -> str:
    found = [pair for pair in pairs if pair.differs]
    if not found:
        return f"Whether self-supervised pretraining helps, this study cannot tell: {may_be_chance(pairs, unit)}"
    signs = {difference(pair) > 0 for pair in found}
    helps, hurts = ("helped", "hurt") if once else ("helps", "hurts")
    what = f"{helps} one and {hurts} another" if len(signs) == 2 else helps if True in signs else hurts
    clauses = better_than(found, once=once, turned=False)
    start = "In single runs, self" if once else "Self"
    return f"{start}-supervised pretraining {what}: {clauses} of {unit}{_rest(pairs)}"


def _architecture(pairs: Sequence[Pair], unit: str, rows: dict[str, Row], once: bool) -> str:
    found = [pair for pair in pairs if pair.differs]
    if not found:
        return f"Which architecture generalises better, this study cannot tell: {may_be_chance(pairs, unit)}"
    better = {rows[forward(pair).a].approach.partition("_")[0] for pair in found}
    names = {"cnn": "the CNN", "vit": "the ViT"}
    who, throughout = (names[better.pop()], "") if len(better) == 1 else ("neither architecture", " throughout")
    start = f"In single runs, {who} generalised" if once else f"{who[0].upper()}{who[1:]} generalises"
    return f"{start} better{throughout}: {better_than(found, once=once)} of {unit}{_rest(pairs)}"


def _settings(pairs: Sequence[Pair], unit: str, once: bool) -> str:
    found = [pair for pair in pairs if pair.differs]
    if not found:
        told = may_be_chance(pairs, unit)
        return f"Between the settings of one approach, no difference is larger than chance: {told}"
    start = "In single runs, settings mattered" if once else "Settings matter"
    return f"{start}: {better_than(found, once=once)} of {unit}{_rest(pairs)}"


def _between(pairs: Sequence[Pair], unit: str, once: bool) -> str:
    """The sentence of a table that has none of the four approaches' questions in it."""
    found = [pair for pair in pairs if pair.differs]
    if not found:
        return f"No difference is larger than chance: {may_be_chance(pairs, unit)}"
    return f"{'In single runs, ' if once else ''}{better_than(found, once=once)} of {unit}{_rest(pairs)}"


def _others(pairs: Sequence[Pair], once: bool) -> str:
    found = [pair for pair in pairs if pair.differs]
    return f"; across both, {better_than(found, once=once)}" if found else "; no other difference is larger than chance"


def _rest(pairs: Sequence[Pair]) -> str:
    """What of a group is not larger than chance."""
    rest = [pair for pair in pairs if not pair.differs]
    return f"; {may_be_chance(rest)}" if rest else ""


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
