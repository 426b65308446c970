"""Descriptors, registration and the name of a change, on images made in known ways."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from vitlab.audit.copies.candidates import CandidateIndex
from vitlab.audit.copies.descriptors import GRID, Whitening, hypotheses, shrink, turned
from vitlab.audit.copies.registration import _blur, _shrink, register, turn_images, warp
from vitlab.data.decode import open_image

TURNS = range(8)


@pytest.fixture(scope="module")
def slices(data_root):
    """Return 60 slices of cheng from all over the set, uint8 (60, 96, 96)."""
    files = sorted((data_root / "cheng" / "images").iterdir())[::51][:60]
    return np.stack([np.asarray(open_image(file).convert("L").resize((96, 96))) for file in files])


@pytest.mark.parametrize("turn", TURNS)
def test_coefficients_turn_with_the_image(slices, turn):
    whole = hypotheses()[1][0]
    pixels = turn_images(torch.from_numpy(slices[:8]), turn).numpy()
    expected = shrink(np.ascontiguousarray(pixels)) @ whole.T
    # A warp samples between the pixels of a grid that is not quite the turned one.
    found = turned(shrink(slices[:8]) @ whole.T, turn)
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


def test_an_operator_shows_what_its_map_says(slices):
    maps, operators = hypotheses()
    assert len(maps) == len(operators) and (maps[0] == [[1, 0, 0], [0, 1, 0]]).all()
    small = torch.from_numpy(shrink(slices[:5]).reshape(-1, GRID, GRID))
    for number in (1, 7, len(maps) - 5, len(maps) - 1):
        seen, _ = warp(small, torch.from_numpy(maps[number]).float().expand(5, 2, 3))
        direct = seen.numpy().reshape(5, -1) @ operators[0].T
        found = shrink(slices[:5]) @ operators[number].T
        likeness = (direct * found).sum(1) / np.linalg.norm(direct, axis=1) / np.linalg.norm(found, axis=1)
        assert likeness.min() > 0.97, number


def test_whitening_takes_out_contrast_and_what_all_share(slices):
    coefficients = shrink(slices) @ hypotheses()[1][0].T
    whiten = Whitening(coefficients)
    plain, bright = whiten(coefficients), whiten(3 * coefficients)
    assert np.allclose(plain, bright, atol=1e-5) and np.allclose(np.linalg.norm(plain, axis=1), 1, atol=1e-5)
    likeness = plain @ plain.T - np.eye(len(plain))
    raw = coefficients / np.linalg.norm(coefficients, axis=1, keepdims=True)
    assert np.abs(likeness).mean() < 0.3 * np.abs(raw @ raw.T - np.eye(len(raw))).mean()


def test_registration_finds_a_known_map_and_tells_strangers(slices):
    images = torch.from_numpy(slices.astype(np.float32))
    cosine, sine = np.cos(np.radians(4)), np.sin(np.radians(4))
    true = torch.tensor([[0.93 * cosine, -sine, 0.02], [sine, 0.93 * cosine, -0.03]]).float()
    copies = warp(images, true.expand(len(images), 2, 3))[0].round()
    start = torch.eye(3)[:2].expand(len(images), 2, 3)
    score, fine, found = register(images, copies, start)
    assert score.median() > 0.97 and (score > 0.92).float().mean() > 0.9 and (fine > 0.515).float().mean() > 0.9
    good = score > 0.92
    assert (found[good] - true).abs().amax((1, 2)).median() < 0.01
    score, fine, _ = register(images, copies.roll(1, 0), start)
    assert score.max() < 0.88 and fine.max() < 0.515


@pytest.mark.parametrize(("side", "width"), [(32, 9), (48, 7), (48, 15), (96, 3)])
def test_sums_of_slices_are_the_means_of_windows_to_the_last_bit(slices, side, width):
    pixels = torch.from_numpy(slices[:5])
    small = F.avg_pool2d(pixels.float()[:, None], 96 // side)
    assert torch.equal(_shrink(pixels, side), small[:, 0])
    padded = F.pad(small, (width // 2,) * 4, mode="replicate")
    means = F.avg_pool2d(F.avg_pool2d(padded, (width, 1), 1), (1, width), 1)
    assert torch.equal(_blur(small[:, 0], width), means[:, 0])


@pytest.mark.parametrize("exhaustive", [20_000, 100])
def test_candidates_hold_planted_copies_by_either_index(slices, monkeypatch, exhaustive):
    monkeypatch.setattr("vitlab.audit.copies.candidates._EXHAUSTIVE", exhaustive)
    flipped = slices[:10, :, ::-1]
    cropped = np.stack([
        np.asarray(Image.fromarray(image[8:, 6:]).resize((96, 96), Image.Resampling.BILINEAR)) for image in slices[:10]
    ])  # fmt: skip
    noise = np.random.default_rng(0).normal(0, 25, (200, 96, 96)).cumsum(1).cumsum(2)
    noise = (255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)
    squares = np.concatenate([noise[:7], slices, flipped, cropped, noise])  # the first are not searched
    rows = np.arange(7, len(squares))
    found = CandidateIndex(squares, rows).search(np.arange(len(rows)), each=6, name="searching")
    linked = set(zip(found.source.tolist(), found.copy.tolist(), strict=True))
    for start in (60, 70):
        hits = sum((row, start + row) in linked or (start + row, row) in linked for row in range(10))
        assert hits >= 9
    assert np.bincount(found.source).max() <= 6 and (found.source != found.copy).all()
