"""What a DICOM file may claim before any of it is believed: its header costs a stranger nothing."""

from typing import Any

from vitlab.data.sources.volumes import MOST_VOXELS

MOST_FRAMES = 100_000  # a choice: an hour of video has as many, and each is a row of the manifest


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
