"""What a model sees as alike: its features of the test images along their two main axes."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vitlab.evaluate.predictions import Predictions
from vitlab.evaluate.projection import FILE, main_axes
from vitlab.npz import read_arrays
from vitlab.report.figures.points import draw_map
from vitlab.report.markup import Markup, section
from vitlab.report.page.album import WIDTH, Album, each, nothing, panels
from vitlab.report.page.classes import tested
from vitlab.report.rows import Row
from vitlab.report.summary import Table

SHOWN = 700  # images in a picture: more are no longer told apart, and each is about 90 bytes of the page


def features_section(album: Album) -> Markup:
    """Show the features of the first run of each approach."""
    return section(
        "features", "Features", "What the model sees as alike lies together. Distances in such a picture are a "
        "shadow of those between the features: it shows ideas to test, no proof.",
        each(album.tables, lambda found: _features(found, album)),
    )  # fmt: skip


def read_features(folder: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
    """Read a run's features.npz: (N, D) features and (N,) rows of the manifest; None where it has no such file."""
    try:
        features, index = read_arrays(folder / FILE, ["features", "index"])
        features, index = features.astype(np.float64), index.astype(np.int64)
    except (OSError, ValueError, TypeError):
        return None
    fits = features.ndim == 2 and index.shape == (len(features),) and len(index) > 2
    return (features, index) if fits and np.isfinite(features).all() else None


def _features(found: Table, album: Album) -> Iterable[Markup]:
    pictures = [picture for row, _ in tested(found) if (picture := _picture(row, album)) is not None]
    if not pictures:
        yield nothing(f"There is no {FILE} in the folders of the runs: their features were not kept.")
        return
    yield panels(pictures, "Principal components of the features of the test images, for the first run of each "
                 f"approach; at most {SHOWN} images, evenly taken.")  # fmt: skip


def _picture(row: Row, album: Album) -> Markup | None:
    for run, scored in zip(row.runs, row.scored["test"], strict=True):
        if (read := read_features(run.folder)) is not None:
            fold = "" if run.fold is None else f", fold {run.fold}"
            return _map(row, f"{row.name}, seed {run.seed}{fold}", scored.predictions, *read, album)
    return None


def _map(
    row: Row,
    title: str,
    predictions: Predictions,
    features: NDArray[np.float64],
    index: NDArray[np.int64],
    album: Album,
) -> Markup | None:
    names = dict(zip(predictions.index.tolist(), predictions.label.tolist(), strict=True))
    label = np.array([names.get(i, "") for i in index.tolist()], object)
    known = label != ""
    if known.sum() < 3:
        return None
    places, explained = main_axes(features[known])
    label = label[known]
    shown = np.unique(np.linspace(0, len(label) - 1, min(SHOWN, len(label))).astype(int))
    places, label = places[shown], label[shown]
    centres = "; ".join(
        f"{name} around {places[label == name, 0].mean():.2g}, {places[label == name, 1].mean():.2g}"
        for name in sorted(set(label.tolist()))
    )
    return album.add(
        f"features {row.name}",
        lambda axes: draw_map(axes, places, label, explained, title),
        words=f"Features of {title} along two main axes, which hold {100 * sum(explained):.0f} % of the variance: "
        f"{centres}.",
        head=("label", "first", "second"),
        rows=[(name, *place) for name, place in zip(label.tolist(), places.tolist(), strict=True)],
        size=(WIDTH, 3.5),
    )
