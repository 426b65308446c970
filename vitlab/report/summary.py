"""Runs in, tables of one row per approach out; never a mean across what must not be averaged."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from vitlab.evaluate.chance import Chance, chance
from vitlab.evaluate.paired import Pair
from vitlab.evaluate.resampling import Resampling
from vitlab.evaluate.scored import Level
from vitlab.report.groups import GroupScore
from vitlab.report.notes import table_notes
from vitlab.report.pairs import METRIC, PAIR_METRICS, make_pairs
from vitlab.report.rows import EVERY, SHOWN, Row, check_classes, make_row
from vitlab.report.runs import Run
from vitlab.report.side_by_side import side_by_side

RESAMPLES = 2000
NAMES = {"cnn": "CNN", "cnn_simclr": "CNN + SimCLR", "vit": "ViT", "vit_mae": "ViT + MAE"}  # and the order of the rows


@dataclass(frozen=True, eq=False)
class Table:
    """Rows that may be compared: one study, the same images and labels and the same share of these.

    Args:
        dataset: as in results.json.
        study: as in results.json.
        manifest_sha256: of the images.
        label_fraction: of the training labels.
        rows: see `Row`.
        pairs: every two rows on test, the later one first: see `pairs.make_pairs`; at each level, or at those that text
            tells of.
        notes: what a reader has to know before reading the figures.
        resampling: that intervals and pairs are from; None where none were asked for.
        shuffled: whether the labels were dealt anew among the images, so that every score should be chance.
        chance: where they were, and predictions are known: the interval of chance of test balanced accuracy.
        groups: scores of parts of the test images, where a column was asked for.
    """

    dataset: str
    study: str
    manifest_sha256: str
    label_fraction: float
    rows: list[Row]
    pairs: list[Pair]
    notes: list[str]
    resampling: Resampling | None = field(default=None, repr=False)
    shuffled: bool = False
    chance: Chance | None = None
    groups: list[GroupScore] = field(default_factory=list)

    @property
    def title(self) -> str:
        """One line that tells this table from the others."""
        labels = "" if self.label_fraction == 1 else f", {100 * self.label_fraction:g} % of the training labels"
        study = "" if self.study == self.dataset else f"{self.study}: "
        labels += ", shuffled labels" if self.shuffled else ""
        return f"{study}{self.dataset or 'unnamed data'} (manifest {self.manifest_sha256[:8]}){labels}"

    @property
    def level(self) -> Level:
        """What differences are told by: patients where they are known, else slices.

        Slices beside a split by image too: in one, a patient is a few slices whose others were trained on.
        """
        return "patient" if any("patient" in row.metrics for row in self.rows) and not self.leaks else "slice"

    @property
    def leaks(self) -> list[tuple[Row, Row]]:
        """Rows of a split by image, each with that of a split by patient."""
        return [(leaky, clean) for leaky in self.rows for clean in self.rows if leaky.leaks_beside(clean)]


def build_tables(runs: Iterable[Run], *, resamples: int = RESAMPLES, every: bool = True) -> list[Table]:
    """Sort runs into tables and rows, and compare the rows of each table.

    Runs of different studies, manifests, data sets or label fractions go into different tables, shuffled labels into
    one of their own, and runs of different backbones or axes into different rows. Pretraining runs are no rows: their
    cost is in the rows that use them.

    Args:
        runs: finished ones.
        resamples: for intervals and tests, from predictions.csv; 0 for neither, from results.json alone.
        every: intervals and tests of every metric, for reports and programs; else of what tables of text show, the
            same figures in a fraction of the time.

    Raises:
        ValueError: when a row would have the same seed and fold twice, or runs of one table have different classes.
    """
    groups: dict[tuple[str, str, str, float, bool], list[Run]] = {}
    for run in runs:
        if run.task != "pretrain":
            key = (run.dataset, run.study, run.manifest_sha256, run.label_fraction, run.shuffle_labels)
            groups.setdefault(key, []).append(run)
    order = sorted(groups, key=lambda key: (*key[:3], -key[3], key[4]))
    resampling, wanted = Resampling(resamples) if resamples else None, EVERY if every else SHOWN
    calls = [[(*call, resampling, wanted) for call in _members(key[0], groups[key])] for key in order]
    flat = [call for own in calls for call in own]
    made = iter(side_by_side(make_row, flat) if resampling else [make_row(*call) for call in flat])
    rows = [list(itertools.islice(made, len(own))) for own in calls]
    tables = [_table(*key, own, resampling) for key, own in zip(order, rows, strict=True)]
    if resampling is None:
        return tables
    if every:
        return [_with_pairs(table, resampling, PAIR_METRICS, ("slice", "patient")) for table in tables]
    told = sorted({table.level for table in tables})  # one table may be put beside others
    return [_with_pairs(table, resampling, (METRIC,), told) for table in tables]


def _members(dataset: str, runs: Sequence[Run]) -> list[tuple[str, str, str, str, list[Run]]]:
    """Sort the runs of a table into rows: approach, name, backbone, axes and runs of each, in order."""
    members: dict[tuple[str, str, str], dict[tuple[int, int | None], Run]] = {}
    for run in runs:
        row = members.setdefault((run.approach, run.axes, run.backbone), {})
        other = row.setdefault((run.seed, run.fold), run)
        if other is not run:
            fold = "" if run.fold is None else f", fold {run.fold}"
            raise ValueError(
                f"{run.approach} has seed {run.seed}{fold} twice on {dataset}: {other.folder} and {run.folder}; "
                "remove one or name only the folders to compare"
            )
    rank = {approach: i for i, approach in enumerate(NAMES)}
    found = []
    for key in sorted(members, key=lambda key: (rank.get(key[0], len(rank)), key)):
        approach, axes, backbone = key
        own = [run for _, run in sorted(members[key].items(), key=lambda item: _run_order(item[0]))]
        shown = NAMES.get(approach, approach)
        # An approach of one's own may be called what another is shown as.
        name = (approach if any(shown == other[0] for other in members) else shown) + (f" {axes}" if axes else "")
        if sum(other[:2] == key[:2] for other in members) > 1:
            name += f" ({backbone or 'unnamed backbone'})"
        found.append((approach, name, backbone, axes, own))
    return found


def _table(
    dataset: str,
    study: str,
    manifest_sha256: str,
    label_fraction: float,
    shuffled: bool,
    rows: list[Row],
    resampling: Resampling | None,
) -> Table:
    """Put rows into a table that has no pairs yet."""
    _check_classes(rows)
    tested = {row.name: row.scored["test"] for row in rows if "test" in row.scored} if shuffled else {}
    return Table(
        dataset=dataset,
        study=study,
        manifest_sha256=manifest_sha256,
        label_fraction=label_fraction,
        rows=rows,
        pairs=[],
        notes=table_notes(rows),
        resampling=resampling,
        shuffled=shuffled,
        chance=chance(tested, shuffles=resampling.resamples) if resampling and tested else None,
    )


def _with_pairs(table: Table, resampling: Resampling, metrics: Sequence[str], levels: Sequence[Level]) -> Table:
    pairs, notes = make_pairs(table.rows, resampling, metrics, levels)
    return replace(table, pairs=pairs, notes=[*table.notes, *notes])


def _check_classes(rows: Sequence[Row]) -> None:
    known = [(row.runs[0].folder, own[0].predictions.classes) for row in rows for own in [*row.scored.values()][:1]]
    for folder, classes in known:
        check_classes(*known[0], folder, classes)


def _run_order(key: tuple[int, int | None]) -> tuple[int, int]:
    seed, fold = key
    return (-1 if fold is None else fold, seed)
