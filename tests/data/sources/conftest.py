"""What the sources' tests share: an image on disk, and a source's images through the cache."""

import pytest
from PIL import Image

from vitlab.data.cache import build_cache


@pytest.fixture
def png():
    """Return a function that writes a flat image, its folders too."""

    def write(path, value=128, size=(12, 10), mode="L"):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, size, value).save(path)

    return write


@pytest.fixture
def cached():
    """Return a function that decodes all images of a source."""

    def run(source, **settings):
        settings = {"image_size": 8, "channels": 1, "fit": "pad"} | settings
        return build_cache(source.manifest(), decode=source.decode, **settings)

    return run
