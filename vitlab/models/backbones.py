"""Backbones: any timm model by name, created, saved and loaded so that plain timm can read the file."""

import difflib
import inspect
import json
import os
from pathlib import Path
from typing import Any, Literal

import timm
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from timm.models.resnet import ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

Kwargs = dict[str, Any]

# Average pooling without a norm of its own, so that pretraining (which pools nothing) and classification name the last
# norm alike.
_VIT: Kwargs = {"global_pool": "avg", "fc_norm": False}
PRESETS: dict[str, tuple[str, Kwargs]] = {
    "resnet18_half": ("resnet18", {"channels": [32, 64, 128, 256]}),
    "vit_dim128_depth6_patch8": (
        "vit_tiny_patch16_224", {**_VIT, "patch_size": 8, "embed_dim": 128, "depth": 6, "num_heads": 4},
    ),
    "vit_dim192_depth6_patch8": (
        "vit_tiny_patch16_224", {**_VIT, "patch_size": 8, "embed_dim": 192, "depth": 6, "num_heads": 3},
    ),
    "vit_dim192_depth12_patch8": ("vit_tiny_patch16_224", {**_VIT, "patch_size": 8}),
}  # fmt: skip


def create_backbone(
    name: str,
    *,
    image_size: int,
    channels: int,
    kwargs: Kwargs | None = None,
    weights: str | None = None,
    pretrained: bool = False,
    drop_path: float = 0.0,
    patch_drop: float = 0.0,
    stem: Literal["standard", "small"] = "standard",
) -> nn.Module:
    """Create a timm model without its classifier.

    Args:
        name: A preset or any timm model.
        image_size: Side of the square images in pixels.
        channels: Channels of the images.
        kwargs: Settings for `timm.create_model`, over those of the preset.
        weights: A backbone.safetensors to load, strictly.
        pretrained: Load timm's published weights (from the Hugging Face hub or its local cache).
        drop_path: Stochastic depth (arXiv:1603.09382), rate of the last block.
        patch_drop: Share of a ViT's patches left out in training (PatchDropout, arXiv:2208.07220).
        stem: `small` keeps the resolution for small images: a ResNet's first convolution steps by one and its max-pool is
            left out; the weights keep their names and shapes.

    Returns:
        The model; called with images (B, C, H, W) it returns pooled features (B, D). `recipe` on it holds timm's name and
        settings.

    Raises:
        ValueError: Unknown model or setting, a size that the patch does not divide, or weights that do not fit.
    """
    if weights is not None and pretrained:
        raise ValueError("model.weights and model.pretrained exclude each other: give one of them")
    timm_name, settings = PRESETS.get(name, (name, {}))
    if not timm.is_model(timm_name.partition(".")[0]):
        nearest = difflib.get_close_matches(name, [*PRESETS, *timm.list_models()], n=3)
        raise ValueError(f"timm has no model {name}; " + (f"did you mean {', '.join(nearest)}?" if nearest else "see timm.list_models()"))
    settings = {**settings, **(kwargs or {})}
    is_vit = "img_size" in inspect.signature(VisionTransformer.__init__).parameters and timm_name.startswith(("vit", "deit"))
    regularisers: Kwargs = {"drop_path_rate": drop_path} if drop_path else {}
    if is_vit:
        settings["img_size"] = image_size
        regularisers |= {"patch_drop_rate": patch_drop} if patch_drop else {}
    try:
        model: nn.Module = timm.create_model(
            timm_name, pretrained=pretrained, num_classes=0, in_chans=channels, **settings, **regularisers
        )
    except (TypeError, KeyError) as error:
        wrong = str(error).partition("unexpected keyword argument ")[2].strip("'\"") or str(error)
        raise ValueError(f"{name} has no setting {wrong}: correct model.backbone_kwargs or the backbone") from None
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise ValueError(f"{name} cannot be made with {settings} at {image_size} px: {error}") from None
        raise ValueError(_no_weights(name)) from None
    except Exception as error:  # the hub client has error classes of its own for a network that is not there
        if not pretrained:
            raise
        raise ValueError(f"{_no_weights(name)} ({type(error).__name__})") from None
    if is_vit and image_size % model.patch_embed.patch_size[0]:
        patch = model.patch_embed.patch_size[0]
        raise ValueError(
            f"data.image_size {image_size} is not a multiple of the patch size {patch} of {name}: "
            f"give {image_size // patch * patch or patch} or {(image_size // patch + 1) * patch}"
        )
    if stem == "small":
        _keep_resolution(model, name)
    model.recipe = {"name": timm_name, "kwargs": settings, "in_chans": channels, "stem": stem}
    if weights is not None:
        load_backbone(model, weights)
    return model


def _no_weights(name: str) -> str:
    return f"the published weights of {name} could not be had: check the network, or set --model.pretrained=false"


def _keep_resolution(model: nn.Module, name: str) -> None:
    if not isinstance(model, ResNet):
        raise ValueError(f"model.stem=small is known for ResNets and {name} is none: set --model.stem=standard")
    first = model.conv1 if isinstance(model.conv1, nn.Conv2d) else model.conv1[0]
    first.stride = (1, 1)
    model.maxpool = nn.Identity()  # has no weights, so that the state dict stays timm's


def save_backbone(module: nn.Module, path: Path, metadata: Kwargs | None = None) -> None:
    """Write the plain timm state dict of a backbone, under a temporary name that is then renamed.

    Args:
        module: From `create_backbone`.
        path: File to write. Its metadata says with which `timm.create_model(name, in_chans=..., num_classes=0, **kwargs)`
            it goes, as JSON under `recipe`.
        metadata: More facts; written as JSON.
    """
    state = {name: value.detach().cpu().contiguous().clone() for name, value in module.state_dict().items()}
    facts = {"recipe": module.recipe, **(metadata or {})}
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    save_file(state, temporary, metadata={key: json.dumps(value) for key, value in facts.items()})
    os.replace(temporary, path)


def load_backbone(module: nn.Module, path: str | Path) -> None:
    """Load a backbone file strictly; position embeddings are resampled to the module's grid.

    Args:
        module: From `create_backbone`.
        path: A backbone.safetensors.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is none, or is of another architecture.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there are no weights at {path}: give the backbone.safetensors of a pretraining")
    try:
        with safe_open(path, "pt") as file:
            state: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            recipe = json.loads((file.metadata() or {}).get("recipe", "{}"))
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is not a backbone.safetensors ({error}); give the one that a pretraining wrote") from None
    own = module.state_dict()
    if "pos_embed" in own and "pos_embed" in state and own["pos_embed"].shape[1] != state["pos_embed"].shape[1]:
        assert isinstance(module, VisionTransformer)
        prefix = 0 if module.no_embed_class else module.num_prefix_tokens
        grid = list(module.patch_embed.grid_size)
        state["pos_embed"] = resample_abs_pos_embed(state["pos_embed"], grid, num_prefix_tokens=prefix)
    unlike = sorted(set(own) ^ set(state)) + [name for name in own if name in state and own[name].shape != state[name].shape]
    if unlike:
        held, asked = recipe.get("name", "another model"), getattr(module, "recipe", {})
        first = unlike[0]
        shapes = [tuple(found[first].shape) if first in found else "none" for found in (state, own)]
        raise ValueError(
            f"{path} holds {held} with {recipe.get('kwargs', {})} and the model is {asked.get('name')} with "
            f"{asked.get('kwargs')}: {len(unlike)} weights differ, first {first} ({shapes[0]} there, {shapes[1]} here); "
            "use the same backbone, backbone_kwargs and channels in both"
        )
    module.load_state_dict(state, strict=True)
