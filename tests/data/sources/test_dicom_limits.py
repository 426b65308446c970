"""DICOM files made to fill the memory: each is named in one line, and read no further."""

import resource

import numpy as np
import pydicom
import pytest

from tests.data.sources.test_dicom import RAMP, write
from vitlab.data.sources import Dicom


@pytest.mark.parametrize(
    ("side", "frames", "said"),
    [(40, 2_000_000_000, "3,200,000,000,000 pixels"), (1, 200_000, "200,000 frames, and at most 100,000 are read")],
)
def test_frames_that_only_the_header_has(tmp_path, cached, side, frames, said):
    write(tmp_path / "in" / "a" / "sound.dcm", RAMP, PatientID="1")
    claims = write(tmp_path / "in" / "b" / "claims.dcm", np.ones((side, side), np.int16), NumberOfFrames=1)
    found = pydicom.dcmread(claims)
    found.NumberOfFrames = frames
    found.save_as(claims)
    # Two thousand million frames in a list would be 100 GB.
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + 2**30, hard))
    try:
        manifest = Dicom(str(tmp_path / "in")).manifest()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert manifest.path.tolist() == ["a/sound.dcm#0", "b/claims.dcm#0"]
    with pytest.raises(ValueError, match=rf"^1 of 2 images cannot be read: b/claims\.dcm#0 \(.*{said}"):
        cached(Dicom(str(tmp_path / "in")))


def _address_space():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
