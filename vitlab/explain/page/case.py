"""The page of one case: its slices, what each approach says and looks at, and what it reminds each approach of."""

from collections.abc import Iterator

import numpy as np

from vitlab.explain.cases.looking import Look
from vitlab.explain.cases.selection import Case
from vitlab.explain.page.pictures import draw_image, outlined, overlay, strip
from vitlab.explain.page.shown import BREAK, SMALL, Shown, cell, judged, page_name
from vitlab.explain.scores.findings import METHOD_NAMES
from vitlab.report.markup import Markup, join, section, table, tag

MOST_CLASSES = 5  # whose probabilities stand below a slice; and the true one's


def case_files(shown: Shown, number: int) -> Iterator[tuple[str, bytes]]:
    """Yield the pictures of a case: their file names and what the files hold."""
    place = shown.order[number]
    case, masks = shown.cases[place], shown.masks[place]
    looks = _looks(shown, place)
    for at, row in enumerate(case.rows.tolist()):
        picture = shown.picture(row)
        cells = [outlined(picture, masks[at]), *(overlay(picture, look.maps[at]) for _, look in looks)]
        yield f"{number + 1:04d}-{at + 1:03d}.webp", strip(cells)
    for at, (_, look) in enumerate(looks):
        near = [draw_image(shown.images[neighbour.row], SMALL) for neighbour in look.neighbours]
        yield f"{number + 1:04d}-near{at + 1}.webp", strip(near)
    middle = shown.middle(place)
    small = outlined(draw_image(shown.images[case.rows[middle]], SMALL), masks[middle])
    yield f"{number + 1:04d}.webp", strip([small])


def case_header(shown: Shown, number: int) -> Markup:
    """Return the head of a case's page."""
    place, last = shown.order[number], len(shown.order) - 1
    case = shown.cases[place]
    links = [
        tag("a", f"All {shown.unit}s", href="../index.html", id="up"),
        tag("a", "Previous", href=page_name(number - 1) if number else None, id="previous", rel="prev"),
        tag("a", "Next", href=page_name(number + 1) if number < last else None, id="next", rel="next"),
        tag("output", f"{number + 1} of {last + 1}", id="place"),
        tag("span", "Keys: ", tag("kbd", "j"), " or ", tag("kbd", "\u2192"), " next, ", tag("kbd", "k"), " or ",
            tag("kbd", "\u2190"), " previous, ", tag("kbd", "u"), " all", class_="note"),
    ]  # fmt: skip
    why = [tag("li", tag("b", one.title), "" if one.identity == "random" else f": {reason}")
           for one, reason in shown.reasons(place)]  # fmt: skip
    return join([
        tag("nav", *links, class_="walk", aria_label="Cases"),
        tag("h1", f"{shown.unit.capitalize()} {case.name}: {case.label}"),
        tag("p", _facts(shown, place), class_="facts"),
        tag("ul", *why, class_="plain"),
    ])  # fmt: skip


def case_main(shown: Shown, number: int) -> Markup:
    """Return what a case's page shows."""
    place = shown.order[number]
    case = shown.cases[place]
    looks = _looks(shown, place)
    parts = [_said(case), _slices(shown, case, number, looks)]
    parts += [_neighbours(case, number, looks)] if looks else []
    return tag("article", *parts, data_case=number, data_of=len(shown.order))


def _looks(shown: Shown, place: int) -> list[tuple[str, Look]]:
    return [(name, looks.cases[place]) for name, looks in shown.looks.items() if place in looks.cases]


def _facts(shown: Shown, place: int) -> str:
    n = len(shown.cases[place].rows)
    masked = int(shown.masks[place].any((1, 2)).sum())
    return f"{n} {'slice' if n == 1 else 'slices'} in the test set, {masked or 'none'} with a mask"


def _said(case: Case) -> Markup:
    rows = []
    for name in case.approaches:
        mean, spread, n = case.mean(name), case.spread(name), len(case.by_run(name))
        cells = [
            f"{value:.2f}" + ("" if spread is None else f" \u00b1 {spread[at]:.2f}") for at, value in enumerate(mean)
        ]
        rows.append([name, judged(case.said(name), case.label), *cells, n])
    head = ["approach", "says", *(f"{name} (truth)" if name == case.label else name for name in case.classes), "runs"]
    return section(
        "said", "What the approaches say", "The probability of each class: the mean over slices and runs, \u00b1 the "
        "sample deviation over the runs in whose test set it was.",
        table(head, rows, caption="Probabilities of each approach", words=2),
    )  # fmt: skip


def _slices(shown: Shown, case: Case, number: int, looks: list[tuple[str, Look]]) -> Markup:
    items = []
    for at, row in enumerate(case.rows.tolist()):
        file = f"{number + 1:04d}-{at + 1:03d}.webp"
        truth = str(case.labels[at])
        truths = [tag("b", truth), BREAK, tag("span", str(shown.paths[row]), class_="path")]
        of, side = 1 + len(looks), shown.side
        cells = [cell(file, 0, of, side, f"Slice {at + 1}, with the outline of its mask", *truths)]
        for column, (name, look) in enumerate(looks, 1):
            said = _probabilities(case, name, at)
            seen = f"for {look.said[at]}" if look.said[at] else "not in its test set"
            words = [tag("b", name), *said, BREAK, tag("span", f"map of seed {look.run.seed}: {seen}", class_="path")]
            cells.append(cell(file, column, of, side, f"Where {name} looks in slice {at + 1}", *words))
        items.append(tag("li", tag("div", *cells, class_="cells")))
    asked = [f"{name}: {METHOD_NAMES[look.method]}, seed {look.run.seed}" +
             ("" if look.run.fold is None else f" of fold {look.run.fold}") for name, look in looks]  # fmt: skip
    legend = tag(
        "p",
        tag("span", "even or less ", tag("i"), " 8 times an even map", class_="scale"),
        tag("span", "outline of the mask", class_="mask"),
        class_="legend",
    )
    unseen = [] if looks else [tag("p", "No checkpoint is left of the runs that were tested on it: what they look at "
                                   "cannot be shown.", class_="none")]  # fmt: skip
    return section(
        "slices", "Slices", "The map shows what speaks for the class that one run of each approach says of the slice, "
        "on one colour scale for all: a map that says nothing paints nothing. Below it stands what all runs say of the "
        "slice: the class that is most probable in the mean, and each probability \u00b1 its deviation over runs.",
        *unseen, legend, tag("p", "; ".join(asked), class_="note"), tag("ul", *items, class_="plain slices"),
    )  # fmt: skip


def _probabilities(case: Case, name: str, at: int) -> list[Markup]:
    """Return what all runs of an approach say of a slice: the class, right or wrong, and a line a class."""
    probs = case.probs[name][:, at]
    probs = probs[np.isfinite(probs[:, 0])]
    if not len(probs):
        return []
    mean, n = probs.mean(0), len(probs)
    spread = [f" \u00b1 {value:.2f}" for value in probs.std(0, ddof=1)] if n > 1 else [""] * len(mean)
    truth = str(case.labels[at])
    told = sorted(np.argsort(-mean, kind="stable")[:MOST_CLASSES].tolist())
    told += [] if truth in [case.classes[k] for k in told] else [case.classes.index(truth)]
    lines = [join([BREAK, f"{case.classes[k]} {mean[k]:.2f}{spread[k]}"]) for k in told]
    return [BREAK, judged(case.classes[int(mean.argmax())], truth), *lines]


def _neighbours(case: Case, number: int, looks: list[tuple[str, Look]]) -> Markup:
    rows = []
    for at, (name, look) in enumerate(looks):
        near = look.neighbours
        cells = [
            cell(f"{number + 1:04d}-near{at + 1}.webp", column, len(near), SMALL, f"Training patient {one.name}",
                 tag("b", one.label), "" if one.label == case.label else tag("span", " other class", class_="wrong"),
                 BREAK, f"{one.similarity:.2f}", BREAK, tag("span", one.name, class_="path"))
            for column, one in enumerate(near)
        ]  # fmt: skip
        same = sum(one.label == case.label for one in near)
        head = tag("h3", f"{name}: {same} of {len(near)} are {case.label}")
        rows.append(tag("div", head, tag("div", *cells, class_="cells five"), class_="row"))
    return section(
        "neighbours", "What did it remind the model of?", "The nearest training patients in the space of each "
        "approach's features, with their class and cosine (mean over the slices here of the best slice there); shown "
        "is the slice that is most alike. Cosines of two approaches do not compare.", *rows,
    )  # fmt: skip
