"""What a DICOM file may claim before any of it is believed: its header costs a stranger nothing."""

import zlib
from pathlib import Path
from typing import Any, BinaryIO

from vitlab.data.sources.volumes import MOST_VOXELS

MOST_FRAMES = 100_000  # a choice: an hour of video has as many, and each is a row of the manifest
MOST_INFLATED = 2 * MOST_VOXELS  # bytes: as many pixels of 16 bits as are read at most
_PIECE = 2**20  # bytes inflated at a time


def check_deflated(file: Path) -> None:
    """Refuse a deflated file that inflates to more than an image has: pydicom inflates all of it to read a header.

    Args:
        file: DICOM in any transfer syntax; those but for Deflated Explicit VR Little Endian (PS3.5, A.5) are let pass.

    Raises:
        ValueError: It does, or its stream is damaged.
    """
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    with file.open("rb") as stream:
        if _transfer_syntax(stream) != DeflatedExplicitVRLittleEndian:
            return
        inflate, inflated = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while not inflate.eof and (piece := inflate.unconsumed_tail or stream.read(_PIECE)):
            try:
                inflated += len(inflate.decompress(piece, _PIECE))
            except zlib.error as error:
                raise ValueError(f"its deflated part is damaged ({error})") from None
            if inflated > MOST_INFLATED:
                raise ValueError(f"it inflates to more than {MOST_INFLATED // 2**20:,} MiB")


def _transfer_syntax(stream: BinaryIO) -> Any:
    """Return the transfer syntax of a file's meta information, None without it, with the stream behind it."""
    from pydicom.filereader import read_dataset, read_preamble

    read_preamble(stream, force=True)
    start = stream.tell()
    for implicit in (False, True):  # the standard's, and that of some files all the same
        stream.seek(start)
        try:
            meta = read_dataset(stream, implicit, True, stop_when=lambda tag, _vr, _length: tag.group != 2)
            found = meta.get("TransferSyntaxUID")
        except NotImplementedError:  # a value representation that there is not
            continue
        read_dataset(stream, True, True, stop_when=lambda tag, _vr, _length: tag.group != 0)  # of messages
        return found
    return None


def check_claims(found: Any) -> None:
    """Refuse a header that claims more pixels or frames than an image has.

    Raises:
        ValueError: It does.
    """
    frames = max(1, int(found.get("NumberOfFrames") or 1))
    claimed = frames * int(found.get("Rows") or 1) * int(found.get("Columns") or 1)
    if claimed > MOST_VOXELS:
        raise ValueError(f"its header claims {claimed:,} pixels")
    if frames > MOST_FRAMES:
        raise ValueError(f"its header claims {frames:,} frames, and at most {MOST_FRAMES:,} are read")
