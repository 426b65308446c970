import numpy as np
import torch
from torch import nn

from vitlab.explain.saliency.pixels import integrated_gradients, occlusion


def linear(size=16, channels=2):
    torch.manual_seed(0)
    model = nn.Module()
    model.backbone, model.head = nn.Flatten(), nn.Linear(channels * size * size, 3)
    return model.requires_grad_(False), torch.randn(4, channels, size, size), torch.tensor([0, 1, 2, 1])


def test_a_linear_models_integrated_gradients_are_weight_times_input():
    model, images, targets = linear()
    baseline = torch.full((1, 2, 16, 16), -0.7)
    weights = model.head.weight[targets].reshape(images.shape)
    found = integrated_gradients(model, images, targets, baseline)
    np.testing.assert_allclose(found, weights * (images - baseline), atol=1e-5)
    assert not images.requires_grad


def test_integrated_gradients_sum_to_what_the_logit_gained():
    model, images, targets = linear()
    model.backbone = nn.Sequential(nn.Flatten(), nn.Linear(512, 512), nn.GELU())
    baseline = torch.zeros(1, 2, 16, 16)
    gained = (model.head(model.backbone(images)) - model.head(model.backbone(baseline))).gather(1, targets[:, None])
    found = integrated_gradients(model, images, targets, baseline)
    np.testing.assert_allclose(found.sum((1, 2, 3)), gained[:, 0].detach(), atol=1e-3)


def test_a_linear_models_occlusion_is_the_mean_of_the_squares_over_a_pixel():
    model, images, targets = linear()
    product = (model.head.weight[targets].reshape(images.shape) * images).sum(1)
    total, count = torch.zeros(4, 16, 16), torch.zeros(16, 16)
    for y in range(0, 13, 2):
        for x in range(0, 13, 2):
            square = (slice(y, y + 4), slice(x, x + 4))
            total[:, square[0], square[1]] += product[:, square[0], square[1]].sum((1, 2))[:, None, None]
            count[square] += 1
    np.testing.assert_allclose(occlusion(model, images, targets), total / count, atol=1e-4)
