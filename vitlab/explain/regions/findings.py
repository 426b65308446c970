"""Where does accuracy come from, and what else do features tell? regions.csv and probe.csv in words and tables."""

from collections.abc import Mapping, Sequence

from vitlab.evaluate.bootstrap import Estimate, estimate
from vitlab.evaluate.paired import Pair
from vitlab.evaluate.resampling import Resampling
from vitlab.evaluate.scored import Scored
from vitlab.explain.regions.removed import HOLE, REGIONS
from vitlab.explain.scores.image_scores import Line, by_run, corrected, difference, predicted_images
from vitlab.report.findings import Findings, Grid, estimate_record, in_points, pair_record, shown
from vitlab.report.grouping import MEANING
from vitlab.report.summary import NAMES
from vitlab.report.words import points

METRIC = "balanced_accuracy"
WHOLE, WITHOUT, ELSEWHERE, ONLY, NO_AIR = REGIONS
# Each minus the other; a family of Holm's correction holds one of these for all approaches.
COMPARED = ((WITHOUT, WHOLE), (ELSEWHERE, WHOLE), (ONLY, WHOLE), (NO_AIR, WHOLE), (WITHOUT, ELSEWHERE), (WITHOUT, HOLE))
FEATURES, CLASS = "features", "the class alone"


def region_findings(lines: Sequence[Line], resampling: Resampling) -> Findings:
    """Estimate accuracy with parts of the image taken away, and say whether the tumour is what it comes from.

    Args:
        lines: Of regions.csv; only images with a tumour have some.
        resampling: Of all intervals.
    """
    present = sorted({line["label"] for line in lines})
    chance = 1 / len(present) if present else 0.0
    found = Findings(
        "Where does accuracy come from?",
        f"Test balanced accuracy of the {len(present)} classes that have a tumour (chance is {chance:.2f}) with parts "
        "of the image taken away: mean over runs, 95 % interval over patients and runs. Without the tumour, its place "
        "is filled in smoothly from its rim; a patch elsewhere is as large, so that it shows what the filling alone "
        "does; the hole alone is a guess from the tumour's size and place, learnt on the training patients.",
    )
    classes = sorted({line[name] for line in lines for name in ("label", "predicted")})
    groups = by_run(lines, "region")
    runs = {key: predicted_images(by, classes) for key, by in groups.items()}
    known = {key: _estimated(own, resampling) for key, own in runs.items()}
    approaches, regions = _order(groups, 0), _order(groups, 1)
    pairs = _compared(approaches, runs, resampling)
    found.sentences = [_sentence(name, known, pairs, chance) for name in approaches if (name, WITHOUT) in known]
    found.brief = found.sentences
    found.grids = [
        Grid("Balanced accuracy by what is left of the image", ["approach", *regions],
             [[NAMES.get(a, a), *(shown(known.get((a, region))) for region in regions)] for a in approaches]),
        Grid("Differences in balanced accuracy, in points of a hundred, with p after Holm's correction over the "
             "approaches",
             ["approach", *(f"{a} minus {b}" for a, b in COMPARED)],
             [[NAMES.get(a, a), *(in_points(pairs.get((a, *two))) for two in COMPARED)] for a in approaches]),
    ]  # fmt: skip
    found.records = {
        "regions": [
            {"approach": a, "region": r, "chance": chance, **estimate_record(e)} for (a, r), e in known.items()
        ],
        "differences": [{"approach": key[0], **pair_record(pair)} for key, pair in pairs.items()],
    }
    return found


def probe_findings(lines: Sequence[Line], resampling: Resampling) -> Findings:
    """Estimate how well each column is read from features, beside pixels and class alone.

    Args:
        lines: Of probe.csv.
        resampling: Of all intervals.
    """
    found = Findings(
        "What else do features tell?",
        "Balanced accuracy with which a linear probe by patient folds reads a column of the manifest, from images that "
        "no weight was fitted to: mean over runs, 95 % interval over patients and runs. Beside it what a coarse grid "
        "of the pixels and what the class alone give. That something can be read does not mean that it is used.",
    )
    groups = by_run(lines, "column", "source")
    approaches, columns, sources = (_order(groups, at) for at in range(3))
    rows, records = [], []
    for column in columns:
        classes = sorted({line[name] for line in lines if line["column"] == column for name in ("label", "predicted")})
        chance = 1 / len(classes)
        runs = {key: predicted_images(by, classes) for key, by in groups.items() if key[1] == column}
        known = {key: _estimated(own, resampling) for key, own in runs.items()}
        pairs: dict[str, Pair] = {}
        for name in approaches:
            if all((name, column, source) in runs for source in (FEATURES, CLASS)):
                two = [(source, runs[name, column, source]) for source in (FEATURES, CLASS)]
                if pair := difference(two[0], two[1], resampling, metric=METRIC):
                    pairs[name] = pair
        pairs = dict(zip(pairs, corrected(list(pairs.values())), strict=True))
        for name in approaches:
            cells = [shown(known.get((name, column, source))) for source in sources]
            rows.append([NAMES.get(name, name), column, f"{len(classes)}", f"{chance:.2f}", *cells,
                         in_points(pairs.get(name))])  # fmt: skip
        records += [
            {"approach": key[0], "column": column, "source": key[2], "chance": chance, **estimate_record(e)}
            for key, e in known.items()
        ]
        found.sentences.append(_read(column, approaches, known, pairs, chance))
    if rows:
        head = ["approach", "column", "groups", "chance", *sources, f"{FEATURES} minus {CLASS}"]
        caption = "Balanced accuracy of the probe, by what it reads from; the difference in points of a hundred"
        found.grids = [Grid(caption, head, rows, 2)]
    found.brief = found.sentences
    found.records = {"probe": records}
    return found


def _estimated(runs: Sequence[Scored], resampling: Resampling) -> Estimate:
    return estimate(runs, resampling, metrics=[METRIC])[METRIC]


def _compared(
    approaches: Sequence[str], runs: dict[tuple[str, ...], list[Scored]], resampling: Resampling
) -> dict[tuple[str, str, str], Pair]:
    """Compare regions of each approach: (approach, one, other) -> one minus other, corrected over the approaches."""
    found: dict[tuple[str, str, str], Pair] = {}
    for a, b in COMPARED:
        for name in approaches:
            if (name, a) in runs and (name, b) in runs:
                pair = difference((a, runs[name, a]), (b, runs[name, b]), resampling, metric=METRIC)
                if pair is not None:
                    found[name, a, b] = pair
    pairs = corrected(list(found.values()), family=lambda pair: (pair.a, pair.b))
    return dict(zip(found, pairs, strict=True))


def _sentence(
    name: str,
    known: dict[tuple[str, ...], Estimate],
    pairs: dict[tuple[str, str, str], Pair],
    chance: float,
) -> str:
    """Say what is left without the tumour, and what of it neither chance nor the hole explains."""
    approach, left = NAMES.get(name, name), known[name, WITHOUT]
    above = left.mean is not None and (left.mean if left.low is None else left.low) > chance
    against_hole = pairs.get((name, WITHOUT, HOLE))
    text = f"Without the tumour {approach} has a balanced accuracy of {shown(left)} where chance is {chance:.2f}"
    if (name, WHOLE) in known:
        text += f" and the whole image gives {shown(known[name, WHOLE])}"
    if not above:
        text += ": nothing shows that it knows the class from anything else"
    elif against_hole is None:
        text += ": it knows the class from something else than the tumour as well"
    else:
        beyond = against_hole.differs and (against_hole.difference or 0.0) > 0
        ends = (against_hole.difference, against_hole.low, against_hole.high)
        if beyond:
            less = points(*ends, signed=False)
            text += f": it uses something else than the tumour, for the hole's size and place give {less} less"
        else:
            text += f": no more than the hole's size and place may give away ({points(*ends)} against them)"
    patch = pairs.get((name, WITHOUT, ELSEWHERE))
    if patch is not None and not (patch.differs and (patch.difference or 0.0) < 0):
        text += "; taking the tumour away has not been shown to hurt more than a patch elsewhere does"
    air = pairs.get((name, NO_AIR, WHOLE))
    if air is not None and air.differs:
        text += f"; without the air around the head it changes by {points(air.difference, air.low, air.high)}"
    return f"{text}."


def _read(
    column: str,
    approaches: Sequence[str],
    known: dict[tuple[str, ...], Estimate],
    pairs: dict[str, Pair],
    chance: float,
) -> str:
    """Say how well a column is read from each approach's features."""
    parts = []
    for name in approaches:
        if (name, column, FEATURES) not in known:
            continue
        own = known[name, column, FEATURES]
        pair = pairs.get(name)
        more = pair is not None and pair.differs and (pair.difference or 0.0) > 0
        parts.append(f"{NAMES.get(name, name)} {shown(own)}{'' if more else ' (no more than the class alone tells)'}")
    what = f"{column} ({MEANING[column]})" if column in MEANING else column
    return f"{what} is read from features with a balanced accuracy (chance is {chance:.2f}) of: {', '.join(parts)}."


def _order(groups: Mapping[tuple[str, ...], object], at: int) -> list[str]:
    return list(dict.fromkeys(key[at] for key in groups))
