"""Shared by all tests: one thread a process, a cache of their own, the real images, a tiny image folder."""

import os
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
from PIL import Image

REPO = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Keep the tests' decoded images out of the user's cache."""
    os.environ["VITLAB_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def data_root():
    """Return the folder of the real images; CI fails where they are missing, others skip."""
    root = Path(os.environ.get("VITLAB_DATA", REPO.parent / "shared" / "data"))
    if not (root / "cheng" / "manifest.csv").exists():
        message = f"the real images are not in {root}; set VITLAB_DATA"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return root


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    """Return train/, val/ and test/ of 40 + 16 + 16 gray images: a bright disc at the top or bottom, with noise."""
    root = tmp_path_factory.mktemp("discs")
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:36, :40]
    for split, count in (("train", 20), ("val", 8), ("test", 8)):
        for label, centre in (("top", 9), ("bottom", 27)):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                y, x = centre + rng.integers(-3, 4), rng.integers(12, 28)
                disc = 150.0 * ((rows - y) ** 2 + (columns - x) ** 2 < 36)
                pixels = disc + rng.normal(50, 15, disc.shape)
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return root
