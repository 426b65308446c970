"""Does saliency find the lesion, better than what knows nothing of the model? saliency.csv in words and tables."""

import itertools
from collections.abc import Sequence

from vitlab.evaluate.bootstrap import Estimate
from vitlab.evaluate.paired import Pair
from vitlab.evaluate.resampling import Resampling
from vitlab.evaluate.scored import Scored
from vitlab.explain.scores.image_scores import Line, by_run, corrected, difference, mean_score, scored_images
from vitlab.report.findings import Findings, Grid, estimate_record, in_points, pair_record, shown
from vitlab.report.summary import NAMES
from vitlab.report.words import listed, p_value, points

SCORE_NAMES = {
    "pointing": "pointing game",
    "energy": "energy in the mask",
    "auprc": "AUPRC of pixels",
    "iou": "IoU at the mask's area",
    "insertion": "insertion",
    "deletion": "deletion",
}
LESS_IS_BETTER = ("deletion",)
METHOD_NAMES = {
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "rollout": "attention rollout",
    "gradient_attention": "gradient-weighted attention",
    "integrated_gradients": "integrated gradients",
    "occlusion": "occlusion",
}
CONTROL_NAMES = {
    "centre": "centre blob",
    "edges": "edges of the image",
    "random": "random map",
    "others": "the other patients' mean map",
    "untrained": "untrained network",
}
Key = tuple[str, ...]  # approach, method, control


def score_findings(lines: Sequence[Line], resampling: Resampling) -> Findings:
    """Estimate each score of each approach and method, against its best control and between approaches.

    The best control is the one that scores most on these images, which is a little harder to beat than one named
    before. Differences are corrected by Holm's method: those against controls over all approaches and methods of a
    score, and those between approaches over all pairs and methods of a score.

    Args:
        lines: Of saliency.csv.
        resampling: Of all intervals.
    """
    found = Findings(
        "Does saliency find the tumour?",
        "Scores of saliency maps against the tumour's mask (0 to 1, more is better), and of the prediction as the most "
        "important pixels come in (insertion, more is better) or go (deletion, less is better): mean over patients "
        "and runs, 95 % interval over both. A map beats its best control where the interval of their difference leaves "
        "out 0 (it holds for other runs too) and p of the paired permutation test over patients is below .05 after "
        "Holm's correction (it holds for these runs). One that does not shows nothing that could not be drawn without "
        "the model.",
    )
    groups = by_run(lines, "method", "control")
    runs: dict[str, dict[Key, list[Scored]]] = {
        score: {key: own for key, by in groups.items() if (own := scored_images(by, score))} for score in SCORE_NAMES
    }
    runs = {score: own for score, own in runs.items() if own}
    known = {score: {key: mean_score(own, resampling) for key, own in by.items()} for score, by in runs.items()}
    maps = [key for key in groups if key[1] and not key[2]]
    against = _against_controls(maps, runs, known, resampling)
    between = _between(maps, runs, resampling)
    for key in maps:
        if pairs := {score: pair for (score, of), pair in against.items() if of == key}:
            found.sentences.append(_sentence(key, pairs))
    found.brief = _brief(maps, against)
    scores = list(runs)
    head = [SCORE_NAMES[score] for score in scores]
    found.grids = [
        Grid(
            "Scores; * where the best control is not beaten",
            ["approach", "method", *head],
            [[*_names(key), *(_cell(known[s].get(key), against.get((s, key)), s) for s in scores)] for key in maps],
            2,
        ),
        Grid(
            "Difference to the best control, in points of a hundred, with p after Holm's correction",
            ["approach", "method", *head],
            [[*_names(key), *(_against(against.get((s, key))) for s in scores)] for key in maps],
            2,
        ),
        Grid(
            "Scores of the controls",
            ["approach", "method", "control", *head],
            [[*_names(key), CONTROL_NAMES.get(key[2], key[2]), *(shown(known[s].get(key)) for s in scores)]
             for key in groups if key[2]],
            3,
        ),
    ]  # fmt: skip
    if between:
        cells = {(score, method, pair.a, pair.b): in_points(pair) for score, method, pair in between}
        rows = [
            [METHOD_NAMES.get(method, method), f"{a} minus {b}", *(cells.get((s, method, a, b), "-") for s in scores)]
            for method, a, b in dict.fromkeys(key[1:] for key in cells)
        ]
        caption = "Differences between approaches, by the same method, in points of a hundred, with p after Holm's "
        found.grids.append(Grid(f"{caption}correction", ["method", "approaches", *head], rows, 2))
    found.records = {
        "scores": [
            {"approach": key[0], "method": key[1], "control": key[2], "score": score, **estimate_record(estimate)}
            for score, by in known.items() for key, estimate in by.items()
        ],
        "against_controls": [
            {"approach": key[0], "method": key[1], "beaten": _beats(pair, score), **pair_record(pair)}
            for (score, key), pair in against.items()
        ],
        "between_approaches": [{"method": method, **pair_record(pair)} for _, method, pair in between],
    }  # fmt: skip
    return found


def _against_controls(
    maps: Sequence[Key],
    runs: dict[str, dict[Key, list[Scored]]],
    known: dict[str, dict[Key, Estimate]],
    resampling: Resampling,
) -> dict[tuple[str, Key], Pair]:
    """Compare each map with the control that scores best of its own: (score, key) -> map minus control."""
    found: dict[tuple[str, Key], Pair] = {}
    for score, by in known.items():
        sign = -1 if score in LESS_IS_BETTER else 1
        for key in maps:
            controls = [other for other in by if other[0] == key[0] and other[2] and other[1] in ("", key[1])]
            if key not in by or not controls:
                continue
            best = max(controls, key=lambda other: sign * (by[other].mean or 0.0))
            pair = difference(
                (METHOD_NAMES.get(key[1], key[1]), runs[score][key]),
                (CONTROL_NAMES.get(best[2], best[2]), runs[score][best]),
                resampling,
                name=score,
                tests=len(maps),
            )
            if pair is not None:
                found[score, key] = pair
    return dict(zip(found, corrected(list(found.values())), strict=True))


def _between(
    maps: Sequence[Key], runs: dict[str, dict[Key, list[Scored]]], resampling: Resampling
) -> list[tuple[str, str, Pair]]:
    """Compare every two approaches that have a method in common: (score, method, later minus earlier approach)."""
    found: list[tuple[str, str, Pair]] = []
    for score, by in runs.items():
        both = [two for two in itertools.combinations([key for key in maps if key in by], 2) if two[0][1] == two[1][1]]
        for other, one in both:
            later, earlier = ((NAMES.get(key[0], key[0]), by[key]) for key in (one, other))
            pair = difference(later, earlier, resampling, name=score, tests=len(both))
            if pair is not None:
                found.append((score, one[1], pair))
    pairs = corrected([pair for _, _, pair in found])
    return [(score, method, pair) for (score, method, _), pair in zip(found, pairs, strict=True)]


def _beats(pair: Pair, score: str) -> bool:
    assert pair.difference is not None
    return pair.differs and (pair.difference < 0 if score in LESS_IS_BETTER else pair.difference > 0)


def _sentence(key: Key, pairs: dict[str, Pair]) -> str:
    """Say which scores beat the best control, and which do not."""
    approach, method = _names(key)
    won = [SCORE_NAMES[score] for score, pair in pairs.items() if _beats(pair, score)]
    lost = [
        f"{SCORE_NAMES[score]} ({pair.b}, {points(pair.difference, pair.low, pair.high)}, p {p_value(pair.p_holm)})"
        for score, pair in pairs.items()
        if not _beats(pair, score)
    ]
    start = f"{method[0].upper()}{method[1:]} of {approach}"
    if not lost:
        return f"{start} beats its best control in {listed(won)}."
    if not won:
        return f"{start} does not beat its best control in anything: {listed(lost)}."
    return f"{start} beats its best control in {listed(won)}, and does not in {listed(lost)}."


def _brief(maps: Sequence[Key], against: dict[tuple[str, Key], Pair]) -> list[str]:
    """Say how many maps beat their best control in each score, and which."""
    parts = []
    for score in dict.fromkeys(score for score, _ in against):
        won = [key for key in maps if (score, key) in against and _beats(against[score, key], score)]
        names = [f"{_names(key)[1]} of {_names(key)[0]}" for key in won]
        parts.append(f"{len(won) or 'none'} in {SCORE_NAMES[score]}" + (f" ({listed(names)})" if names else ""))
    return (
        [f"Of {len(maps)} saliency maps (approach and method), {listed(parts)} beat their best control."]
        if parts
        else []
    )


def _names(key: Key) -> list[str]:
    return [NAMES.get(key[0], key[0]), METHOD_NAMES.get(key[1], key[1]) or "any"]


def _cell(estimate: Estimate | None, pair: Pair | None, score: str) -> str:
    return shown(estimate) + ("" if pair is None or _beats(pair, score) else " *")


def _against(pair: Pair | None) -> str:
    return in_points(pair) + (f" ({pair.b})" if pair is not None and pair.difference is not None else "")
