"""The plain references: what a user writes from the tutorials of torchvision, lightly and timm.

Shapes: B images, C = 1 channel, H = W = size pixels, K classes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from lightly.transforms import SimCLRTransform
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from vitlab.bench.conditions import Conditions

# What both sides do to a training image; ours takes the same figures as settings of Augment.
CROP_SCALE, ROTATION, JITTER = (0.7, 1.0), 10.0, 0.2
# Two views as lightly's SimCLRTransform draws them by default, without colours: the images are gray.
VIEWS_SCALE, VIEWS_JITTER, VIEWS_BLUR = (0.08, 1.0), 0.8, 0.5
MEAN, STD = (0.2,), (0.2,)


def gray(path: str) -> Image.Image:
    """Open an image as gray: a third of the work of ImageFolder's own RGB, which the reference is spared."""
    with Image.open(path) as image:
        pixels: Image.Image = image.convert("L")
    return pixels


def train_transform(size: int) -> Callable[[Image.Image], Tensor]:
    """Return torchvision's usual recipe for training, image by image: (1, H, W) float32."""
    transform: Callable[[Image.Image], Tensor] = v2.Compose([
        v2.RandomRotation(ROTATION, interpolation=v2.InterpolationMode.BILINEAR),
        v2.RandomResizedCrop(size, scale=CROP_SCALE, antialias=True),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(brightness=JITTER, contrast=JITTER),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(MEAN, STD),
    ])  # fmt: skip
    return transform


def eval_transform(size: int) -> Callable[[Image.Image], Tensor]:
    """Return the evaluation's: resize, crop the centre."""
    steps = [v2.Resize(size), v2.CenterCrop(size), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    transform: Callable[[Image.Image], Tensor] = v2.Compose([*steps, v2.Normalize(MEAN, STD)])
    return transform


def two_views(size: int) -> Callable[[Image.Image], list[Tensor]]:
    """Return lightly's SimCLR transform without what needs colours: two tensors (1, H, W)."""
    transform: Callable[[Image.Image], list[Tensor]] = SimCLRTransform(
        input_size=size, cj_prob=1.0, cj_bright=VIEWS_JITTER, cj_contrast=VIEWS_JITTER, cj_sat=0.0, cj_hue=0.0,
        min_scale=VIEWS_SCALE[0], random_gray_scale=0.0, gaussian_blur=VIEWS_BLUR, sigmas=(0.1, 2.0),
        normalize={"mean": list(MEAN), "std": list(STD)},
    )  # fmt: skip
    return transform


def loader(
    folder: Path, transform: Callable[[Image.Image], Any], conditions: Conditions, batch_size: int, *, train: bool
) -> DataLoader[Any]:
    """Return ImageFolder behind a DataLoader with worker processes that stay."""
    dataset = ImageFolder(str(folder), transform, loader=gray, allow_empty=True)
    workers = conditions.loader_workers
    return DataLoader(
        dataset,
        batch_size=min(batch_size, len(dataset)),
        shuffle=train,
        drop_last=train,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=conditions.device == "cuda",
    )


def classifier(name: str, settings: dict[str, Any], classes: int) -> nn.Module:
    """Return a timm model with its classifier, float32."""
    model: nn.Module = timm.create_model(name, num_classes=classes, in_chans=1, **settings)
    return model
