"""What pretraining has learnt, as a section: reconstructions of an MAE, and neighbours before and after fine-tuning."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vitlab.evaluate.resampling import Resampling
from vitlab.explain.cases.neighbours import Neighbour
from vitlab.explain.features.pretrained import Before, Reconstruction, before_fine_tuning, reconstruct
from vitlab.explain.page.index import agreement
from vitlab.explain.page.pictures import draw_image, strip
from vitlab.explain.page.shown import BREAK, PICTURES, SMALL, Shown, cell
from vitlab.explain.runs.loaded import load_run
from vitlab.explain.scores.image_scores import mean_score, scored_images
from vitlab.models.mae import MAE
from vitlab.report.markup import Markup, join, section, table, tag
from vitlab.report.rows import Stat
from vitlab.report.runs import Run
from vitlab.report.words import figure

PATIENTS = 4  # of the draw, whose pictures are shown; figures are of the whole test set


def pretraining_section(shown: Shown, folder: Path, device: str) -> Markup | None:
    """Return the section; None where the study has no pretraining with weights.

    Args:
        shown: What is shown.
        folder: Of the pages; pictures are written into it.
        device: Where the models run.
    """
    before = {name: found for name, looks in shown.looks.items()
              if (found := before_fine_tuning(shown.study, shown.cases, looks, device)) is not None}  # fmt: skip
    if not before:
        return None
    (folder / PICTURES).mkdir(exist_ok=True)
    pretrainings = {found.run.folder: found for found in before.values()}
    parts = [_neighbours(shown, folder, before)]
    for found in pretrainings.values():
        made = _reconstructions(shown, folder, found, device)
        parts += [made] if made is not None else []
    return section(
        "pretraining", "What pretraining has learnt", f"It saw the training {shown.unit}s only, and no label. The "
        f"pictures are of the first {shown.unit}s of the draw, the figures of all in the test set of the run.", *parts,
    )  # fmt: skip


def _first(shown: Shown, places: Sequence[int]) -> list[int]:
    """Return places of the first cases of the draw that are among some."""
    return [listed.case for listed in shown.lists[0].listed if listed.case in set(places)][:PATIENTS]


def _neighbours(shown: Shown, folder: Path, before: dict[str, Before]) -> Markup:
    rows, pictures = [], []
    for at, (name, found) in enumerate(before.items()):
        looks = shown.looks[name]
        after = [vote for vote in looks.votes if (vote.seed, vote.fold) == (found.votes[0].seed, found.votes[0].fold)]
        stats = [agreement(votes) for votes in (found.votes, after)]
        rows.append([name, found.run.approach, *map(figure, stats), stats[0].n_images])
        items = []
        for place in _first(shown, [place for place in found.nearest if place in looks.cases]):
            both = found.nearest[place], looks.cases[place].neighbours
            file = f"near-{at}-{shown.order.index(place) + 1:04d}.webp"
            cells = [shown.images[shown.cases[place].rows[shown.middle(place)]]]
            cells += [shown.images[one.row] for near in both for one in near]
            (folder / PICTURES / file).write_bytes(strip([draw_image(cell, SMALL) for cell in cells]))
            items.append(_pair(shown, place, file, len(cells), both))
        pictures.append(tag("details", tag("summary", f"Neighbours of {len(items)} {shown.unit}s, {name}"),
                            tag("ul", *items, class_="plain")))  # fmt: skip
    head = ("approach", "pretraining", "before fine-tuning", "after it", "n")
    caption = (
        f"Share of test {shown.unit}s whose nearest training {shown.unit}s are mostly of their class, one run each, "
    )
    return join([
        tag("h3", "Neighbours before and after fine-tuning"),
        table(head, rows, caption=caption + "with 95 % intervals", words=2), *pictures,
    ])  # fmt: skip


def _pair(
    shown: Shown, place: int, file: str, of: int, both: tuple[Sequence[Neighbour], Sequence[Neighbour]]
) -> Markup:
    case = shown.cases[place]
    own = cell(f"{PICTURES}/{file}", 0, of, SMALL, "The case", tag("b", case.label), BREAK, case.name)
    parts = [tag("div", own, class_="cells five")]
    at = 1
    for when, near in zip(("Before", "After"), both, strict=True):
        cells = []
        for one in near:
            other = "" if one.label == case.label else tag("span", " other class", class_="wrong")
            words = [tag("b", one.label), other, BREAK, one.name]
            alt = f"{when}: training {shown.unit} {one.name}"
            cells.append(cell(f"{PICTURES}/{file}", at, of, SMALL, alt, *words))
            at += 1
        parts += [tag("p", when, class_="note"), tag("div", *cells, class_="cells five")]
    return tag("li", *parts, class_="row")


def _reconstructions(shown: Shown, folder: Path, before: Before, device: str) -> Markup | None:
    """Return what an MAE makes of hidden patches of cases that it has not seen; None of another pretraining."""
    run = before.run
    model = load_run(run.folder, device)
    if not isinstance(model.model, MAE):
        return None
    first = _first(shown, list(before.nearest))
    order = first + [place for place in before.nearest if place not in first]
    rows = np.array([shown.cases[place].rows[len(shown.cases[place].rows) // 2] for place in order])
    made = reconstruct(model, rows)
    items = []
    for at, place in enumerate(first):
        cells = [shown.images[rows[at]], *(part[at] for one in made for part in (one.masked, one.filled))]
        file = f"mae-{shown.order.index(place) + 1:04d}.webp"
        (folder / PICTURES / file).write_bytes(strip([draw_image(cell, shown.side) for cell in cells]))
        items.append(_hidden(shown, place, file, made, len(cells)))
    lines = [_figures(shown, order, one, run) for one in made]
    put_back = " Mean and contrast of each true patch are put back, it knows neither." if model.model.norm_pix else ""
    return join([
        tag("h3", f"What {run.approach} makes of hidden patches"),
        tag("p", "Seed ", run.seed, "" if run.fold is None else f" of fold {run.fold}", ", trained on "
            f"{100 * model.model.mask_ratio:.0f} % hidden.{put_back} Where its error is not below that of flat "
            "patches, it adds nothing to their mean.", class_="meaning"),
        table(("hidden", "error", "error of flat patches", "n"), lines, caption="Mean absolute error in hidden "
              f"patches, as a share of black to white, one image of each test {shown.unit}, with 95 % intervals"),
        tag("ul", *items, class_="plain"),
    ])  # fmt: skip


def _hidden(shown: Shown, place: int, file: str, made: Sequence[Reconstruction], of: int) -> Markup:
    case = shown.cases[place]
    source = f"{PICTURES}/{file}"
    cells = [cell(source, 0, of, SMALL, "The image", tag("b", case.label), BREAK, case.name)]
    for number, one in enumerate(made):
        for offset, what in ((1, "hidden"), (2, "reconstructed")):
            share = f"{100 * one.ratio:.0f} % {what}"
            cells.append(cell(source, 2 * number + offset, of, SMALL, share, share))
    return tag("li", tag("div", *cells, class_="cells nine"), class_="row")


def _figures(shown: Shown, order: Sequence[int], one: Reconstruction, run: Run) -> list[object]:
    stats = []
    for values in (one.error, one.flat):
        lines = [
            {"index": str(shown.cases[place].rows[0]), "patient_id": shown.cases[place].name,
             "label": shown.cases[place].label, "score": repr(float(value))}
            for place, value in zip(order, values, strict=True)
        ]  # fmt: skip
        stats.append(Stat.of_estimate(mean_score(scored_images({(run.seed, run.fold): lines}, "score"), Resampling())))
    return [f"{100 * one.ratio:.0f} %", *map(figure, stats), stats[0].n_images]
