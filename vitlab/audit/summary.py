"""What an audit found in words: one screen of a terminal, five lines of Markdown; and tables of planted copies."""

import textwrap
from typing import Any

from vitlab.audit.baselines.intervals import in_words
from vitlab.audit.baselines.shortcuts import ANATOMY
from vitlab.audit.copies.pairs import NEIGHBOUR
from vitlab.audit.leaks import persons_across, splits_of

_SHORTCUTS = 6  # that fit the screen
_WORTH = 6  # runs and splits that do
_NAME = 36  # characters of a run's
_COLUMN = ("column ", "prefix of ")  # begins the name of a shortcut that is metadata
_LINE = 110  # characters; a terminal of the usual width folds no more than a line or two


def verdict(report: dict[str, Any]) -> str:
    """Say in one sentence whether the splits can answer the question."""
    parts = []
    for split, found in splits_of(report).items():
        if found["identical_in_train"] or found["near_in_train"]:
            ways = {"pixel for pixel": found["identical_in_train"],
                    "as a near copy or another slice": found["near_in_train"]}  # fmt: skip
            (first, way), *rest = [(n, way) for way, n in ways.items() if n]
            more = "".join(f" and {n:,} {way}" for n, way in rest)
            are = "is" if first == 1 else "are"
            parts.append(f"of the {found['n']:,} {split} images {first:,} {are} in training {way}{more}")
    if two_sides := len(report["patients"]["across_splits"]):
        parts.append(_counted(two_sides, "patient is", "patients are") + " on two sides")
    if kinds := sum(found["across_splits"] for found in report["pairs"].values()) if not parts else 0:
        parts.append(_counted(kinds, "pair of copies stands", "pairs of copies stand") + " on two sides")
    if alike := persons_across(report):
        parts.append(_counted(alike, "person seems", "persons seem") + " to stand on two sides under two names")
    if parts:
        sentence = f"The splits leak: {'; '.join(parts)}, so that a score on them is partly memory"
    elif not splits_of(report):
        sentence = "There is one split only, so that nothing can leak yet"
    else:
        sentence = "No image and no known patient of another split is in training"
        if report["patients"]["images_without"]:
            sentence += "; as patients are not known, slices of one patient may still be, most of which look different"
    if named := [shortcut["name"] for shortcut in _named(report)]:
        sentence += f", and {', '.join(named[:3])} alone tell{'s' * (len(named) == 1)} classes apart"
        sentence += f" ({len(named) - 3} more do)" * (len(named) > 3)
        sentence += ", by anatomy or by acquisition" * any(name in ANATOMY for name in named[:3])
    return sentence + "."


def _counted(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"


def summary(report: dict[str, Any]) -> str:
    """Return what fits one screen, from what audit.json holds."""
    patients, labels = report["patients"], report["labels"]
    lines = [f"{report['data']}: {report['n']:,} images, {patients['groups']:,} groups"]
    lines += [*textwrap.wrap(report["verdict"], _LINE), ""]
    if splits_of(report):
        names = f"{'images':>8}{'identical':>11}{'near':>8}{'unseen':>8}{'different pictures of these':>29}"
        lines.append(f"{'':<8}{names}")
    for split, found in splits_of(report).items():
        numbers = (found["n"], found["identical_in_train"], found["near_in_train"], found["unseen"])
        widths = (8, 11, 8, 8)
        cells = "".join(f"{number:>{width},}" for number, width in zip(numbers, widths, strict=True))
        lines.append(f"{split:<8}{cells}{found['unseen_distinct']:>29,}")
    lines.append("")
    if report["pairs"]:
        kinds = ", ".join(f"{kind} {found['n']:,}" for kind, found in report["pairs"].items())
        across = sum(found["across_splits"] for found in report["pairs"].values())
        lines.append(f"pairs: {kinds}; {across:,} across splits")
    lines.append(f"patients: {_patients(patients)}; {len(patients['across_splits']):,} on two sides")
    lines += [f"  {' and '.join(found['patients'])} look like one person ({_counted(found['pairs'], 'pair', 'pairs')})"
              for found in patients["alike"][:3]]  # fmt: skip
    lines += [f"  and {len(patients['alike']) - 3:,} more"] * (len(patients["alike"]) > 3)
    if "errors" in labels:
        two = len(labels["patients_with_two_classes"])
        lines.append(f"labels: {_labels(labels)}; {_counted(two, 'patient', 'patients')} with two classes")
    else:
        lines.append("labels: not judged, as there are no two classes")
    lines += _unlabelled(report)
    named = _named(report)
    lines += [f"shortcut: {found['sentence']}" for found in named[:_SHORTCUTS]]
    if not report["shortcuts"]:
        lines.append("shortcuts: not judged, as that takes two classes of 5 groups or more each")
    elif not named:
        lines.append("shortcuts: none beats chance clearly")
    if more := [found["name"] for found in named[_SHORTCUTS:]]:
        lines.append(f"          and {len(more)} more: {', '.join(more)}")
    if taken := [found["column"] for found in report["untested_columns"] if "the label" in found["reason"]]:
        lines.append(f"not tested: {', '.join(taken)}, taken for the label: give any that is none another name or code")
    lines += [f"shift: {shift['sentence']}" for shift in report["shift"]]
    odd = [finding["kind"] for finding in report["files"]]
    counts = ", ".join(f"{odd.count(kind):,} {kind}" for kind in sorted(set(odd)))
    lines.append(f"files: {counts or 'nothing odd'}")
    lines += _worth(report.get("worth", []))
    return "\n".join(line if len(line) <= 2 * _LINE else line[: 2 * _LINE - 1] + "…" for line in lines)


def _patients(patients: dict[str, Any]) -> str:
    if not patients["n"]:
        return "unknown, copies stand in for them"
    without = f", {patients['images_without']:,} images without" if patients["images_without"] else ""
    return f"{patients['n']:,} known{without}"


def _labels(labels: dict[str, Any]) -> str:
    return f"{len(labels['conflicts']):,} pairs of copies have two labels; {labels['sentence']}"


def _named(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the shortcuts that beat chance: columns first, about which a user can do something, then by effect."""
    named = [shortcut for shortcut in report["shortcuts"] if shortcut["named"]]
    return sorted(named, key=lambda found: (not found["name"].startswith(_COLUMN), -found["balanced_accuracy"]))


def _unlabelled(report: dict[str, Any]) -> list[str]:
    number = report["labels"]["unlabelled"]
    if not number:
        return []
    parts = [f"{found['unlabelled']:,} in {split}" for split, found in splits_of(report).items() if found["unlabelled"]]
    where = f" ({', '.join(parts)})" if parts else ""
    return [f"unlabelled: {number:,} of {report['n']:,} images have no label{where}, and count in no class or accuracy"]


def _worth(values: list[dict[str, Any]]) -> list[str]:
    if not values:
        return []
    lines = ["accuracy (unseen: not identical to a training image; new: no near copy in training either)"]
    lines += [f"  {_accuracies(value)}" for value in values[:_WORTH]]
    lines += [f"  and {len(values) - _WORTH:,} more"] * (len(values) > _WORTH)
    if borrowed := dict.fromkeys(_short(value["name"]) for value in values if value["trained_on"] == "audit"):
        lines.append(f"  without training images, so judged by this audit's training split: {', '.join(borrowed)}")
    return lines


def _accuracies(value: dict[str, Any]) -> str:
    """Return the accuracies of a run on a split, and of how many images or pictures each is."""
    words = {"all": "all {} images", "unseen": "{} different unseen pictures", "new": "{} different new ones"}
    parts = []
    for name, of in words.items():
        if found := value[name]:
            within = f" ({_interval(found)})" if found["low"] is not None else ""
            parts.append(f"{found['accuracy']:.3f}{within} on {of.format(format(found['n'], ','))}")
            if name == "all" and (seen := value["seen"]):
                parts.append(f"{seen['accuracy']:.3f} on {seen['n']:,} identical ones")
    too_few = " (too few groups for an interval)" if value["all"]["low"] is None else ""
    return f"{_short(value['name'])}, {value['split']}: {', '.join(parts)}{too_few}"


def _short(name: str) -> str:
    """Return the end of a run's name, which tells runs apart, so that its line holds the figures."""
    return name if len(name) <= _NAME else f"…{name[1 - _NAME :]}"


def _interval(found: dict[str, Any], percent: bool = False) -> str:
    ends = None if found["low"] is None else (found["low"], found["high"])
    return in_words(ends, percent=percent)


def summary_markdown(report: dict[str, Any]) -> str:
    """Return what was found as a Markdown list of five lines."""
    patients, labels = report["patients"], report["labels"]
    seen = [
        f"{found['identical_in_train']:,} of {found['n']:,} {split} images are in training pixel for pixel, "
        f"{found['near_in_train']:,} more as a near copy or another slice; {found['unseen']:,} are unseen, "
        f"{found['unseen_distinct']:,} of them distinct"
        for split, found in splits_of(report).items()
    ]
    kinds = ", ".join(f"{found['n']:,} {kind}" for kind, found in report["pairs"].items()) or "none"
    across = sum(found["across_splits"] for found in report["pairs"].values())
    alike = "; ".join(
        f"{' and '.join(map(_as_text, found['patients']))} look like one person" for found in patients["alike"]
    )
    shortcuts = ", ".join(
        f"{_as_text(shortcut['name'])} {shortcut['balanced_accuracy']:.0%} ({_interval(shortcut, percent=True)})"
        for shortcut in report["shortcuts"]
        if shortcut["named"]
    )
    chance = f" (chance {report['shortcuts'][0]['chance']:.0%})" if report["shortcuts"] else ""
    shift = "; ".join(f"{found['split']} {found['auroc']:.2f} ({_interval(found)})" for found in report["shift"])
    too_narrow = "" if patients["known"] else "; patients unknown: intervals too narrow"
    lines = [
        f"{'; '.join(seen) or 'there is one split only'}.",
        f"Pairs: {kinds}; {across:,} across splits. Patients: {_patients(patients)}{'; ' * bool(alike)}{alike}.",
        f"Balanced accuracy of trivial features alone{chance}: {shortcuts or 'none beats chance clearly'}{too_narrow}.",
        f"{_labels(labels)}." if "errors" in labels else "There is one class only.",
        f"AUROC of telling a split from train (none is 0.50): {shift or 'there is no other split'}.",
    ]
    return "\n".join([*(f"- {line[0].upper()}{line[1:]}" for line in lines), ""])


def _as_text(name: str) -> str:
    """Return a name of a stranger's table for Markdown: no tag, no link, and no mark that ends the part of a page."""
    return " ".join(name.replace("&", "&amp;").replace("<", "&lt;").replace("[", "\\[").split())


def planted_text(rows: list[dict[str, Any]]) -> str:
    """Return how many planted copies were found as a table for the terminal, a line a strength."""
    lines = [f"{'kind':<15}{'strength':<15}{'n':>7}{'recall':>9}{'precision':>11}{'named':>8}"]
    for row in rows:
        figures = f"{row['n']:>7,}{row['recall']:>9.3f}{row['precision']:>11.4f}{row['named']:>8,}"
        lines.append(f"{row['kind']:<15}{row['strength']:<15}{figures}")
    return "\n".join(lines)


def planted_markdown(rows: list[dict[str, Any]]) -> str:
    """Return how many planted copies were found as a Markdown table, a line a kind, with 95 % intervals."""
    lines = ["| kind | recall by strength | n | recall | precision | kind named |", "|---|---|---:|---:|---:|---:|"]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        of_kind = [row for row in rows if row["kind"] == kind]
        strengths = ", ".join(f"{row['strength']} {float(row['recall']):.2f}".strip() for row in of_kind)
        names = ("n", "found", "pairs", "strangers", "named")
        n, found, pairs, strangers, named = (sum(int(row[name]) for row in of_kind) for name in names)
        recall, precision = _share(found, n), _share(pairs - strangers, pairs)
        whole = found if kind != NEIGHBOUR else pairs
        lines.append(f"| {kind} | {strengths} | {n:,} | {recall} | {precision} | {named / max(1, whole):.2f} |")
    return "\n".join([*lines, ""])


def _share(part: int, whole: int) -> str:
    """Return a share with its exact 95 % interval (Clopper and Pearson 1934)."""
    if not whole:
        return "none"
    from scipy.stats import beta

    low = beta.ppf(0.025, part, whole - part + 1) if part else 0.0
    high = beta.ppf(0.975, part + 1, whole - part) if part < whole else 1.0
    return f"{part / whole:.3f} ({low:.3f} to {high:.3f})"
