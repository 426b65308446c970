import numpy as np
import pytest
import timm
import torch
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn
from torch.nn import functional as F

from vitlab.explain.saliency.cam import cam_layer, grad_cam
from vitlab.models.backbones import create_backbone


class Classifier(nn.Module):
    """Channels last, as the runs' CNNs are; weights random but not zero at the residuals' ends."""

    def __init__(self, name, image_size=64, **kwargs):
        super().__init__()
        torch.manual_seed(1)
        self.backbone = create_backbone(name, image_size=image_size, channels=1, kwargs=kwargs)
        self.head = nn.Linear(self.backbone.num_features, 3)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.weight.data.uniform_(0.5, 1.5)
                part.running_mean.normal_(0, 0.1)
        self.eval().requires_grad_(False)

    def forward(self, images):
        return self.head(self.backbone(images))


VIT = {"patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2}
IMAGES = torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 2, 1, 2])


@pytest.mark.parametrize(
    ("model", "plus_plus"),
    [(Classifier("resnet18_half"), False), (Classifier("resnet18_half"), True),
     (Classifier("vit_tiny_patch16_224", **VIT), False),
     (Classifier("vit_tiny_patch16_224", **VIT, global_pool="avg", fc_norm=False), False)],
)  # fmt: skip
def test_it_equals_the_reference_code(model, plus_plus):
    ours = grad_cam(model, IMAGES, TARGETS, plus_plus=plus_plus)
    fine = F.interpolate(ours[:, None], (64, 64), mode="bilinear")[:, 0]
    fine = fine - fine.amin((1, 2), keepdim=True)
    fine = fine / (1e-7 + fine.amax((1, 2), keepdim=True))  # as theirs are scaled

    def tokens(found):
        return found[:, 1:].reshape(len(found), 8, 8, -1).permute(0, 3, 1, 2)

    layer = model.backbone.get_submodule(cam_layer(model, IMAGES))
    kind = GradCAMPlusPlus if plus_plus else GradCAM
    model.requires_grad_(True)
    with kind(model, [layer], tokens if hasattr(model.backbone, "blocks") else None) as cam:
        theirs = cam(IMAGES, [ClassifierOutputTarget(int(target)) for target in TARGETS])
    model.requires_grad_(False)
    assert theirs.std() > 0.05
    np.testing.assert_allclose(fine.numpy(), theirs, atol=2e-4)


@pytest.mark.parametrize(("side", "layer"), [(64, "layer2"), (224, "layer4"), (32, "layer1"), (16, "act1")])
def test_the_layer_is_the_last_one_with_cells_enough(side, layer):
    assert cam_layer(Classifier("resnet18_half"), torch.zeros(1, 1, side, side)) == layer


def test_other_backbones_have_maps():
    for name in ("efficientnet_b0", "densenet121", "vgg11_bn", "swin_tiny_patch4_window7_224"):
        model = nn.Module()
        model.backbone = timm.create_model(name, num_classes=0).eval()
        images = torch.randn(2, 3, 224, 224)
        with torch.no_grad():
            model.head = nn.Linear(model.backbone(images).shape[1], 2)
        model.requires_grad_(False)
        maps = grad_cam(model, images, torch.tensor([0, 1]))
        assert maps.shape[1] == maps.shape[2] >= 7, name


def test_one_without_stages_is_refused():
    model = nn.Module()
    model.backbone = nn.Flatten()
    with pytest.raises(ValueError, match="Flatten has none: use occlusion"):
        grad_cam(model, IMAGES, TARGETS)
