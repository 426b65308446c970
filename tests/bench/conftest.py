"""Conditions as small as they can be."""

import pytest

from vitlab.bench.conditions import Conditions, image_folder
from vitlab.data.sources import ImageFolder


@pytest.fixture(scope="module")
def conditions(image_folder_of_discs):
    images, work = image_folder_of_discs
    return Conditions(images=images, work=work, device="cpu", threads=1, steps=1, epochs=2, seconds=0.01)


@pytest.fixture(scope="module")
def image_folder_of_discs(request):
    source = ImageFolder(str(request.getfixturevalue("image_folder")))
    with image_folder(source, splits=source.manifest(), most=16) as folders:
        yield folders
