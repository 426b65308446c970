"""Models that by construction look at one corner, and what holds them as a finished run does."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from vitlab.explain.runs.loaded import Loaded

SIDE = 64  # pixels; the models see the first 8


def loaded(backbone, head):
    """Return a Loaded of a backbone and a head; images are normalised to 0 at 51 of 255."""
    model = nn.Module()
    model.backbone, model.head, model.pretraining, model.image_size = backbone, head, False, SIDE
    model.forward = lambda images: model.head(model.backbone(images))
    data = SimpleNamespace(normalise=lambda images: (images - 0.2) / 0.25)
    model.eval().requires_grad_(False)
    return Loaded(Path("made"), {}, model, data, torch.device("cpu"))


class CornerCNN(nn.Module):
    """Brightness of the first 8 x 8 pixels, in two channels; all else is cut off before the last stage."""

    feature_info = ({"module": "stem"}, {"module": "stage"})

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(inplace=True))
        self.stage = nn.Conv2d(4, 2, 8, stride=8, bias=False)
        self.stem[0].weight.data.fill_(0.1)
        self.stem[0].bias.data.fill_(1.0)  # above 0 also for a black pixel
        self.stage.weight.data.fill_(0.05)

        def only_the_corner(_module, _inputs, output):
            seen = torch.zeros_like(output)
            seen[..., 0, 0] = 1
            return output * seen

        self.stage.register_forward_hook(only_the_corner)

    def forward(self, images):
        return self.stage(self.stem(images)).mean((2, 3))


def corner_vit(pool):
    """Return a ViT whose tokens all attend to the first patch, and take the patch's brightness in the last block.

    Features: 0 marks the corner's token, 1 is the patch's brightness, 2 the same in the corner and 0 elsewhere, 3 what
    the last block brings to all tokens.
    """
    vit = VisionTransformer(
        img_size=SIDE, patch_size=8, in_chans=1, num_classes=0, global_pool=pool, embed_dim=4, depth=6, num_heads=1,
        mlp_ratio=0.25, norm_layer=lambda *_, **__: nn.Identity(), act_layer=nn.ReLU, fc_norm=False,
    )  # fmt: skip
    for parameter in vit.parameters():
        parameter.data.zero_()
    vit.patch_embed.proj.weight.data[1] = 1 / 64
    vit.patch_embed.proj.bias.data[1] = 2.0  # above 0 also for a black patch
    vit.pos_embed.data[0, 1, 0] = 1
    for number, block in enumerate(vit.blocks):
        query, key, value = block.attn.qkv.bias.data.split(4), block.attn.qkv.weight.data.split(4), 2
        query[0].fill_(20.0)
        key[1][:, 0] = 1  # 4 x 20 / sqrt(4) = 40 more for the corner
        if number == 0:
            block.mlp.fc1.weight.data[0, :2] = torch.tensor([100.0, 1.0])
            block.mlp.fc1.bias.data[0] = -100  # a gate: the brightness passes where the mark is
            block.mlp.fc2.weight.data[2, 0] = 1
        if number == 5:
            key[value][3, 2] = 1
            block.attn.proj.weight.data[3, 3] = 1
    return vit


def head_of(feature, width):
    """Return a classifier of two classes; the second has one feature as its logit."""
    head = nn.Linear(width, 2)
    head.weight.data.zero_()
    head.bias.data.zero_()
    head.weight.data[1, feature] = 3.0
    return head


MADE = {
    "cnn": lambda: loaded(CornerCNN(), head_of(0, 2)),
    "vit, class token": lambda: loaded(corner_vit("token"), head_of(3, 4)),
    "vit, mean": lambda: loaded(corner_vit("avg"), head_of(3, 4)),
}


@pytest.fixture(params=MADE)
def corner_run(request):
    return MADE[request.param]()


@pytest.fixture
def images():
    """Return five noisy uint8 images (N, 1, H, W), brighter in the middle than in the corner."""
    noise = torch.rand(5, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 155 + 40
    noise[:, :, 24:40, 24:40] += 60
    return noise.to(torch.uint8)
