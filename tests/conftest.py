"""Shared by all tests: one thread a process, a cache of their own, the real images, a tiny image folder, a browser."""

import contextlib
import gc
import os
import shutil
import signal
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
from PIL import Image

from tests.forked import Nursery

REPO = Path(__file__).parents[1]
# What a shell starts in the background ignores Ctrl-C, and so would the processes that tests start and stop by it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_for(condition, seconds=120):
    """Wait until a condition holds; a page's own waiting needs eval, which our pages forbid."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition()


def pytest_collection_modifyitems(items):
    """Put modules with slow tests first: a process that begins one when the others are done keeps them waiting."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish():
    """Leave what collecting has imported out of later looks for garbage: some 4 % of the tests' time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Keep the tests' decoded images out of the user's cache; processes of one run share them."""
    base = tmp_path_factory.getbasetemp()
    cache = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    cache.mkdir(exist_ok=True)
    os.environ["VITLAB_CACHE"] = str(cache)


@pytest.fixture(scope="session")
def nursery():
    """Return what starts processes as `subprocess` does, and in no time: see `tests.forked`."""
    nursery = Nursery()
    yield nursery
    nursery.close()


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
    return write_discs(tmp_path_factory.mktemp("discs"))


def write_discs(root):
    """Write the images of `image_folder`."""
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


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    executable = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        message = "the page is not tested: no chromium (apt-get install chromium, or set CHROMIUM)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable)
        yield running
        running.close()


@pytest.fixture(scope="session")
def opened(browser):
    """Return what opens a page; it fails where the page complains, or asks for anything but itself."""

    @contextlib.contextmanager
    def opened(address, **settings):
        page = browser.new_page(**{"viewport": {"width": 1280, "height": 900}, **settings})
        complaints, asked = [], []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        try:
            yield page
            assert complaints == []
            assert [url for url in asked if not url.startswith("data:")] == [address]
        finally:
            page.close()

    return opened
