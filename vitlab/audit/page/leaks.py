"""Sections of the page on leaks: splits, accuracy that is worth something, patients, and pairs of copies."""

from typing import Any, Final

from vitlab.audit.copies.pairs import EXACT, KINDS, NEIGHBOUR
from vitlab.audit.leaks import splits_of
from vitlab.audit.page.marks import bar, dot, interval, scale
from vitlab.report.markup import Markup, join, section, share, table, tag

LISTED: Final = 100  # rows of a table; the rest is in audit.json

MEANINGS: Final = {
    "same file": "the same bytes under another name",
    "same pixels": "saved anew, every pixel equal, at 8 bits or more",
    "padded": "equal once uniform borders are cut off",
    "re-compressed": "saved again with loss, as JPEG does",
    "resized": "another size in pixels",
    "brightness": "brighter or darker",
    "contrast": "light and dark farther apart or closer together",
    "blurred": "smoothed, or sharpened",
    "noisy": "with noise of its own",
    "marked": "text, a mark or another small part differs",
    "flipped": "mirrored",
    "turned": "turned by 90, 180 or 270 degrees",
    "cropped": "a part of the other",
    "rotated": "turned by a few degrees",
    NEIGHBOUR: "another slice, or another moment, of what is likely the same scan",
}


def splits_section(report: dict[str, Any]) -> Markup:
    """Say how much of each split training has already shown."""
    splits = splits_of(report)
    title = "What training has already seen"
    if not splits:
        return section(
            "splits", title, "There is one split only, so there is nothing to compare it with. Audit again once the "
            "images are split.",
        )  # fmt: skip
    rows: list[list[Any]] = []
    for split, found in splits.items():
        rows.append(_split_row(tag("strong", split), found))
        rows += [_split_row(tag("span", name, class_="sub"), of) for name, of in found["by_class"].items()]
    parts = (("identical", "identical"), ("near", "near copy"), ("rest", "neither"))
    legend = tag("p", *(tag("span", name, class_=f"key {style}") for style, name in parts), class_="legend")
    return section(
        "splits", title, "An image that stands in training too measures memory, not skill: report the score on the "
        "images that are neither identical nor near, or split anew with --repair.",
        table(
            ("split and class", "shares", "images", "identical in training", "near copy in training", "unseen",
             "unseen, distinct"),
            rows, caption="Images of each split beside the training split", words=2,
        ),
        legend,
        tag("p", "Identical: equal in every decoded pixel. Near copy: padded, re-saved, resized, mirrored, cropped, "
            "turned, or a neighbouring slice. Unseen: not identical. Distinct: each different picture counted once.",
            class_="note"),
    )  # fmt: skip


def _split_row(name: Markup, found: dict[str, Any]) -> list[Any]:
    n, identical, near = found["n"], found["identical_in_train"], found["near_in_train"]
    distinct = found.get("unseen_distinct")
    return [
        name,
        bar((("identical", identical), ("near", near), ("rest", n - identical - near))),
        f"{n:,}",
        share(identical, n),
        share(near, n),
        share(found["unseen"], n),
        "" if distinct is None else share(distinct, n),
    ]


def worth_section(report: dict[str, Any]) -> Markup | None:
    """Say what the accuracy of runs is worth; None where no run was given."""
    if not report.get("worth"):
        return None
    names = {
        "all": "all, as reported",
        "seen": "identical in training",
        "near": "near copy in training",
        "unseen": "unseen: not identical, each picture once",
        "new": "new: neither, each picture once",
    }
    rows = []
    for value in report["worth"]:
        for key, name in names.items():
            found = value.get(key)
            if not found:
                continue
            ends = found["accuracy"], found["low"], found["high"]
            first = join([tag("strong", value["name"]), f" {value['split']}"]) if key == "all" else ""
            rows.append([
                first or tag("span", f"{value['name']} {value['split']}", class_="unseen"),
                name,
                dot(*ends, reference=None, strong=key == "new"),
                interval(*ends),
                f"{found['n']:,} ({found['n_groups']:,})",
            ])  # fmt: skip
    borrowed = dict.fromkeys(value["name"] for value in report["worth"] if value["trained_on"] == "audit")
    return section(
        "worth", "What a reported accuracy is worth", "The accuracy on images that training holds neither as they "
        "are nor as a near copy is the one to report; the gap to the accuracy on all images is what copies added.",
        table(("run and split", "images", scale("accuracy"), "accuracy (95 % interval)", "images or pictures (groups)"),
              rows, caption="Accuracy of each run by what its training has seen", words=3),
        tag("p", "Judged by the training split of this audit, as their predictions have no training images: ",
            ", ".join(borrowed), ".", class_="note") if borrowed else "",
    )  # fmt: skip


def patients_section(report: dict[str, Any]) -> Markup:
    """List the patients that stand on two sides."""
    patients = report["patients"]
    across = patients["across_splits"]
    parts = list(dict.fromkeys(part for found in across for part in found["splits"]))
    if not patients["n"]:
        known: Any = none(
            f"No patient ids are known. Copies and neighbouring slices stand in for them: {report['n']:,} images "
            f"form {patients['groups']:,} groups, each to be kept on one side."
        )
    elif not across:
        known = none(f"None found among {patients['n']:,} patients.")
    else:
        rows = [
            [found["patient"], *(f"{found['splits'].get(part, 0):,}" for part in parts)] for found in across[:LISTED]
        ]
        known = join([
            tag("p", f"{len(across):,} of {patients['n']:,} patients have images in several splits.", class_="lead"),
            long(table(("patient", *(f"{part} images" for part in parts)), rows, caption="Patients across splits"),
                  len(rows), len(across)),
        ])  # fmt: skip
    if patients["n"] and not patients["known"]:
        known = join([known, tag("p", "Some images have no patient id; they count as nobody's here.", class_="note")])
    if patients["alike"]:
        rows = [
            [" and ".join(found["patients"]), f"{found['pairs']:,}", f"{found['score']:.2f}",
             " and ".join(", ".join(parts) or "no split" for parts in found["splits"])]
            for found in patients["alike"][:LISTED]
        ]  # fmt: skip
        known = join([
            known, tag("h3", "One person under two names?"),
            tag("p", f"{len(patients['alike']):,} pairs of patient ids have images that form pairs: look whether they "
                "are one person, and if so give both one id.", class_="lead"),
            long(table(("patients", "pairs", "best score", "splits"), rows, caption="Patients that look alike",
                       words=1), len(rows), len(patients["alike"])),
        ])  # fmt: skip
    return section(
        "patients", "Patients across splits", "Images of one patient resemble each other, so that a test on a trained "
        "patient is no test: keep each patient on one side.", known,
    )  # fmt: skip


def kinds_section(report: dict[str, Any]) -> Markup:
    """Count the pairs of each kind."""
    rows = [
        [kind, MEANINGS[kind], f"{found['n']:,}", f"{found['across_splits']:,}", f"{found['across_labels']:,}"]
        for kind in KINDS
        if (found := report["pairs"].get(kind))
    ]
    return section(
        "kinds", "Copies, by kind", "Pairs across splits leak; copies with two labels carry at least one wrong one; "
        "the others make the set smaller than it looks.",
        table(("kind", "what it means", "pairs", "across splits", "with two labels"), rows,
              caption="Pairs of images that show the same", words=2)
        if rows else none("None found."),
    )  # fmt: skip


def pairs_section(report: dict[str, Any], kinds: list[str]) -> Markup | None:
    """Return the frame in which the script shows pairs; None where there are none.

    Args:
        report: What audit.json holds.
        kinds: Of each pair that is shown.
    """
    if not kinds:
        return None
    total = sum(found["n"] for found in report["pairs"].values())
    cap = f"The page shows the worst {len(kinds):,} of {total:,} pairs, with some of every kind; all are in pairs.csv."
    options = [tag("option", f"all kinds ({len(kinds):,})", value="")] + [
        tag("option", f"{kind} ({kinds.count(kind):,})", value=kind) for kind in KINDS if kind in kinds
    ]
    exact = ", ".join(EXACT)
    return section(
        "pairs", "Pairs, worst first", "Check by eye before you believe or drop anything: pairs across splits come "
        "first, then those with two labels, then the surest.",
        tag("p", cap if total > len(kinds) else f"All {total:,} pairs are shown; they are in pairs.csv too.",
            " The score is the correlation of fine detail once one picture is laid over the other, 1 for equal "
            f"pixels ({exact})."),
        tag("form",
            tag("label", "Kind ", tag("select", *options, id="kind")),
            tag("label", Markup('<input type="checkbox" id="only-splits">'), " across splits only"),
            tag("label", Markup('<input type="checkbox" id="only-labels">'), " with two labels only"),
            tag("label", "Path ", Markup('<input type="search" id="search" placeholder="part of a path">')),
            tag("output", "", id="count", aria_live="polite"), id="filter", aria_label="Filter the pairs"),
        tag("p", "Keys: ", tag("kbd", "/"), " search, ", tag("kbd", "j"), " and ", tag("kbd", "k"), " next and "
            "previous pair, ", tag("kbd", "Enter"), " enlarge, then ", tag("kbd", "Space"), " lays one picture over "
            "the other, ", tag("kbd", "Esc"), " closes.", class_="note keys"),
        tag("noscript", tag("p", "Pictures of pairs need JavaScript, which this browser does not run here.")),
        tag("ol", id="list"),
        tag("button", "Show more pairs", id="more", type="button", hidden="hidden"),
    )  # fmt: skip


def none(sentence: str) -> Markup:
    """Return the line of a section that has nothing to report."""
    return tag("p", sentence, class_="none")


def long(listed: Markup, shown: int, total: int) -> Markup:
    """Say how much of a long list is shown."""
    if shown == total:
        return listed
    return join([listed, tag("p", f"The first {shown:,} of {total:,}; all are in audit.json.", class_="note")])
