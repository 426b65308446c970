"""What a NIfTI file may claim of its extensions and voxels before any of them are read."""

from pathlib import Path
from typing import Any

import numpy as np

MOST_EXTENSIONS = 2**24  # bytes before the voxels, a choice: extensions are texts of some KiB


def check_extensions(file: Path) -> None:
    """Refuse a NIfTI-1 or NIfTI-2 file whose extensions claim more bytes than there are before its voxels.

    Files of other kinds are let pass.

    Args:
        file: It may be compressed.

    Raises:
        ValueError: They do.
    """
    from nibabel import Nifti1Header, Nifti2Header
    from nibabel.openers import ImageOpener

    with ImageOpener(file) as stream:
        head = stream.read(Nifti2Header.sizeof_hdr)
        kind = next((kind for kind in (Nifti1Header, Nifti2Header) if kind.may_contain_header(head)), None)
        if kind is None:
            return
        header = kind(head[: kind.sizeof_hdr], check=False)
        voxels = float(header["vox_offset"])
        if not 0 <= voxels <= MOST_EXTENSIONS:
            raise ValueError(f"its header claims {voxels:,.0f} bytes before the voxels")
        head += stream.read(max(0, max(int(voxels), kind.sizeof_hdr + 4) - len(head)))
    at, left = kind.sizeof_hdr + 4, voxels - kind.sizeof_hdr - 4
    if not head[at - 4 : at - 3].strip(b"\0"):  # it has none
        return
    while left >= 16 or left < 0:
        found = np.frombuffer(head[at : at + 4].ljust(4, b"\0"), f"{header.endianness}i4")
        size = int(found[0])
        if not 8 <= size <= left:
            raise ValueError(f"an extension of its header claims {size:,} bytes of {left:,.0f}")
        at, left = at + size, left - size


def check_voxels(kind: np.dtype[Any]) -> None:
    """Refuse voxels that are no gray values, or take more than 8 bytes each.

    Raises:
        ValueError: They are.
    """
    if kind.kind not in "iufb" or kind.itemsize > 8:
        raise ValueError(f"its voxels are {kind}: only gray values of up to 64 bits are read")
