"""Sections of the page on what else can spoil a result: shortcuts, labels, shift between splits, and files."""

import math
from typing import Any, Final

from vitlab.audit.baselines.shortcuts import ANATOMY
from vitlab.audit.leaks import splits_of
from vitlab.audit.page.leaks import LISTED, long, none
from vitlab.audit.page.marks import dot, interval, scale
from vitlab.audit.page.pictures import Pictures
from vitlab.report.markup import Markup, join, section, share, table, tag

_DOUBTFUL: Final = 30  # pictures of likely label errors; more are no longer looked at one by one

_ODD: Final = 10  # files of each kind
_FILES: Final = {
    "unreadable": "Unreadable",
    "blank": "Blank",
    "size": "Odd sizes",
    "mode": "Odd modes",
    "outlier": "Unlike all others",
    "text": "Burnt-in text",
    "mask": "Masks that do not match",
    "patient id": "Patient ids",
}


def shortcuts_section(report: dict[str, Any]) -> Markup | None:
    """Show how far trivial features alone tell the classes apart; None where there are no classes."""
    if len(report["classes"]) < 2:
        return None
    rows = []
    for found in report["shortcuts"]:
        ends = found["balanced_accuracy"], found["low"], found["high"]
        clear = "yes" if found["named"] else "no"
        if found["named"] and found["name"] in ANATOMY:
            clear = "yes; may be anatomy"
        rows.append([
            tag("strong", found["name"]) if found["named"] else found["name"],
            dot(*ends, reference=found["chance"], strong=found["named"]),
            clear,
            interval(*ends),
            p_value(found["p_value"]),
            f"{found['n']:,} ({found['n_groups']:,})",
        ])  # fmt: skip
    chance = f"chance is {report['shortcuts'][0]['chance']:.3f}, the dashed line" if rows else ""
    return section(
        "shortcuts", "Shortcuts", "What tells the classes apart without the object itself is what a model may learn "
        "instead: where something here beats chance, remove it or balance it, and report the model beside it.",
        table(("this alone", scale("balanced accuracy"), "beats chance", "balanced accuracy (95 % interval)", "p",
               "images (groups)"),
              rows, caption=f"How well trivial features alone predict the class of groups left out; {chance}", words=3)
        if rows else none("None was tested."),
        tag("p", "p: share of permutations of the labels in which any of these features did as well, so corrected for "
            "their number. Brightness, borders and surroundings may show the object after all: look before you blame.",
            class_="note") if rows else "",
        _unknown(report) if rows else "",
        _untested(report["untested_columns"]),
    )  # fmt: skip


def _unknown(report: dict[str, Any]) -> Markup:
    """Say once on the page what it does to every figure that patients are not known."""
    if report["patients"]["known"]:
        return Markup("")
    return tag(
        "p",
        "Not every image has a patient id, so images of one patient count as independent unless they are copies: every "
        "interval on this page is too narrow, and every p-value too small.",
        class_="note",
    )


def _untested(untested: list[dict[str, Any]]) -> Markup:
    if not untested:
        return Markup("")
    rows = [[found["column"], found["reason"]] for found in untested]
    listed = table(("column", "why"), rows[:LISTED], caption="Columns of the manifest that were not tested", words=2)
    return join([tag("h3", "Columns not tested"), long(listed, min(len(rows), LISTED), len(rows))])


def labels_section(report: dict[str, Any], pictures: Pictures) -> Markup | None:
    """Show conflicts, likely errors with their pictures, patients with two classes, and the balance of the classes.

    Args:
        report: What audit.json holds.
        pictures: Those of the page so far; those of doubtful labels are added.
    """
    labels = report["labels"]
    if not report["classes"]:
        return None
    parts = [_balance(labels["balance"], report["classes"]), _unlabelled(report)]
    if "errors" in labels:
        parts += [_conflicts(labels["conflicts"]), _errors(labels, pictures), _two_classes(labels)]
    return section(
        "labels", "Labels", "A wrong label teaches the wrong thing and marks right answers wrong: have an expert look "
        "at each of these before it is changed; the audit changes none.", *parts,
    )  # fmt: skip


def _balance(balance: dict[str, dict[str, int]], classes: list[str]) -> Markup:
    rows = []
    for split, counts in balance.items():
        whole = sum(counts.values())
        rows.append([split or "no split", f"{whole:,}", *(share(counts.get(name, 0), whole) for name in classes)])
    return table(("split", "labelled", *classes), rows, caption="Class balance: images of each class by split")


def _unlabelled(report: dict[str, Any]) -> Markup:
    if not (number := report["labels"]["unlabelled"]):
        return Markup("")
    return tag(
        "p",
        f"{number:,} of {report['n']:,} images have no label: they are in no class here, and no label of theirs is "
        "judged.",
        class_="note",
    )


def _conflicts(conflicts: list[dict[str, Any]]) -> Markup:
    title = tag("h3", "One picture, two labels")
    if not conflicts:
        return join([title, none("None found.")])
    lead = tag(
        "p",
        f"{len(conflicts):,} pairs of copies have two labels: at least one of each two is wrong. ",
        tag("button", "Show pairs with two labels", type="button", data_show="labels"),
    )
    rows = [
        [tag("span", path_a, class_="path"), label_a, tag("span", path_b, class_="path"), label_b, kind]
        for (path_a, path_b), (label_a, label_b), kind in (
            (found["paths"], found["labels"], found["kind"]) for found in conflicts[:20]
        )
    ]
    listed = table(("image", "label", "the same picture", "label", "kind"), rows,
                   caption="Pairs of copies with two labels", words=5)  # fmt: skip
    return join([title, lead, long(listed, len(rows), len(conflicts))])


def _errors(labels: dict[str, Any], pictures: Pictures) -> Markup:
    errors = labels["errors"]
    title = tag("h3", "Labels that may be wrong")
    trust = labels["trust"]
    if trust is None or math.isnan(trust):
        return join([title, none("Not looked for: too few patients or groups of images of two classes.")])
    how = (
        f"The model that judged them has a balanced accuracy of {trust:.2f} on groups that it was not trained on: the "
        "weaker it is, the less its doubts mean."
    )
    if not errors:
        return join([title, none("None found."), tag("p", how, class_="note")])
    shown = [
        tag("li", tag("figure", tag("div", data_picture=pictures.number(error["row"]), data_alt=error["path"]),
                      tag("figcaption", tag("b", error["given"]), " looks like ", tag("b", error["suggested"]),
                          Markup("<br>"), f"probability of {error['given']}: {p_value(error['self_confidence'])}",
                          Markup("<br>"), tag("span", error["path"], class_="path"))))
        for error in errors[:_DOUBTFUL]
    ]  # fmt: skip
    return join([
        title,
        tag("p", f"To a model that was not trained on them {labels['sentence']}. By chance means: if every label were "
            "right, since some images are hard. The most doubtful come first."),
        tag("p", how, class_="note"),
        long(tag("ol", *shown, class_="doubtful"), len(shown), len(errors)),
    ])  # fmt: skip


def _two_classes(labels: dict[str, Any]) -> Markup:
    title = tag("h3", "Patients with two classes")
    both = labels["patients_with_two_classes"]
    if not both:
        return join([title, none("None found.")])
    rows = [
        [found["patient"], ", ".join(f"{name} {count:,}" for name, count in found["labels"].items())]
        for found in both[:LISTED]
    ]
    listed = table(("patient", "images by class"), rows, caption=f"{len(both):,} patients with several classes",
                   words=2)  # fmt: skip
    return join([title, long(listed, len(rows), len(both))])


def shift_section(report: dict[str, Any]) -> Markup | None:
    """Show whether a classifier can tell the splits apart; None where there is one split only."""
    if not splits_of(report):
        return None
    rows = []
    for found in report["shift"]:
        ends = found["auroc"], found["low"], found["high"]
        rows.append([
            tag("strong", found["split"]) if found["named"] else found["split"],
            dot(*ends, reference=0.5, strong=found["named"]),
            "yes" if found["named"] else "no",
            interval(*ends),
            p_value(found["p_value"]),
            f"{found['n']:,} ({found['n_groups']:,})",
        ])  # fmt: skip
    return section(
        "shift", "Shift between splits", "Where a classifier can tell a split from training (AUROC clearly above "
        "0.5, among images of one class), the two hold different images: a score there is about another population "
        "than training's.",
        table(("split", scale("AUROC"), "differs clearly", "AUROC (95 % interval)", "p", "images (groups)"), rows,
              caption="How well a classifier tells each split from training; 0.5, the dashed line: not at all", words=3)
        if rows else none("Not tested: too few patients or groups of images in a split."),
        _unknown(report) if rows and not report["shortcuts"] else "",
    )  # fmt: skip


def files_section(report: dict[str, Any], pictures: Pictures, rows: dict[str, int]) -> Markup:
    """Show what is odd about files, by kind.

    Args:
        report: What audit.json holds.
        pictures: Those of the page so far; those of odd files are added.
        rows: Row of each path.
    """
    parts: list[Markup] = []
    for kind, title in _FILES.items():
        found = [finding for finding in report["files"] if finding["kind"] == kind]
        if not found:
            continue
        parts.append(tag("h3", f"{title} ({len(found):,})"))
        parts += [tag("p", finding["detail"]) for finding in found if not finding["path"]]
        named = [finding for finding in found if finding["path"]]
        listed = [
            [
                tag("span", finding["path"], class_="path"),
                tag("div", data_picture=pictures.number(rows[finding["path"]]), data_alt=finding["path"]),
                finding["detail"],
            ]
            for finding in named[:_ODD]
        ]
        if listed:
            caption = f"{title}: files"
            parts.append(long(table(("file", "picture", "finding"), listed, caption=caption, words=3), len(listed),
                              len(named)))  # fmt: skip
    return section(
        "files", "Files", "Files that cannot be read are missing from training; blank, odd or marked ones can teach a "
        "model the wrong thing: mend them or take them out.", *parts or [none("None found.")],
    )  # fmt: skip


def p_value(value: float | None) -> str:
    """Return a probability as papers print it; empty where there is none."""
    if value is None:
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
