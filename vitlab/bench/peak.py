"""The device's peak, and the share of it that a training step uses (MFU)."""

import time
from typing import Any

import torch

from vitlab.bench.measure import Measured
from vitlab.bench.trainer import synchronise

# Dense bf16 operations a second by NVIDIA's data sheets: H100 and H200 (SXM) 989 T, A100 312 T.
DATA_SHEET = {"H200": 989e12, "H100": 989e12, "A100": 312e12}
_SIDE = {"cpu": 1024, "cuda": 8192}
_PRODUCTS = 10


def peak(device: str, precision: str) -> dict[str, Any]:
    """Measure a matrix product.

    Args:
        device: cpu or cuda.
        precision: Of the runs; bf16-mixed multiplies in bfloat16, 16-mixed in float16.

    Returns:
        flops_per_second as measured, data_sheet where the GPU is known, and the dtype.
    """
    dtype = torch.bfloat16 if "bf16" in precision else torch.float16 if "16" in precision else torch.float32
    side = _SIDE[device]
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(_PRODUCTS):
        synchronise(device)
        start = time.perf_counter()
        left @ right
        synchronise(device)
        seconds.append(time.perf_counter() - start)
    name = torch.cuda.get_device_name() if device == "cuda" else ""
    sheet = next((value for part, value in DATA_SHEET.items() if part in name), None)
    # The fastest, not the median: a peak is what the device can do when nothing else is in the way.
    return {"flops_per_second": 2 * side**3 / min(seconds), "data_sheet": sheet, "dtype": str(dtype).split(".")[1]}


def shares_of_peak(rows: list[Measured], found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return the MFU of each training step: its operations a second over the peak's.

    Args:
        rows: All rows; those that know their operations are taken.
        found: From `peak`.
    """
    shares = {}
    for row in rows:
        if "flops_per_image" in row.facts:
            flops = row.facts["flops_per_image"]
            rate = flops * row.shown(row.ours).median
            shares[row.name] = {"flops_per_image": flops, "measured": rate / found["flops_per_second"]}
            if found["data_sheet"]:
                shares[row.name]["data_sheet"] = rate / found["data_sheet"]
    return shares
