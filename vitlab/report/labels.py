"""What pretraining is worth at each share of the training labels: tables that differ by nothing else, together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from vitlab.evaluate.holm import holm
from vitlab.evaluate.paired import Pair
from vitlab.evaluate.scored import Level
from vitlab.report.clauses import could_find, difference, turn
from vitlab.report.pairs import METRIC
from vitlab.report.summary import Table
from vitlab.report.verdict import question
from vitlab.report.words import LABELS, PER, figure, listed, p_value, points

HOLM_OF_SHARES = "Here Holm's correction is over all shares and approaches of this table."


@dataclass(frozen=True, eq=False)
class Share:
    """A pretrained approach against the same without, at one share of the labels.

    Args:
        table: of that share.
        pair: the difference, with Holm's correction over all shares and approaches of the group.
    """

    table: Table
    pair: Pair

    @property
    def labels(self) -> str:
        """The share as a reader wants it: 5 %."""
        return f"{100 * self.table.label_fraction:g} %"


@dataclass(frozen=True, eq=False)
class Efficiency:
    """Tables of one study and the same images, by label fraction.

    Args:
        tables: the smallest share first.
        shares: by pair of approaches, the smallest share first; none where nothing was tested.
    """

    tables: list[Table]
    shares: list[Share]

    @property
    def level(self) -> Level:
        """What differences are told by: patients where every table has them."""
        return "patient" if all(table.level == "patient" for table in self.tables) else "slice"

    @property
    def title(self) -> str:
        """One line that tells this group from others."""
        whole = replace(self.tables[-1], label_fraction=1.0)
        return f"{whole.title}: what pretraining is worth by share of the training labels"


def efficiencies(tables: Sequence[Table]) -> list[Efficiency]:
    """Group tables that differ by nothing but the share of the labels; a table that stands alone is in no group."""
    groups: dict[tuple[str, str, str, bool], list[Table]] = {}
    for table in tables:
        groups.setdefault((table.study, table.dataset, table.manifest_sha256, table.shuffled), []).append(table)
    several = [sorted(own, key=lambda table: table.label_fraction) for own in groups.values() if len(own) > 1]
    return [_efficiency(own) for own in several]


def _efficiency(tables: list[Table]) -> Efficiency:
    level = Efficiency(tables, []).level
    found = []
    for table in tables:
        rows = {row.name: row for row in table.rows}
        found += [
            Share(table, pair)
            for pair in table.pairs
            if (pair.level, pair.metric) == (level, METRIC) and pair.difference is not None
            and question(rows[pair.a], rows[pair.b]) == "pretraining"
        ]  # fmt: skip
    tested = [share.pair.p_permutation for share in found if share.pair.p_permutation is not None]
    corrected = iter(holm(tested).tolist())
    found = [
        replace(share, pair=replace(share.pair, p_holm=None if share.pair.p_permutation is None else next(corrected)))
        for share in found
    ]
    names = list(dict.fromkeys((share.pair.a, share.pair.b) for share in found))
    return Efficiency(tables, sorted(found, key=lambda share: names.index((share.pair.a, share.pair.b))))


def sentences(found: Efficiency) -> list[str]:
    """Say at which shares pretraining is worth something; nothing where it was not tested."""
    said = []
    for a, b in dict.fromkeys((share.pair.a, share.pair.b) for share in found.shares):
        own = [share for share in found.shares if (share.pair.a, share.pair.b) == (a, b)]
        sure = [share for share in own if share.pair.differs]
        rest = [share for share in own if not share.pair.differs]
        unit = f"balanced accuracy {PER[found.level]}"
        parts = []
        for word, sign in (("more", 1), ("less", -1)):
            clauses = [
                f"{points(*_size(share.pair), signed=False)} with {share.labels}"
                for share in sure
                if sign * difference(share.pair) > 0
            ]
            if clauses:
                parts.append(f"{listed(clauses)} of the labels {word}")
        shown = listed([f"{_points(share.pair)} with {share.labels}" for share in rest]) if rest else ""
        chance = f"{shown} of the labels may be chance{could_find([share.pair for share in rest])}" if rest else ""
        if not parts:
            said.append(f"Whether {a} is better than {b} at any share of the labels, this study cannot tell: {chance}")
        else:
            said.append(f"{a} against {b} scores, of {unit}, {'; '.join(parts)}{f'; {chance}' if rest else ''}")
    return [f"{sentence}." for sentence in said]


def grid(found: Efficiency) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of text: a row per pair of approaches and share; the first two columns hold words."""
    unit = f"{LABELS[METRIC]} {PER[found.level]}"
    rows = []
    for share in found.shares:
        scores = {row.name: figure(row.stat(found.level, "test", METRIC)) for row in share.table.rows}
        pair = share.pair
        rows.append([f"{pair.a} vs {pair.b}", share.labels, scores[pair.b], scores[pair.a], _points(pair),
                     p_value(pair.p_permutation), p_value(pair.p_holm)])  # fmt: skip
    return ["pretraining", "labels", f"{unit} without", "with", "difference", "p", "p (Holm)"], rows


def record(found: Efficiency) -> dict[str, Any]:
    """Return the group for JSON: study, dataset, level, verdict, and a, b, difference, ... of each share."""
    table = found.tables[0]
    keys = ("a", "b", "difference", "low", "high", "p_permutation", "p_holm", "detectable")
    shares = [
        {"label_fraction": share.table.label_fraction} | {key: getattr(share.pair, key) for key in keys}
        for share in found.shares
    ]
    facts = {"study": table.study, "dataset": table.dataset, "manifest_sha256": table.manifest_sha256}
    return facts | {"metric": METRIC, "level": found.level, "verdict": sentences(found), "shares": shares}


def _points(pair: Pair) -> str:
    return points(pair.difference, pair.low, pair.high)


def _size(pair: Pair) -> tuple[float | None, float | None, float | None]:
    """The difference without its sign, and its ends."""
    pair = pair if difference(pair) > 0 else turn(pair)
    return pair.difference, pair.low, pair.high
