"""What describes an image's looks."""

import numpy as np

from vitlab.audit.baselines import appearance


def test_gradients_that_are_looked_up_are_those_computed():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 96, 96)).astype(np.uint8)
    pixels[1] = 255 * (pixels[1] > 128)
    pixels[2, :48] = 7
    down, across = np.zeros((2, *pixels.shape), np.float32)
    down[:, 1:-1] = pixels[:, 2:].astype(np.float32) - pixels[:, :-2]
    across[:, :, 1:-1] = pixels[:, :, 2:].astype(np.float32) - pixels[:, :, :-2]
    strength, turn = np.hypot(down, across), (np.arctan2(down, across) * (8 / np.pi)).astype(int) % 8
    turned = np.where(turn[..., None] == np.arange(8), strength[..., None], 0).reshape(3, 12, 8, 12, 8, 8)
    expected = np.sqrt(turned.sum((2, 4), dtype=np.float64)).reshape(3, -1)
    expected /= np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-6)
    np.testing.assert_allclose(appearance._gradients(pixels), expected, rtol=1e-5)
