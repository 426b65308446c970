"""Shared by the tests of the page: images on disk with a report of them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitlab.audit.copies.pairs import KINDS, Pairs
from vitlab.audit.images import read_images
from vitlab.audit.memo import Memo
from vitlab.audit.page import write_page
from vitlab.data.manifest import Manifest


class Site:
    """A data set on disk and its page; two names and a label mean harm."""

    hostile = ("<script>window.stolen=1<", "\"'&amp;<img src=x onerror=window.stolen=1>.png", "odd\udcff\u202e.png")

    def __init__(self, root, count, n_pairs):
        rng = np.random.default_rng(0)
        names = [*self.hostile[1:], *(f"image{number}.png" for number in range(count))]
        for number, name in enumerate(names):
            shape = (80, 60) if number % 2 else (96, 96)
            coarse = Image.fromarray(rng.integers(0, 256, (12, 12), np.uint8))
            pixels = np.asarray(coarse.resize(shape, Image.Resampling.BICUBIC)) * 0.9 + rng.normal(12, 6, shape[::-1])
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(os.fsencode(root / name), "PNG")
        (root / "broken.png").write_bytes(b"no image")
        names.append("broken.png")
        n = len(names)
        self.manifest = Manifest(
            {
                "path": names,
                "label": rng.choice(["glioma", self.hostile[0], ""], n).tolist(),
                "split": rng.choice(["train", "val", "test", ""], n, p=[0.5, 0.2, 0.2, 0.1]).tolist(),
            },
            root,
        )
        self.images = read_images(
            self.manifest, lambda path: Image.open(os.fsencode(root / path)), Memo(self.manifest, root / "memo")
        )
        assert self.images.ok.sum() == n - 1
        both = np.array([rng.choice(n - 1, 2, replace=False) for _ in range(n_pairs)])
        both[:2] = (0, 1), (1, 2)  # names that mean harm are shown
        kinds = np.resize(np.array(KINDS, object), n_pairs)
        scores = np.linspace(1, 0.86, n_pairs, dtype=np.float32)
        self.pairs = Pairs(both.min(1), both.max(1), kinds, scores)
        self.path = root / "audit.html"

    def write(self, report):
        """Write the page and return its address."""
        manifest = self.manifest
        write_page(
            self.path,
            report,
            self.images,
            self.pairs,
            paths=manifest.path,
            labels=manifest.label,
            splits=manifest.split,
        )
        return self.path.as_uri()


@pytest.fixture
def report():
    return json.loads((Path(__file__).parents[1] / "report.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def make_site():
    return Site


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    return Site(tmp_path_factory.mktemp("site"), count=80, n_pairs=120)
