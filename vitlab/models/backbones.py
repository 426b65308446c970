"""Backbones: any timm model by name, created, saved and loaded so that plain timm can read the file."""

import difflib
import inspect
import json
import urllib.error
import urllib.request
import warnings
from pathlib import Path
from typing import Any, Literal

import timm
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from timm.layers import PatchEmbed, resample_abs_pos_embed
from timm.models import get_pretrained_cfg
from timm.models.resnet import ResNet
from torch import Tensor, nn

from vitlab.atomic import replacing

Kwargs = dict[str, Any]

# Average pooling without a norm of its own, so that pretraining (which pools nothing) and classification name the last
# norm alike.
_VIT: Kwargs = {"global_pool": "avg", "fc_norm": False}
FEW_TOKENS = 100  # up to here a CPU attends faster without the fused kernel: see `suit_attention_to_cpu`
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

# Settings of timm's models that are stated elsewhere: once, so that they cannot disagree.
_STATED_ELSEWHERE = {
    "img_size": "data.image_size", "in_chans": "data.channels", "num_classes": "the data's classes",
    "pretrained": "model.pretrained", "drop_path_rate": "model.drop_path", "patch_drop_rate": "model.patch_drop",
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
        pretrained: Load timm's published weights (from the Hugging Face hub or its local cache), strictly.
        drop_path: Stochastic depth (arXiv:1603.09382), rate of the last block.
        patch_drop: Share of a ViT's patches left out in training (PatchDropout, arXiv:2208.07220).
        stem: `small` keeps the resolution for small images: a ResNet's first convolution steps by one and its max-pool
            is left out; the weights keep their names and shapes.

    Returns:
        The model; called with images (B, C, H, W) it returns pooled features (B, D). `recipe` on it holds timm's name
        and settings.

    Raises:
        ValueError: Unknown model or setting, a size that the patch does not divide, or weights that do not fit.
    """
    if weights is not None and pretrained:
        raise ValueError("model.weights and model.pretrained exclude each other: give one of them")
    for setting, value in (("drop_path", drop_path), ("patch_drop", patch_drop)):
        if not 0 <= value < 1:
            raise ValueError(f"model.{setting} is {value}; give a share in [0, 1), such as 0.1")
    timm_name, settings = PRESETS.get(name, (name, {}))
    tag = timm_name.partition(".")[2]
    if not timm.is_model(timm_name) or (tag and not timm.is_model_pretrained(timm_name)):
        nearest = difflib.get_close_matches(name, [*PRESETS, *(timm.list_pretrained() if tag else timm.list_models())])
        hint = f"did you mean {', '.join(nearest)}?" if nearest else "see timm.list_models()"
        raise ValueError(f"timm has no model {name}; {hint}")
    for setting in kwargs or {}:
        if setting in _STATED_ELSEWHERE:
            where = _STATED_ELSEWHERE[setting]
            raise ValueError(f"model.backbone_kwargs states {setting}: leave it out, it follows {where}")
    settings = {**settings, **(kwargs or {})}
    cfg = get_pretrained_cfg(timm_name)
    if cfg is not None and cfg.fixed_input_size:  # ViTs and others with position embeddings
        settings["img_size"] = image_size
    regularisers: Kwargs = {"drop_path_rate": drop_path} if drop_path else {}
    regularisers |= {"patch_drop_rate": patch_drop} if patch_drop else {}
    try:
        model: nn.Module = timm.create_model(timm_name, num_classes=0, in_chans=channels, **settings, **regularisers)
    except Exception as error:  # timm checks its settings by type errors, assertions and runtime errors alike
        raise ValueError(_why_not_made(error, name, timm_name, settings | regularisers)) from error
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", (1,))[0]
    if image_size % patch:
        nearest_sizes = sorted({max(image_size // patch, 1) * patch, (image_size // patch + 1) * patch})
        raise ValueError(
            f"data.image_size {image_size} is not a multiple of the patch size {patch} of {name}: "
            f"give {' or '.join(map(str, nearest_sizes))}"
        )
    if stem == "small":
        _keep_resolution(model, name)
    model.recipe = {"name": timm_name, "kwargs": settings, "in_chans": channels, "image_size": image_size, "stem": stem}  # type: ignore[assignment]
    if weights is not None:
        load_backbone(model, weights)
    elif pretrained:
        _load_published(model, name, timm_name, {"in_chans": channels, **settings})
    return model


def feature_dim(model: nn.Module) -> int:
    """Return the width D of the pooled features; some CNNs (MobileNetV3, VGG) widen them after pooling."""
    return int(getattr(model, "head_hidden_size", None) or model.num_features)  # type: ignore[arg-type]


def _why_not_made(error: Exception, name: str, timm_name: str, settings: Kwargs) -> str:
    _, found, rest = str(error).partition("unexpected keyword argument ")
    if not found:
        reason = " ".join(str(error).split())
        return f"{name} cannot be made with {settings}: {reason}; correct model.backbone_kwargs"
    wrong = rest.strip("'\"")
    if wrong in _STATED_ELSEWHERE:
        return f"{name} has no {wrong}: leave out {_STATED_ELSEWHERE[wrong]}, or choose another backbone"
    known = inspect.signature(type(timm.create_model(timm_name)).__init__).parameters
    nearest = difflib.get_close_matches(wrong, known, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else "correct model.backbone_kwargs or the backbone"
    return f"{name} has no setting {wrong}; {hint}"


def _load_published(model: nn.Module, name: str, timm_name: str, settings: Kwargs) -> None:
    """Load timm's published weights.

    timm loads loosely where the classifier differs: the model is made with the published classifier, which timm loads
    strictly, and the rest is copied, strictly again.
    """
    cfg = get_pretrained_cfg(timm_name)
    local = "pretrained_cfg_overlay" in settings
    if not local and (cfg is None or not cfg.has_weights):
        raise ValueError(f"timm has no published weights for {name}: set --model.pretrained=false")
    from huggingface_hub import constants  # comes with timm

    offline = constants.HF_HUB_OFFLINE
    # Offline, the hub looks in its cache only; without a network it would try each file for half a minute.
    constants.HF_HUB_OFFLINE = offline or not (local or _is_reachable(constants.ENDPOINT))
    try:
        published = timm.create_model(timm_name, pretrained=True, **settings).state_dict()
        own = model.state_dict()
        model.load_state_dict({key: value for key, value in published.items() if key in own}, strict=True)
    except Exception as error:  # the hub client and its HTTP library have error classes of their own
        if "state_dict" in str(error) or "shape" in str(error):
            message = f"the weights published for {timm_name} do not fit {name} with {settings}: use plain {timm_name}"
        else:
            message = f"the published weights of {name} could not be had ({type(error).__name__}): check the network"
        raise ValueError(f"{message}, or set --model.pretrained=false") from error
    finally:
        constants.HF_HUB_OFFLINE = offline


def _is_reachable(url: str, seconds: float = 5.0) -> bool:
    """Say whether a server answers, whatever it answers; proxies are taken from the environment."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds).close()
    except urllib.error.HTTPError:
        return True
    except OSError as error:
        return "CERTIFICATE" in str(error)  # an answer too: the hub client may know authorities that Python does not
    return True


def _keep_resolution(model: nn.Module, name: str) -> None:
    if not isinstance(model, ResNet):
        raise ValueError(f"model.stem=small is known for ResNets and {name} is none: set --model.stem=standard")
    if any(True for _ in model.maxpool.parameters()):
        raise ValueError(f"model.stem=small drops the max-pool, which has weights in {name}: set --model.stem=standard")
    first = model.conv1 if isinstance(model.conv1, nn.Conv2d) else model.conv1[0]
    first.stride = (1, 1)
    model.maxpool = nn.Identity()  # has no weights, so that the state dict stays timm's


def suit_attention_to_cpu(model: nn.Module, precision: str) -> None:
    """Leave out torch's fused attention where a CPU is faster without: in bf16, and in float32 for few tokens.

    Without it a small ViT trains 1.7 times as fast in bf16 (torch 2.14). In float32 two threads take 0.6 of the fused
    kernel's time for 17 tokens, 0.8 for 65 and 1.2 for 197; docs/performance.md has more.

    Args:
        model: With or without backbones of timm that cut images into patches.
        precision: As the Trainer takes it.
    """
    tokens = max((part.num_patches or 0 for part in model.modules() if isinstance(part, PatchEmbed)), default=0)
    if "16" in precision or 0 < tokens <= FEW_TOKENS:  # 0: nobody says how many
        unfuse_attention(model)


def unfuse_attention(module: nn.Module) -> None:
    """Let timm's attention blocks multiply and softmax step by step."""
    for part in module.modules():
        if hasattr(part, "fused_attn"):
            part.fused_attn = False  # type: ignore[assignment]


def save_backbone(module: nn.Module, path: Path, metadata: Kwargs | None = None) -> None:
    """Write the plain timm state dict of a backbone, under a temporary name that is then renamed.

    Args:
        module: From `create_backbone`.
        path: File to write. Its metadata says, as JSON under `recipe`, with which
            `timm.create_model(name, in_chans=in_chans, num_classes=0, **kwargs)` it goes.
        metadata: More facts; written as JSON.
    """
    state = {name: value.detach().cpu().contiguous().clone() for name, value in module.state_dict().items()}
    facts = {"recipe": module.recipe, **(metadata or {})}
    with replacing(path) as temporary:  # safetensors' own writing to a file closes it to all but its owner
        temporary.write_bytes(save(state, metadata={key: json.dumps(value) for key, value in facts.items()}))


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
        raise FileNotFoundError(f"there are no weights at {path}: give --model.weights=RUN/backbone.safetensors")
    try:
        with safe_open(path, "pt") as file:
            state: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}
            held: Kwargs = json.loads((file.metadata() or {}).get("recipe", "{}"))
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is no backbone.safetensors ({error}); give one that a pretraining wrote") from None
    own, asked = module.state_dict(), getattr(module, "recipe", {})
    if "in_chans" in held and held["in_chans"] != asked.get("in_chans"):
        raise ValueError(
            f"{path} was trained on images of {held['in_chans']} channel(s) and the data has {asked.get('in_chans')}: "
            f"set --data.channels={held['in_chans']}"
        )
    if "pos_embed" in own and "pos_embed" in state and own["pos_embed"].shape[1] != state["pos_embed"].shape[1]:
        prefix = 0 if getattr(module, "no_embed_class", False) else int(getattr(module, "num_prefix_tokens", 0))
        tokens = state["pos_embed"].shape[1] - prefix
        if tokens == int(tokens**0.5) ** 2:  # else the tokens themselves differ, which is refused below
            grid = list(module.patch_embed.grid_size)  # type: ignore[union-attr, arg-type]
            state["pos_embed"] = resample_abs_pos_embed(state["pos_embed"], grid, num_prefix_tokens=prefix)
    unlike = sorted(set(own) ^ set(state))
    unlike += [name for name in own if name in state and own[name].shape != state[name].shape]
    if unlike:
        first = unlike[0]
        shapes = [tuple(found[first].shape) if first in found else "none" for found in (state, own)]
        raise ValueError(
            f"{path} holds {held.get('name', 'another model')} with {held.get('kwargs', {})} and the model is "
            f"{asked.get('name')} with {asked.get('kwargs')}: {len(unlike)} weights differ, first {first} ({shapes[0]} "
            f"there, {shapes[1]} here); use the same backbone and backbone_kwargs in both"
        )
    if held.get("stem", asked.get("stem")) != asked.get("stem"):
        warnings.warn(
            f"{path} was trained with stem={held['stem']} and the model has stem={asked.get('stem')}: its features "
            "were learned at another resolution",
            stacklevel=2,
        )
    module.load_state_dict(state, strict=True)
