"""Corruptions do what their tables say, more with each severity, and the same to an image wherever it is tested."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as TF

from vitlab.data.corruptions import (
    BIAS,
    BLUR,
    CONTRAST,
    CORRUPTIONS,
    GHOSTING,
    NOISE,
    RESOLUTION,
    ROTATION,
    SEVERITIES,
    corrupt,
)


@pytest.fixture(scope="module")
def images():
    """Return 12 uint8 images of 64 px: blobs of several sizes in the middle of the grey range."""
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(12, 1, 16, 16, generator=rng)
    smooth = torch.nn.functional.interpolate(coarse, size=64, mode="bicubic").clamp(0, 1)
    return (60 + 135 * smooth).to(torch.uint8)


def change(images, corruption, severity):
    worse = corrupt(images, corruption, severity, rows=np.arange(len(images)))
    assert worse.dtype == torch.uint8 and worse.shape == images.shape
    return (worse.float() - images.float()).abs().mean((1, 2, 3))


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_each_severity_is_worse_than_the_one_before(images, corruption):
    changes = torch.stack([change(images, corruption, severity) for severity in SEVERITIES])
    assert (changes[0] > 0.3).all()
    assert (changes[1:].mean(1) > changes[:-1].mean(1)).all()
    if corruption != "rotation":  # a blob may come back to where another was
        assert (changes[1:] > 0.98 * changes[:-1]).all()


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_an_image_is_corrupted_by_its_row_alone(images, corruption):
    rows = np.arange(100, 112)
    whole = corrupt(images, corruption, 3, rows=rows)
    order = np.array([7, 2, 9])
    assert torch.equal(corrupt(images[order], corruption, 3, rows=rows[order]), whole[order])
    same = images[:1].expand(12, -1, -1, -1).contiguous()
    different = len({part.numpy().tobytes() for part in corrupt(same, corruption, 3, rows=rows)})
    if corruption in ("noise", "bias field"):
        assert different == 12
        assert not torch.equal(corrupt(images, corruption, 3, rows=rows, seed=1), whole)
    elif corruption == "rotation":
        assert different == 2
    elif corruption == "ghosting":
        assert different > 4
    else:
        assert different == 1


@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_has_the_deviation_of_its_table(severity):
    gray = torch.full((4, 1, 64, 64), 128, dtype=torch.uint8)
    noisy = corrupt(gray, "noise", severity, rows=np.arange(4)).float() / 255
    assert noisy.std().item() == pytest.approx(NOISE[severity - 1], rel=0.03)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_blur_contrast_and_rotation_are_those_of_torchvision(images, severity):
    sigma, factor, angle = BLUR[severity - 1], CONTRAST[severity - 1], ROTATION[severity - 1]
    rows = np.arange(len(images))
    taps = 2 * int(np.ceil(3 * sigma)) + 1
    assert_near(corrupt(images, "blur", severity, rows=rows), TF.gaussian_blur(images, taps, sigma))
    expected = torch.stack([TF.adjust_contrast(image, factor) for image in images])
    assert_near(corrupt(images, "contrast", severity, rows=rows), expected)
    turned = corrupt(images, "rotation", severity, rows=rows).float()
    both = [TF.rotate(images, one, TF.InterpolationMode.BILINEAR).float() for one in (angle, -angle)]
    nearest = torch.stack([(turned - one).abs().mean((1, 2, 3)) for one in both])
    assert (nearest.min(0).values < 1.5).all() and (nearest.argmin(0).unique().numel() == 2)


def assert_near(ours, theirs):
    assert (ours.int() - theirs.int()).abs().max() <= 1


def test_blur_is_the_same_share_of_the_image_at_every_size():
    step = torch.zeros(1, 1, 128, 128, dtype=torch.uint8)
    step[..., 64:] = 255
    large = corrupt(step, "blur", 4, rows=np.arange(1))[0, 0, 64].float()
    small = corrupt(step[..., ::2, ::2].contiguous(), "blur", 4, rows=np.arange(1))[0, 0, 32].float()
    # places of the edge's quarter points, in shares of the side
    widths = [float(((edge > 26) & (edge < 229)).sum()) / len(edge) for edge in (large, small)]
    assert widths[0] == pytest.approx(widths[1], abs=1 / 64)


def test_resolution_leaves_no_finer_detail_than_its_table_says():
    stripes = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    stripes[..., ::2] = 200  # the finest there are
    left = [corrupt(stripes, "resolution", s, rows=np.arange(1)).float().std().item() for s in SEVERITIES]
    assert max(left) < 0.35 * stripes.float().std().item()
    flat = torch.full((1, 1, 64, 64), 77, dtype=torch.uint8)
    assert torch.equal(corrupt(flat, "resolution", 5, rows=np.arange(1)), flat) and RESOLUTION[4] == 0.35


def test_the_bias_field_is_smooth_positive_and_within_its_polynomial():
    gray = torch.full((20, 1, 64, 64), 20, dtype=torch.uint8)
    for severity in SEVERITIES:
        field = corrupt(gray, "bias field", severity, rows=np.arange(20)).float() / 20
        assert field.log().abs().max() <= 10 * BIAS[severity - 1] + 0.05  # ten terms
        assert field.diff(dim=-1).abs().max() < 1  # no jump between neighbours
    assert field.std(dim=(1, 2, 3)).min() > 0.02


def test_ghosts_are_copies_of_a_dot_at_equal_steps_along_one_axis():
    dot = torch.zeros(30, 1, 64, 64, dtype=torch.uint8)
    dot[..., 32, 32] = 255
    weak, strong = (corrupt(dot, "ghosting", s, rows=np.arange(30)).float() for s in (1, 5))
    axes = set()
    for one, more in zip(weak[:, 0], strong[:, 0], strict=True):
        assert one[32, 32] > more[32, 32] > 0.7 * 255  # 1 - strength / ghosts
        down, across = (int((line > 2).sum()) for line in (more[:, 32], more[32]))
        assert min(down, across) == 1  # along the other axis there is the dot alone
        axes.add(down > across)
    assert axes == {True, False} and GHOSTING[4] == 1.0


def test_colour_and_small_images_work():
    colour = torch.randint(0, 255, (3, 3, 16, 16), dtype=torch.uint8)
    for corruption in CORRUPTIONS:
        for severity in SEVERITIES:
            assert corrupt(colour, corruption, severity, rows=np.arange(3)).shape == colour.shape
