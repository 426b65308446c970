"""What an audit found in words: one screen of a terminal, five lines of Markdown; and tables of planted copies."""

import textwrap
from typing import Any

_LINE = 110  # characters; a terminal of the usual width folds no more than a line or two


def summary(report: dict[str, Any]) -> str:
    """Return what fits one screen, from what audit.json holds."""
    patients, labels = report["patients"], report["labels"]
    lines = [f"{report['data']}: {report['n']:,} images, {patients['groups']:,} groups"]
    lines += [*textwrap.wrap(report["verdict"], _LINE), ""]
    lines.append(f"{'':<8}{'n':>8}{'identical':>11}{'near':>8}{'unseen':>8}{'distinct':>10}")
    for split, found in report["splits"].items():
        numbers = (found["n"], found["identical_in_train"], found["near_in_train"], found["unseen"])
        widths = (8, 11, 8, 8)
        cells = "".join(f"{number:>{width},}" for number, width in zip(numbers, widths, strict=True))
        lines.append(f"{split:<8}{cells}{found['unseen_distinct']:>10,}")
    if report["pairs"]:
        kinds = ", ".join(f"{kind} {found['n']:,}" for kind, found in report["pairs"].items())
        across = sum(found["across_splits"] for found in report["pairs"].values())
        lines += ["", f"pairs: {kinds}; {across:,} across splits"]
    known = f"{patients['n']:,} known" if patients["known"] else "unknown: copies stand in for them"
    lines.append(f"patients: {known}; {len(patients['across_splits']):,} on two sides")
    lines += [f"  {' and '.join(found['patients'])} look like one person ({found['pairs']:,} pairs)"
              for found in patients["alike"][:3]]  # fmt: skip
    lines += [f"  and {len(patients['alike']) - 3:,} more"] * (len(patients["alike"]) > 3)
    if "errors" in labels:
        two = len(labels["patients_with_two_classes"])
        lines.append(
            f"labels: {len(labels['conflicts']):,} pairs of copies with two, {len(labels['errors']):,} images "
            f"doubtful, {two:,} patients with two classes"
        )
    named = [shortcut["sentence"] for shortcut in report["shortcuts"] if shortcut["named"]]
    lines += [f"shortcut: {sentence}" for sentence in named[:6]] or ["shortcuts: none beats chance clearly"]
    if len(named) > 6:
        lines.append(f"          and {len(named) - 6} more")
    lines += [f"shift: {shift['sentence']}" for shift in report["shift"]]
    odd = [finding["kind"] for finding in report["files"]]
    counts = ", ".join(f"{odd.count(kind):,} {kind}" for kind in sorted(set(odd)))
    lines.append(f"files: {counts or 'nothing odd'}")
    lines += [f"worth: {_worth(value)}" for value in report.get("worth", [])]
    return "\n".join(line if len(line) <= 2 * _LINE else line[: 2 * _LINE - 1] + "…" for line in lines)


def _worth(value: dict[str, Any]) -> str:
    parts = []
    for name in ("all", "seen", "near", "unseen", "new"):
        if found := value.get(name):
            parts.append(f"{name} {found['accuracy']:.3f} ({found['low']:.3f} to {found['high']:.3f}, n {found['n']})")
    return f"{value['run']}, {value['split']}: accuracy {', '.join(parts)}"


def summary_markdown(report: dict[str, Any]) -> str:
    """Return what was found as a Markdown list of five lines."""
    patients, labels = report["patients"], report["labels"]
    seen = [
        f"{found['identical_in_train']:,} of {found['n']:,} {split} images are in training pixel for pixel, "
        f"{found['near_in_train']:,} more as a near copy or another slice; {found['unseen']:,} are unseen, "
        f"{found['unseen_distinct']:,} of them distinct"
        for split, found in report["splits"].items()
    ]
    kinds = ", ".join(f"{found['n']:,} {kind}" for kind, found in report["pairs"].items()) or "none"
    across = sum(found["across_splits"] for found in report["pairs"].values())
    alike = "; ".join(f"{' and '.join(found['patients'])} look like one person" for found in patients["alike"])
    known = f"{patients['n']:,} patients are known" if patients["known"] else "no patients are known"
    shortcuts = ", ".join(
        f"{shortcut['name']} {shortcut['balanced_accuracy']:.0%} ({shortcut['low']:.0%} to {shortcut['high']:.0%})"
        for shortcut in report["shortcuts"]
        if shortcut["named"]
    )
    chance = f" (chance {report['shortcuts'][0]['chance']:.0%})" if report["shortcuts"] else ""
    shift = "; ".join(f"{found['split']} {found['auroc']:.2f} ({found['low']:.2f} to {found['high']:.2f})"
                      for found in report["shift"])  # fmt: skip
    two = f"{len(labels['conflicts']):,} pairs of copies have two labels, {len(labels['errors']):,} labels are doubtful"
    lines = [
        f"{'; '.join(seen) or 'there is one split only'}.",
        f"Pairs: {kinds}; {across:,} across splits. {known}{'; ' * bool(alike)}{alike}.".replace(". n", ". N"),
        f"Balanced accuracy of trivial features alone{chance}: {shortcuts or 'none beats chance clearly'}.",
        f"{two}." if "errors" in labels else "There is one class only.",
        f"AUROC of telling a split from train (none is 0.50): {shift or 'there is no other split'}.",
    ]
    return "\n".join([*(f"- {line[0].upper()}{line[1:]}" for line in lines), ""])


def planted_text(rows: list[dict[str, Any]]) -> str:
    """Return how many planted copies were found as a table for the terminal, a line a strength."""
    lines = [f"{'kind':<15}{'strength':<15}{'n':>7}{'recall':>9}{'precision':>11}{'named':>8}"]
    for row in rows:
        figures = f"{row['n']:>7,}{row['recall']:>9.3f}{row['precision']:>11.4f}{row['named']:>8.2f}"
        lines.append(f"{row['kind']:<15}{row['strength']:<15}{figures}")
    return "\n".join(lines)


def planted_markdown(rows: list[dict[str, Any]]) -> str:
    """Return how many planted copies were found as a Markdown table, a line a kind."""
    lines = ["| kind | recall by strength | n | recall | precision |", "|---|---|---:|---:|---:|"]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        of_kind = [row for row in rows if row["kind"] == kind]
        strengths = ", ".join(f"{row['strength']} {row['recall']:.2f}".strip() for row in of_kind)
        names = ("n", "found", "pairs", "strangers")
        n, found, pairs, strangers = (sum(row[name] for row in of_kind) for name in names)
        precision = f"{1 - strangers / pairs:.4f}" if pairs else "no pairs"
        lines.append(f"| {kind} | {strengths} | {n:,} | {found / max(1, n):.3f} | {precision} |")
    return "\n".join([*lines, ""])
