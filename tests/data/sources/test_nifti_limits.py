"""Extensions of NIfTI headers: sound ones are read, and those that would fill the memory are not."""

import gzip
import resource

import nibabel
import numpy as np
import pytest

from vitlab.data.sources import Nifti
from vitlab.data.sources.nifti import read_nifti


def volume(kind, order, comments=1):
    """Return the bytes of a sound volume with extensions, and where the first begins."""
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.int16)
    image = kind(np.arange(216, dtype=np.int16).reshape(6, 6, 6), np.eye(4), header)
    for number in range(comments):
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension(6, b"a comment" * (number + 1)))
    return bytearray(image.to_bytes()), kind.header_class.sizeof_hdr + 4


KINDS = [(nibabel.Nifti1Image, "<"), (nibabel.Nifti1Image, ">"), (nibabel.Nifti2Image, "<"), (nibabel.Nifti2Image, ">")]


@pytest.mark.parametrize(("kind", "order"), KINDS)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_sound_extensions_are_read(tmp_path, kind, order, suffix):
    pack = gzip.compress if suffix.endswith("gz") else bytes
    for comments in (0, 1, 3):
        (tmp_path / f"x{suffix}").write_bytes(pack(bytes(volume(kind, order, comments)[0])))
        assert read_nifti(tmp_path / f"x{suffix}").slices.shape == (6, 6, 6)


@pytest.mark.parametrize(("kind", "order"), KINDS)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_extensions_that_claim_too_much_are_named(tmp_path, cached, kind, order, suffix):
    pack = gzip.compress if suffix.endswith("gz") else bytes
    (tmp_path / "a").mkdir()
    for name, size in (("empty", 0), ("negative", -16), ("huge", 2**31 - 16)):
        content, at = volume(kind, order)
        content[at : at + 4] = np.array(size, f"{order}i4").tobytes()
        (tmp_path / "a" / f"{name}{suffix}").write_bytes(pack(bytes(content)))
    for name, offset in (("far", 2**30), ("nought", 0)):
        content, _ = volume(kind, order)
        two = kind is nibabel.Nifti2Image
        where = slice(168, 176) if two else slice(108, 112)
        content[where] = np.array(offset, f"{order}{'i8' if two else 'f4'}").tobytes()
        (tmp_path / "a" / f"{name}{suffix}").write_bytes(pack(bytes(content)))
    with pytest.raises(ValueError, match="images cannot be read") as error:
        cached(Nifti(str(tmp_path)))
    said = str(error.value)
    assert said.startswith("5 of 5") and "\n" not in said
    for words in ("claims 0 bytes of", "claims -16 bytes", "claims 2,147,483,632 bytes", "1,073,741,824 bytes before"):
        assert words in said


def test_an_extension_without_size_unpacks_nothing(tmp_path):
    content, at = volume(nibabel.Nifti1Image, "<")
    content[at : at + 4] = bytes(4)
    with gzip.open(tmp_path / "x.nii.gz", "wb", compresslevel=1) as file:
        file.write(content)
        for _ in range(400):
            file.write(bytes(2**20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="claims 0 bytes"):
        read_nifti(tmp_path / "x.nii.gz")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**17  # KiB


@pytest.mark.parametrize("kind", [np.complex64, np.complex128, [("R", "u1"), ("G", "u1"), ("B", "u1")]])
def test_voxels_that_are_no_gray_values_are_not_read(tmp_path, kind):
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.dtype(kind)), np.eye(4))
    with gzip.open(tmp_path / "x.nii.gz", "wb") as file:
        file.write(image.to_bytes()[:352])  # who reads voxels finds the file cut
    with pytest.raises(ValueError, match=r"^its voxels are .*: only gray values of up to 64 bits are read"):
        read_nifti(tmp_path / "x.nii.gz")
