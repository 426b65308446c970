"""DICOM files made to fill the memory: each is named in one line, and read no further."""

import resource
import zlib
from contextlib import contextmanager

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

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
    with at_most(2**30):  # two thousand million frames in a list would be 100 GB
        manifest = Dicom(str(tmp_path / "in")).manifest()
    assert manifest.path.tolist() == ["a/sound.dcm#0", "b/claims.dcm#0"]
    with pytest.raises(ValueError, match=rf"^1 of 2 images cannot be read: b/claims\.dcm#0 \(.*{said}"):
        cached(Dicom(str(tmp_path / "in")))


@pytest.mark.parametrize("preamble", [True, False])
def test_a_deflated_file_is_read_and_one_that_inflates_without_end_is_not(tmp_path, cached, preamble):
    sound = write(tmp_path / "in" / "a" / "sound.dcm", RAMP, PatientID="1")
    found = pydicom.dcmread(sound)
    found.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    found.save_as(sound, enforce_file_format=True)
    content = sound.read_bytes()
    meta = content[: 132 + 12 + int.from_bytes(content[140:144], "little")]
    squeezer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    # An element of 2 GiB: "OB", the length, and nothing but zeros.
    head = squeezer.compress(b"\x09\x00\x10\x00OB\x00\x00\x00\x00\x00\x80") + squeezer.flush(zlib.Z_FULL_FLUSH)
    zeros = squeezer.compress(bytes(2**20)) + squeezer.flush(zlib.Z_FULL_FLUSH)
    bomb = tmp_path / "in" / "b" / "bomb.dcm"
    bomb.parent.mkdir()
    bomb.write_bytes((meta if preamble else meta[132:]) + head + zeros * 2048 + squeezer.flush())
    assert bomb.stat().st_size < 2**24
    with at_most(2**30):
        manifest = Dicom(str(tmp_path / "in")).manifest()
        assert manifest.path.tolist() == ["a/sound.dcm#0", "b/bomb.dcm#0"]
        with pytest.raises(ValueError, match=r"^1 of 2 images cannot be read: b/bomb\.dcm#0 \(.*more than 512 MiB"):
            cached(Dicom(str(tmp_path / "in")))
    source = Dicom(str(tmp_path / "in"))
    assert source.decode("a/sound.dcm#0").shape == RAMP.shape


@contextmanager
def at_most(more):
    """Let this process have so many bytes of addresses more than it has."""
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
