import json
import time

import pytest
import safetensors.torch
import timm
import torch
from safetensors import safe_open
from timm.layers import resample_abs_pos_embed

from vitlab.models import backbones
from vitlab.models.backbones import (
    PRESETS,
    create_backbone,
    feature_dim,
    load_backbone,
    save_backbone,
    suit_attention_to_cpu,
    unfuse_attention,
)

VIT = {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
CNN = {"channels": [8, 8, 16, 16]}


def vit(image_size=32, channels=1, name="vit_tiny_patch16_224", weights=None, **kwargs):
    return create_backbone(name, image_size=image_size, channels=channels, kwargs=VIT | kwargs, weights=weights).eval()


def cnn(channels=1, name="resnet18", **settings):
    return create_backbone(name, image_size=32, channels=channels, kwargs=CNN, **settings).eval()


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


@torch.no_grad()
def features(model, images):
    return model.eval()(images)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(("image_size", "channels"), [(32, 1), (32, 3), (48, 1), (64, 1), (64, 3)])
def test_presets_run_at_any_size_and_channel_count(name, image_size, channels):
    model = create_backbone(name, image_size=image_size, channels=channels)
    images = torch.randn(2, channels, image_size, image_size)
    assert features(model, images).shape == (2, feature_dim(model))


@pytest.mark.parametrize(
    "name",
    ["mobilenetv3_small_050", "vgg11", "convnext_atto", "swin_tiny_patch4_window7_224", "deit_tiny_patch16_224",
     "vit_tiny_patch16_224"],
)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 3])
def test_other_timm_models_tell_their_width(name, channels):
    model = create_backbone(name, image_size=64, channels=channels)
    assert features(model, torch.randn(1, channels, 64, 64)).shape == (1, feature_dim(model))


@pytest.mark.parametrize(
    "build",
    [cnn, lambda: cnn(stem="small"), vit, lambda: vit(global_pool="avg", fc_norm=False), lambda: vit(reg_tokens=2),
     lambda: create_backbone("convnext_atto", image_size=32, channels=3, drop_path=0.1)],
)  # fmt: skip
def test_plain_timm_takes_the_file_strictly(build, tmp_path):
    model = build()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # statistics other than those of a new model
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    path = tmp_path / "backbone.safetensors"
    save_backbone(model.to(memory_format=torch.channels_last), path, {"classes": ["a", "b"]})
    with safe_open(path, "pt") as file:
        metadata = {key: json.loads(value) for key, value in file.metadata().items()}
    recipe = metadata["recipe"]
    plain = timm.create_model(recipe["name"], num_classes=0, in_chans=recipe["in_chans"], **recipe["kwargs"])
    plain.load_state_dict(safetensors.torch.load_file(path), strict=True)
    images = torch.randn(2, recipe["in_chans"], recipe["image_size"], recipe["image_size"])
    if recipe["stem"] == "standard":
        torch.testing.assert_close(features(plain, images), features(model, images))
    assert metadata["classes"] == ["a", "b"] and [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("build", [cnn, vit])
def test_weights_are_all_loaded(build, tmp_path):
    saved, images = build(), torch.randn(2, 1, 32, 32)
    save_backbone(saved, tmp_path / "b.safetensors")
    fresh = build()
    assert not torch.allclose(features(fresh, images), features(saved, images))
    loaded = build(weights=str(tmp_path / "b.safetensors"))
    assert torch.equal(features(loaded, images), features(saved, images))


@pytest.mark.parametrize(
    "kwargs",
    [{}, {"reg_tokens": 2}, {"no_embed_class": True, "reg_tokens": 2}, {"class_token": False, "global_pool": "avg"}],
)
def test_position_embeddings_are_resampled_to_another_size(kwargs, tmp_path):
    saved = vit(**kwargs)
    save_backbone(saved, tmp_path / "b.safetensors")
    other = vit(image_size=48, weights=tmp_path / "b.safetensors", **kwargs)
    prefix = saved.pos_embed.shape[1] - 16
    assert other.pos_embed.shape == (1, prefix + 36, 32)
    assert torch.equal(other.pos_embed[:, :prefix], saved.pos_embed[:, :prefix])
    expected = resample_abs_pos_embed(saved.pos_embed, [6, 6], [4, 4], num_prefix_tokens=prefix)
    torch.testing.assert_close(other.pos_embed, expected)
    for name, value in saved.state_dict().items():
        assert name == "pos_embed" or torch.equal(other.state_dict()[name], value)
    back = vit(**kwargs)
    smooth = torch.linspace(0, 1, 4)[None, None, None, :].expand(1, 32, 4, 4).flatten(2).transpose(1, 2)
    with torch.no_grad():
        saved.pos_embed[:, prefix:] = smooth
    save_backbone(saved, tmp_path / "smooth.safetensors")
    load_backbone(other, tmp_path / "smooth.safetensors")
    save_backbone(other, tmp_path / "larger.safetensors")
    load_backbone(back, tmp_path / "larger.safetensors")  # there and back again
    torch.testing.assert_close(back.pos_embed[:, prefix:], smooth, atol=0.05, rtol=0)


@pytest.mark.parametrize(
    ("saved", "asked", "words"),
    [
        (lambda: vit(), lambda: cnn(), ["vit_tiny_patch16_224", "resnet18"]),
        (lambda: vit(), lambda: vit(depth=3), ["'depth': 2", "'depth': 3", "blocks.2"]),
        (lambda: vit(), lambda: vit(embed_dim=64), ["'embed_dim': 32", "'embed_dim': 64"]),
        (lambda: vit(), lambda: vit(patch_size=16), ["'patch_size': 8", "'patch_size': 16"]),
        (lambda: vit(), lambda: vit(reg_tokens=1), ["reg_token", "none there"]),
        (lambda: vit(), lambda: vit(global_pool="avg"), ["fc_norm"]),
        (lambda: vit(), lambda: vit(channels=3), ["--data.channels=1"]),
        (lambda: cnn(channels=3), lambda: cnn(), ["--data.channels=3"]),
        (lambda: cnn(), lambda: cnn(name="resnet34"), ["resnet18", "resnet34"]),
    ],
)
def test_other_weights_are_refused_in_one_line(saved, asked, words, tmp_path):
    save_backbone(saved(), tmp_path / "b.safetensors")
    model = asked()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"b\.safetensors") as error:
        load_backbone(model, tmp_path / "b.safetensors")
    assert all(word in one_line(error) for word in words)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_weights_with_a_classifier_are_refused(tmp_path):
    model = cnn()
    safetensors.torch.save_file({**model.state_dict(), "fc.weight": torch.zeros(2, 16)}, tmp_path / "whole.safetensors")
    with pytest.raises(ValueError, match=r"fc\.weight"):
        load_backbone(model, tmp_path / "whole.safetensors")


def test_files_that_are_no_weights(tmp_path):
    (tmp_path / "text.safetensors").write_text("not weights")
    (tmp_path / "short.safetensors").write_bytes(b"\x10\x00")
    for name in ("text.safetensors", "short.safetensors"):
        with pytest.raises(ValueError, match=name) as error:
            load_backbone(cnn(), tmp_path / name)
        one_line(error)
    for path in (tmp_path / "nowhere.safetensors", tmp_path):
        with pytest.raises(FileNotFoundError, match=str(path)):
            load_backbone(cnn(), path)


def test_small_stem_keeps_resolution_and_weights(tmp_path):
    standard, small = cnn(), cnn(stem="small")
    assert {name: v.shape for name, v in standard.state_dict().items()} == {
        name: v.shape for name, v in small.state_dict().items()
    }
    sizes = []
    for model in (standard, small):
        model.layer1.register_forward_pre_hook(lambda _, args: sizes.append(args[0].shape[-1]))
        features(model, torch.randn(1, 1, 32, 32))
    assert sizes == [8, 32]
    save_backbone(small, tmp_path / "b.safetensors")
    with pytest.warns(UserWarning, match="stem=small"):
        load_backbone(standard, tmp_path / "b.safetensors")


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("resnet81", {}, ["resnet81", "resnet18"]),
        ("vit_dim128_depth6_patch9", {}, ["vit_dim128_depth6_patch8"]),
        ("resnet18.a1_in2k", {}, ["resnet18.a1_in1k"]),
        ("zzzzzzzzzz", {}, ["timm.list_models"]),
        ("resnet18", {"kwargs": {"chanels": [8, 8, 8, 8]}}, ["chanels", "channels"]),
        ("vit_tiny_patch16_224", {"kwargs": {"embed_dims": 32}}, ["embed_dims", "embed_dim"]),
        ("vit_tiny_patch16_224", {"kwargs": {"embed_dim": 100}}, ["embed_dim", "num_heads"]),
        ("resnet18", {"kwargs": {"channels": "wide"}}, ["channels"]),
        ("resnet18", {"kwargs": {"in_chans": 3}}, ["in_chans", "data.channels"]),
        ("vit_tiny_patch16_224", {"kwargs": {"img_size": 64}}, ["img_size", "data.image_size"]),
        ("vgg11", {"drop_path": 0.1}, ["vgg11", "model.drop_path"]),
        ("resnet18", {"drop_path": 1.0}, ["model.drop_path is 1.0"]),
        ("resnet18", {"patch_drop": -0.5}, ["model.patch_drop is -0.5"]),
        ("vit_tiny_patch16_224", {"image_size": 40}, ["40", "patch size 16", "32 or 48"]),
        ("vit_dim128_depth6_patch8", {"image_size": 60}, ["60", "patch size 8", "56 or 64"]),
        ("vit_tiny_patch16_224", {"image_size": 5}, ["give 16"]),
        ("convnext_atto", {"stem": "small"}, ["convnext_atto", "model.stem"]),
        ("resnet18", {"stem": "small", "kwargs": {"replace_stem_pool": True}}, ["max-pool"]),
        ("resnet18", {"weights": "b.safetensors", "pretrained": True}, ["model.weights", "model.pretrained"]),
        ("mixer_s32_224", {"pretrained": True}, ["mixer_s32_224", "no published weights"]),
    ],
)
def test_mistakes_are_one_line(name, settings, words):
    with pytest.raises(ValueError) as error:
        create_backbone(name, **({"image_size": 32, "channels": 1} | settings))
    assert all(word in one_line(error) for word in words)


def test_without_a_network_pretrained_fails_at_once(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nothing listens on this port
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"resnet18.*--model\.pretrained=false") as error:
        create_backbone("resnet18", image_size=32, channels=1, pretrained=True)
    one_line(error)
    assert time.monotonic() - start < 15


def published(tmp_path, **settings):
    """Return settings that make timm take a file for its published weights, with the published classifier."""
    whole = timm.create_model("vit_tiny_patch16_224", num_classes=1000, img_size=32, **(VIT | settings))
    path = tmp_path / "published.safetensors"
    safetensors.torch.save_file(whole.state_dict(), path)
    return whole.eval(), {"pretrained_cfg_overlay": {"file": str(path), "input_size": (3, 32, 32)}}


@pytest.mark.parametrize(("image_size", "channels"), [(32, 3), (32, 1), (64, 3)])
def test_published_weights_fit_other_sizes_and_channels(image_size, channels, tmp_path, monkeypatch):
    monkeypatch.setattr(backbones, "_is_reachable", lambda *_: pytest.fail("a local file needs no network"))
    whole, overlay = published(tmp_path)
    model = create_backbone(
        "vit_tiny_patch16_224", image_size=image_size, channels=channels, kwargs=VIT | overlay, pretrained=True
    )
    assert torch.equal(model.blocks[1].attn.qkv.weight, whole.blocks[1].attn.qkv.weight)
    images = torch.rand(2, channels, image_size, image_size)
    if image_size == 32:  # a gray image is one whose three channels are equal
        with torch.no_grad():
            expected = whole.forward_features(images.expand(-1, 3, -1, -1))[:, 0]
        torch.testing.assert_close(features(model, images), expected, rtol=1e-4, atol=1e-4)
    assert features(model, images).shape == (2, 32)


@pytest.mark.parametrize("kwargs", [{"depth": 3}, {"depth": 1}, {"embed_dim": 64}, {"reg_tokens": 2}])
def test_published_weights_are_never_loaded_in_part(kwargs, tmp_path):
    _, overlay = published(tmp_path)
    with pytest.raises(ValueError, match="do not fit") as error:
        create_backbone(
            "vit_tiny_patch16_224", image_size=32, channels=3, kwargs=VIT | overlay | kwargs, pretrained=True
        )
    one_line(error)


def test_drop_path_reaches_the_last_block():
    model = create_backbone("vit_tiny_patch16_224", image_size=32, channels=1, kwargs=VIT, drop_path=0.4)
    assert model.blocks[-1].drop_path1.drop_prob == pytest.approx(0.4)
    assert "drop_path_rate" not in model.recipe["kwargs"]  # what regularises is no part of the network


def test_attention_step_by_step_computes_what_the_fused_one_does():
    model = create_backbone("vit_dim128_depth6_patch8", image_size=32, channels=1).eval()
    images = torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    fused = model(images)
    unfuse_attention(model)
    assert not any(block.attn.fused_attn for block in model.blocks)
    torch.testing.assert_close(model(images), fused, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("image_size", "precision", "fused"), [(64, "32-true", False), (128, "32-true", True), (128, "bf16-mixed", False)]
)
def test_a_cpu_fuses_attention_where_that_is_faster(image_size, precision, fused):
    """64 and 256 patches."""
    model = torch.nn.ModuleList([create_backbone("vit_dim128_depth6_patch8", image_size=image_size, channels=1)])
    suit_attention_to_cpu(model, precision)
    assert {block.attn.fused_attn for block in model[0].blocks} == {fused}


def test_attention_whose_tokens_nobody_knows_stays_fused():
    attention = timm.layers.Attention(8, num_heads=2)
    suit_attention_to_cpu(attention, "32-true")
    assert attention.fused_attn


def test_a_colleague_can_read_the_file(tmp_path):
    """Weights are as open as every other file that the user's umask makes."""
    save_backbone(create_backbone("resnet18_half", image_size=32, channels=1), tmp_path / "backbone.safetensors")
    (tmp_path / "other").touch()
    assert (tmp_path / "backbone.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode
