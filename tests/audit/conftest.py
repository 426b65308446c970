"""Shared by the tests of the statistics: patients with several slices each, on disk."""

import numpy as np
import pytest
from PIL import Image

from vitlab.audit.images import read_images
from vitlab.audit.memo import Memo
from vitlab.data.manifest import Manifest
from vitlab.data.sources import Csv


@pytest.fixture(scope="session")
def clustered(tmp_path_factory):
    """Return a maker of images that differ between patients in brightness, texture, size and quality, not by class.

    Its arguments are `change`, called with a patient's number and pixels, uint8 (64, 64), which returns pixels and the
    JPEG quality; the number of patients; and a seed. It returns the manifest, the images and the patient of each row.
    """

    def make(change=lambda patient, pixels: (pixels, 90), patients=60, seed=0):
        folder = tmp_path_factory.mktemp("clustered")
        rng = np.random.default_rng(seed)
        rows, columns = np.mgrid[:64, :64]
        paths, groups = [], []
        for patient in range(patients):
            level, contrast, size = rng.normal(70, 12), rng.normal(60, 8), rng.normal(18, 2)
            texture = np.kron(rng.normal(0, 10, (8, 8)), np.ones((8, 8)))
            for number in range(rng.integers(1, 9)):
                y, x = rng.normal(32, 2, 2)
                disc = contrast * ((rows - y) ** 2 + (columns - x) ** 2 < size**2)
                pixels = (level + texture + disc + rng.normal(0, 6, disc.shape)).clip(0, 255).astype(np.uint8)
                pixels, quality = change(patient, pixels)
                paths.append(f"{patient}_{number}.jpg")
                Image.fromarray(pixels).save(folder / paths[-1], quality=quality)
                groups.append(patient)
        Manifest({"path": paths, "label": ["x"] * len(paths)}).write(folder / "manifest.csv")
        source = Csv(root=str(folder))
        manifest = source.manifest()
        return manifest, read_images(manifest, source.decode, Memo(manifest, folder / "memo")), np.array(groups)

    return make
