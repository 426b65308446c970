"""What the pages show, made up: two approaches, names that mean harm, and maps of a known place."""

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest

from vitlab.evaluate.predictions import Predictions
from vitlab.evaluate.scored import Scored
from vitlab.explain.cases.looking import Look, Looks, Space
from vitlab.explain.cases.neighbours import Neighbour, votes
from vitlab.explain.cases.selection import cases_of, choose
from vitlab.explain.page.features import features_section
from vitlab.explain.page.shown import Shown
from vitlab.explain.page.write import write_pages

HOSTILE = {
    "class": "<script>window.stolen=1</script>",
    "patient": "'\"><img src=x onerror=window.stolen=1>",
    "path": "a b/<svg onload=window.stolen=1>\udcff\u202e.png",
    "approach": "vit <b onclick='stolen=1'>",
}


def make_shown(patients=30, slices=3, drawn=8, size=32):
    rng = np.random.default_rng(0)
    classes = ["glioma", "meningioma", HOSTILE["class"]]
    n = patients * slices
    names = np.repeat([f"P{i:03d}" for i in range(patients - 1)] + [HOSTILE["patient"]], slices)
    truth = np.repeat(np.resize(np.arange(3), patients), slices)
    paths = np.array([HOSTILE["path"]] + [f"images/{i}.png" for i in range(1, n)], object)
    scored, runs = {}, {}
    for approach, skill in (("cnn", 2.5), (HOSTILE["approach"], 1.0)):
        scored[approach], runs[approach] = [], []
        for seed in range(3):
            logits = rng.normal(0, 1.2, (n, 3)) + skill * np.eye(3)[truth]
            probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
            columns = {"split": ["test"] * n, "path": paths, "patient_id": names, "index": np.arange(n)}
            label = [classes[c] for c in truth]
            scored[approach].append(
                Scored(seed, None, Predictions(classes=classes, probs=probs, label=label, **columns))
            )
            runs[approach].append(SimpleNamespace(seed=seed, fold=None, study="lesions", dataset="lesions"))
    cases = cases_of(scored)
    lists = choose(cases, drawn, 0, 4)
    images = rng.integers(0, 120, (n, 1, size, size)).astype(np.uint8)
    masks = {place: np.zeros((slices, size, size), bool) for place in range(len(cases))}
    for own in masks.values():
        own[:, 4:12, 8:20] = True
    looks = {}
    for approach, method in (("cnn", "gradcam"), (HOSTILE["approach"], "gradient_attention")):
        maps = np.zeros((slices, size, size), np.float32)
        maps[:, :8, :8] = 1
        near = [[Neighbour(f"T{i}", classes[int(rng.integers(3))], 0.9 - 0.1 * i, i) for i in range(5)] for _ in cases]
        seen = {
            place: Look(runs[approach][0], method, maps, [case.said(approach)] * slices, near[place])
            for place, case in enumerate(cases)
        }
        truths, said = {case.name: case.label for case in cases}, {case.name: case.said(approach) for case in cases}
        features = rng.normal(0, 1, (n, 8)).astype(np.float32)
        tally = [[Scored(0, None, votes(cases, near, labels))] for labels in (truths, said)]
        looks[approach] = Looks(seen, *tally, [Space(runs[approach][0], list(range(len(cases))), features)])
    study = SimpleNamespace(title="lesions", runs=runs, scored=scored, notes=[HOSTILE["approach"] + " left out"])
    scanner = {"scanner": dict(enumerate(np.resize(["A", HOSTILE["path"]], n).tolist()))}
    return Shown(study, cases, lists, looks, images, masks, paths, scanner)


@pytest.fixture(scope="session")
def shown():
    return make_shown()


@pytest.fixture(scope="session")
def pages(shown, tmp_path_factory):
    """Return the folder of written pages; its name has to be escaped in an address."""
    out = tmp_path_factory.mktemp("explain") / "a #1 'study' %20"
    write_pages(shown, out, [("features", "Features", features_section)], lambda line: None)
    return out


@pytest.fixture(scope="session")
def browse(browser):
    """Return what opens a page of the folder; it fails where the page complains, or asks for what is not beside it."""

    @contextlib.contextmanager
    def browse(path, folder, **settings):
        page = browser.new_page(**{"viewport": {"width": 1200, "height": 900}, **settings})
        complaints, asked = [], []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        # What a page that is left had not loaded yet is no failure.
        page.on("requestfailed", lambda request: "ABORTED" in request.failure or complaints.append(request.url))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        try:
            yield page
            assert complaints == []
            assert [url for url in asked if not url.startswith((folder.as_uri(), "data:"))] == []
        finally:
            page.close()

    return browse
