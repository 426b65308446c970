"""Do maps depend on what was learned? sanity.csv in words and tables. Imports no torch."""

from collections.abc import Sequence
from dataclasses import replace

from vitlab.evaluate.bootstrap import Estimate
from vitlab.evaluate.paired import Pair
from vitlab.evaluate.resampling import Resampling
from vitlab.evaluate.scored import Scored
from vitlab.explain.scores.findings import METHOD_NAMES
from vitlab.explain.scores.image_scores import Line, by_run, corrected, difference, mean_score, scored_images
from vitlab.report.findings import Findings, Grid, estimate_record, pair_record, shown
from vitlab.report.rows import Stat
from vitlab.report.summary import NAMES
from vitlab.report.words import figure, listed, p_value

OTHER_IMAGE, OTHER_SEED, SHUFFLED = "other images", "another seed", "shuffled labels"
REFERENCES = (OTHER_SEED, SHUFFLED, OTHER_IMAGE)
DRAWN_ANEW = ("head drawn anew", "half", "all")
LIKENESS = {"rank": "rank correlation", "ssim": "SSIM"}
Key = tuple[str, ...]  # approach, method


def sanity_findings(lines: Sequence[Line], resampling: Resampling) -> Findings:
    """Estimate how alike maps are to the trained model's, and say whether they fall to what chance gives.

    Differences to maps of other images are corrected by Holm's method over all approaches and methods of a likeness.

    Args:
        lines: Of sanity.csv.
        resampling: Of all intervals.
    """
    found = Findings(
        "Do the maps depend on what was learned?",
        "How alike maps are to those of the trained model, 1 is the same (Adebayo et al. 2018): as its weights are "
        "drawn anew from the head downwards, and when its labels were shuffled in training. Between them lie two "
        "marks: another seed of the same training is as alike as can be asked for; the model's maps of other images "
        "are what chance gives. A map that stays more alike than that shows the image, or the network, and not what "
        "was learned.",
    )
    carried = [{**line, **{name: repr((1 + float(line[name])) / 2) for name in LIKENESS}} for line in lines]
    groups = by_run(carried, "method", "stage")
    runs = {name: {key: scored_images(by, name) for key, by in groups.items()} for name in LIKENESS}
    known = {name: {key: _estimate(own, resampling) for key, own in by.items()} for name, by in runs.items()}
    maps: list[Key] = list(dict.fromkeys(key[:2] for key in groups))
    redrawn = {key: [stage for a, m, stage in groups if (a, m) == key and stage not in REFERENCES] for key in maps}
    pairs: dict[tuple[str, Key, str], Pair] = {}
    for name, own in runs.items():
        mine = {(name, key, stage): pair for key in maps for stage in (redrawn[key][-1], SHUFFLED)
                if (pair := _against_chance(own, key, stage, name, resampling, 2 * len(maps))) is not None}  # fmt: skip
        pairs |= dict(zip(mine, corrected(list(mine.values())), strict=True))
    for key in maps:
        found.sentences.append(_sentence(key, redrawn[key], known, pairs))
    for lost, words in ((False, "With all weights drawn anew"), (True, "When labels were shuffled in training")):
        some = {of: pair for of, pair in pairs.items() if (of[2] == SHUFFLED) == lost}
        if some:
            found.brief.append(_counted(words, some, maps))
    for name, words in LIKENESS.items():
        head = ["approach", "method", *DRAWN_ANEW, *REFERENCES, "all drawn anew minus other images"]
        rows = [
            [*_names(key), *_drawn(known[name], key, redrawn[key]),
             *(shown(known[name].get((*key, stage))) for stage in REFERENCES),
             _difference(pairs.get((name, key, redrawn[key][-1])))]
            for key in maps
        ]  # fmt: skip
        found.grids.append(Grid(f"{words[0].upper()}{words[1:]} with the maps of the trained model", head, rows, 2))
    found.records = {
        "likeness": [
            {"approach": key[0], "method": key[1], "stage": key[2], "score": name, **estimate_record(estimate)}
            for name, by in known.items() for key, estimate in by.items()
        ],
        "against_chance": [
            {"approach": key[0], "method": key[1], "stage": stage, "stays": _stays(pair), **pair_record(pair)}
            for (_, key, stage), pair in pairs.items()
        ],
    }  # fmt: skip
    return found


def _estimate(runs: Sequence[Scored], resampling: Resampling) -> Estimate:
    """Estimate the mean of a likeness, which `scored_images` carries from -1..1 to 0..1."""
    found = mean_score(runs, resampling)
    mean, low, high = (None if value is None else 2 * value - 1 for value in (found.mean, found.low, found.high))
    return replace(found, mean=mean, low=low, high=high, sd=None if found.sd is None else 2 * found.sd)


def _against_chance(
    runs: dict[tuple[str, ...], list[Scored]], key: Key, stage: str, name: str, resampling: Resampling, tests: int
) -> Pair | None:
    keys = {other: (*key, other) for other in (stage, OTHER_IMAGE)}
    if keys[stage] not in runs:
        return None
    two = [(other, runs[own]) for other, own in keys.items()]
    pair = difference(two[0], two[1], resampling, name=name, tests=tests)
    if pair is None or pair.difference is None:
        return None
    ends = (pair.low, pair.high, pair.detectable)
    low, high, detectable = (None if value is None else 2 * value for value in ends)
    return replace(pair, difference=2 * pair.difference, low=low, high=high, detectable=detectable)


def _stays(pair: Pair) -> bool:
    return pair.differs and (pair.difference or 0.0) > 0


def _drawn(known: dict[tuple[str, ...], Estimate], key: Key, stages: Sequence[str]) -> list[str]:
    """Return the cells of `DRAWN_ANEW`, the stages that all networks have."""
    return [shown(known.get((*key, stages[at]))) for at in (0, (len(stages) - 1) // 2, -1)]


def _sentence(
    key: Key,
    stages: Sequence[str],
    known: dict[str, dict[tuple[str, ...], Estimate]],
    pairs: dict[tuple[str, Key, str], Pair],
) -> str:
    """Say what is left of a map's likeness, and whether that is more than chance."""
    approach, method = _names(key)
    named = ((stages[-1], "with all weights drawn anew"), (SHUFFLED, "trained on shuffled labels"),
             (OTHER_SEED, "with another seed"), (OTHER_IMAGE, "between maps of different images"))  # fmt: skip
    ranks = {stage: known["rank"].get((*key, stage)) for stage, _ in named}
    parts = [f"{shown(ranks[stage])} {words}" for stage, words in named if ranks[stage] is not None]
    text = f"{method[0].upper()}{method[1:]} of {approach}: rank correlation with the trained model's map is "
    text += listed(parts)
    kept = [f"{LIKENESS[name]} {'with weights drawn anew' if stage != SHUFFLED else 'after shuffled labels'}"
            for (name, of, stage), pair in pairs.items() if of == key and _stays(pair)]  # fmt: skip
    if kept:
        return f"{text}; more than chance stays of {listed(kept)}, so part of the map was not learned."
    return f"{text}; no more than chance stays."


def _counted(words: str, pairs: dict[tuple[str, Key, str], Pair], maps: Sequence[Key]) -> str:
    """Say how many of the maps that were asked stay alike, and which."""
    stay = {key for (_, key, _), pair in pairs.items() if _stays(pair)}
    named = ": " + listed(["{1} of {0}".format(*_names(key)) for key in maps if key in stay]) if stay else ""
    asked = len({key for _, key, _ in pairs})
    return (f"{words}, {len(stay) or 'none'} of {asked} maps stay more like the trained model's map than its maps of "
            f"other images are{named}.")  # fmt: skip


def _names(key: Key) -> list[str]:
    return [NAMES.get(key[0], key[0]), METHOD_NAMES.get(key[1], key[1])]


def _difference(pair: Pair | None) -> str:
    if pair is None or pair.difference is None:
        return "-"
    text = figure(Stat(pair.difference, None, 1, pair.low, pair.high), signed=True)
    return text if pair.p_holm is None else f"{text}, p {p_value(pair.p_holm)}"
