"""What the runs of a study look at, measured image by image: saliency.csv, regions.csv and probe.csv.

All runs that were tested on the same images are measured on the same of them, chosen by seed, so that approaches and
controls are compared in pairs.

Shapes: N images, C channels, H, W pixels.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from vitlab.atomic import replacing_all
from vitlab.csv_text import row_writer
from vitlab.data.names import hash_rank
from vitlab.evaluate.probe import linear_probe
from vitlab.explain.cases.masks import masks_of
from vitlab.explain.features.attribute_probe import attributes, features_of, plain_features, read_attribute
from vitlab.explain.regions.removed import HOLE, REGIONS, cut, hole_facts
from vitlab.explain.runs.loaded import Loaded
from vitlab.explain.runs.untrained import untrained
from vitlab.explain.saliency.maps import methods_for, saliency_maps
from vitlab.explain.scores.controls import centre_blob, edge_maps, mean_of_others, random_maps
from vitlab.explain.scores.lesion import SCORES, score_maps

SALIENCY, REGION, PROBE = FILES = ("saliency.csv", "regions.csv", "probe.csv")
RUN = ("approach", "seed", "fold")
IMAGE = ("index", "path", "patient_id", "label")
FAITHFUL = ("insertion", "deletion")
ASKED = ("", "random", "edges")  # whose faithfulness is asked, for it takes 34 predictions an image: methods and these
COLUMNS = {
    SALIENCY: (*RUN, "method", "control", *IMAGE, *SCORES, *FAITHFUL),
    REGION: (*RUN, "region", *IMAGE, "predicted"),
    PROBE: (*RUN, "column", "source", *IMAGE, "predicted"),
}
PATIENTS = 400  # at most: by then an interval is as narrow as anyone needs
Maps = Callable[..., NDArray[Any]]
Faithfulness = Callable[..., tuple[NDArray[Any], NDArray[Any]]]
Rows = list[tuple[Any, ...]]


class StudyRun(NamedTuple):
    """A run of a study, as its folder names it, loaded when its turn comes."""

    approach: str
    seed: int
    fold: int | None
    load: Callable[[], Loaded]


class _Images(NamedTuple):
    """The images of a split that are measured, the same for all runs that have it."""

    rows: NDArray[np.int64]
    masks: NDArray[np.bool_]  # (N, H, W)
    parts: Mapping[str, NDArray[np.uint8]]  # region -> (N, C, H, W)
    hole: NDArray[np.object_] | None  # (N,) the class that the hole alone tells
    probed: NDArray[np.int64]
    columns: Mapping[str, NDArray[np.object_]]  # of the probed images


def measure(
    runs: Iterable[StudyRun],
    out: Path,
    *,
    methods: Sequence[str] | None = None,
    images_per_patient: int = 3,
    patients: int = PATIENTS,
    faithfulness: Faithfulness | None = None,
    maps: Maps = saliency_maps,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """Measure runs on their test images, and write three tables with a row per image; all or none are replaced.

    Maps are of the class that the run predicts; those of an untrained network, of the same class. Where no image has
    a mask, scores against it are left empty and regions.csv has no rows. Hospital and the like are read from images of
    validation and test, which no weight was fitted to.

    Args:
        runs: Of one study.
        out: Folder of the tables.
        methods: Of `saliency.maps`; those that a network does not allow are passed over. None are all that it allows.
        images_per_patient: At most; chosen by seed.
        patients: At most, of a split; chosen by seed.
        faithfulness: `faithfulness.insertion_deletion`, or None to leave it out; asked of one image a patient.
        maps: What gives maps, as `saliency_maps`.
        seed: Of all that is drawn.
        tell: Told of each run that is measured.

    Raises:
        ValueError: There is no run.
    """
    tables: dict[str, Rows] = {name: [] for name in FILES}
    known: dict[tuple[Any, ...], _Images] = {}
    started = time.monotonic()
    for approach, of_seed, fold, load in runs:
        run = load()
        name = (approach, of_seed, "" if fold is None else fold)
        test = chosen_rows(run, run.rows("test"), images_per_patient, patients, seed, masked=True)
        held_out = chosen_rows(run, np.sort(np.concatenate([run.rows("val"), run.rows("test")])), images_per_patient,
                           patients, seed)  # fmt: skip
        key = (run.data.source_manifest.sha256, run.data.image_size, test.tobytes(), held_out.tobytes())
        if key not in known:
            known[key] = _images(run, test, held_out, images_per_patient, patients, seed)
        images = known[key]
        allowed = [method for method in methods_for(run) if methods is None or method in methods]
        tables[SALIENCY] += _saliency(run, images, allowed, maps, faithfulness, name, seed)
        tables[REGION] += _regions(run, images, name)
        tables[PROBE] += _probe(run, images, name, seed)
        of_fold = "" if fold is None else f" fold {fold}"
        tell(f"{approach} seed {of_seed}{of_fold}: {len(images.rows)} images, {', '.join(allowed) or 'no method'}; "
             f"{time.monotonic() - started:.0f} s")  # fmt: skip
    if not known:
        raise ValueError("there is no run to measure: none has its checkpoint")
    with replacing_all(out, FILES, "--out") as files:
        for table, path in zip(FILES, files, strict=True):
            write_rows(path, COLUMNS[table], tables[table])


def write_rows(path: Path, columns: Sequence[str], rows: Rows) -> None:
    """Write a table that `image_scores.read_lines` reads."""
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = row_writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def chosen_rows(
    run: Loaded, rows: NDArray[np.int64], per_patient: int, patients: int, seed: int, *, masked: bool = False
) -> NDArray[np.int64]:
    """Choose rows by the hash of their path, so that the others have no say.

    Args:
        run: Whose images they are.
        rows: To choose from, (N,).
        per_patient: Images, at most.
        patients: At most.
        seed: Of the choice.
        masked: Choose among the images with a mask, if any has one.
    """
    manifest = run.data.source_manifest
    named = manifest.mask_path[rows] != ""
    rows = rows[named] if masked and named.any() else rows
    groups, paths = manifest.groups[rows].astype(str), manifest.path[rows]
    names, codes = np.unique(groups, return_inverse=True)
    place = hash_rank(names, seed, "explained patients").argsort(kind="stable").argsort()[codes]
    order = np.lexsort((hash_rank(paths, seed, "explained images"), place))
    firsts = np.flatnonzero(np.diff(place[order], prepend=-1))
    number = np.arange(len(rows)) - np.repeat(firsts, np.diff([*firsts, len(rows)]))
    kept: NDArray[np.int64] = np.sort(rows[order[(number < per_patient) & (place[order] < patients)]])
    return kept


def _images(
    run: Loaded, test: NDArray[np.int64], held_out: NDArray[np.int64], per_patient: int, patients: int, seed: int
) -> _Images:
    masks, there = masks_of(run.data, test)
    if there.any():
        test, masks = test[there], masks[there]
    parts: dict[str, NDArray[np.uint8]] = {}
    hole = None
    if there.any():
        pixels = np.ascontiguousarray(run.data.cache.images[test])
        parts |= {region: cut(pixels, masks, region, test, seed) for region in REGIONS}
        train = chosen_rows(run, run.rows("train"), per_patient, patients, seed, masked=True)
        own, known = masks_of(run.data, train)
        names, targets = np.unique(run.data.manifest.label[train[known]].astype(str), return_inverse=True)
        if len(names) > 1:
            hole = names[linear_probe(hole_facts(own[known]), targets, hole_facts(masks))].astype(object)
    return _Images(test, masks, parts, hole, held_out, attributes(run.data.source_manifest, held_out))


def image_facts(run: Loaded, rows: NDArray[np.int64]) -> list[tuple[Any, ...]]:
    """Return the columns `IMAGE` of each row."""
    manifest = run.data.manifest
    columns = (manifest.path, manifest.patient_id, manifest.label)
    return list(zip(rows.tolist(), *(column[rows].tolist() for column in columns), strict=True))


def _saliency(
    run: Loaded,
    images: _Images,
    methods: Sequence[str],
    maps: Maps,
    faithfulness: Faithfulness | None,
    name: tuple[Any, ...],
    seed: int,
) -> Rows:
    rows, facts = images.rows, image_facts(run, images.rows)
    pixels = run.images(rows)
    targets = run.probabilities(pixels).argmax(1)
    patients = run.data.source_manifest.patient_id[rows]
    groups = run.data.source_manifest.groups[rows].astype(str)
    once = np.unique(groups, return_index=True)[1]
    high, wide = images.masks.shape[1:]
    before = untrained(run, seed)
    shown: list[tuple[str, str, NDArray[Any]]] = [
        ("", "centre", centre_blob(len(rows), high, wide)),
        ("", "edges", edge_maps(pixels.cpu().numpy())),
        ("", "random", random_maps(rows, high, wide, seed)),
    ]
    for method in methods:
        own = maps(run, rows, method, targets)
        shown += [
            (method, "", own),
            (method, "others", mean_of_others(own, patients)),
            (method, "untrained", maps(before, rows, method, targets)),
        ]
    found: Rows = []
    for method, control, values in shown:
        scores = score_maps(values, images.masks)
        areas = np.full((2, len(rows)), np.nan)
        if faithfulness is not None and control in ASKED:
            areas[:, once] = faithfulness(run, pixels[torch.from_numpy(once)], values[once], targets[once])
        cells = [[_cell(value) for value in column] for column in (*scores.values(), *areas)]
        found += [(*name, method, control, *fact, *line) for fact, *line in zip(facts, *cells, strict=True)]
    return found


def _cell(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6g}"


def _regions(run: Loaded, images: _Images, name: tuple[Any, ...]) -> Rows:
    classes = np.array(run.classes, object)
    predicted = {
        region: classes[run.probabilities(torch.from_numpy(part)).argmax(1)] for region, part in images.parts.items()
    }
    if images.hole is not None:
        predicted[HOLE] = images.hole
    facts = image_facts(run, images.rows)
    return [
        (*name, region, *fact, label)
        for region, labels in predicted.items()
        for fact, label in zip(facts, labels.tolist(), strict=True)
    ]


def _probe(run: Loaded, images: _Images, name: tuple[Any, ...], seed: int) -> Rows:
    if not images.columns:
        return []
    rows, manifest = images.probed, run.data.source_manifest
    facts, groups = image_facts(run, rows), manifest.groups[rows]
    pixels = np.ascontiguousarray(run.data.cache.images[rows])
    sources = {"features": features_of(run, rows), **plain_features(pixels, run.data.manifest.label[rows])}
    found: Rows = []
    for column, values in images.columns.items():
        there = np.flatnonzero(values != "")
        for source, features in sources.items():
            read = read_attribute(features[there], values[there], groups[there], seed)
            found += [
                (*name, column, source, *facts[at][:3], values[at], label)
                for at, label in zip(there.tolist(), read.tolist(), strict=True)
            ]
    return found
