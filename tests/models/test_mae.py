import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from vitlab.data.batches import Batch
from vitlab.models.mae import MAE
from vitlab.models.optim import OptimConfig

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


TINY = {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}


def build(*, kwargs=None, **settings):
    settings = {"image_size": 32, "channels": 1, "optim": OptimConfig(), "decoder_dim": 16} | settings
    return MAE(num_classes=3, backbone="vit_tiny_patch16_224", backbone_kwargs=TINY | (kwargs or {}), **settings)


def batch_of(images):
    return Batch(images, torch.zeros(len(images), dtype=torch.long), torch.arange(len(images)))


def numpy_patches(images, patch):
    """Cut (B, C, H, W) into (B, N, patch * patch * C), row by row, by plain loops."""
    rows = []
    for image in images:
        corners = [(y, x) for y in range(0, image.shape[1], patch) for x in range(0, image.shape[2], patch)]
        rows.append([image[:, y : y + patch, x : x + patch].transpose(1, 2, 0).ravel() for y, x in corners])
    return np.array(rows)


@pytest.mark.parametrize("norm_pix", [True, False])
@pytest.mark.parametrize(
    ("channels", "image_size", "patch", "mask_ratio"), [(1, 32, 8, 0.75), (3, 32, 4, 0.5), (1, 48, 16, 0.9)]
)
def test_loss_equals_numpy(channels, image_size, patch, mask_ratio, norm_pix):
    model = build(
        kwargs={"patch_size": patch}, channels=channels, image_size=image_size, mask_ratio=mask_ratio, norm_pix=norm_pix
    ).eval()
    images = torch.randn(3, channels, image_size, image_size) * 2 + 1
    images[0, :, :16, :16] = 0.5  # flat patches: variance 0
    for seed in (0, 1):
        visible, masked = model.draw_mask(3, range(seed, seed + 3))
        with torch.no_grad():
            loss = model.loss(images, visible, masked).item()
            predicted = model.forward_masked(images, visible, masked).numpy().astype(np.float64)
        patches = numpy_patches(images.numpy().astype(np.float64), patch)
        if norm_pix:
            mean, variance = patches.mean(2, keepdims=True), patches.var(2, ddof=1, keepdims=True)
            patches = (patches - mean) / np.sqrt(variance + 1e-3)
        wanted = np.array([patches[i, masked[i].numpy()] for i in range(3)])
        assert loss == pytest.approx(((predicted - wanted) ** 2).mean(), rel=1e-5)


def test_hidden_pixels_do_not_reach_the_prediction():
    model = build().eval()
    images = torch.randn(2, 1, 32, 32)
    visible, masked = model.draw_mask(2, (3, 4))
    where = torch.zeros(2, 16, dtype=torch.bool).scatter(1, masked, True).view(2, 1, 4, 4)
    where = where.repeat_interleave(8, 2).repeat_interleave(8, 3)
    with torch.no_grad():
        before = model.forward_masked(images, visible, masked)
        same = model.forward_masked(torch.where(where, torch.randn_like(images), images), visible, masked)
        other = model.forward_masked(torch.where(where, images, torch.randn_like(images)), visible, masked)
    torch.testing.assert_close(before, same)
    assert (before - other).abs().max() > 1e-3


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"global_pool": "avg"},
        {"reg_tokens": 3},
        {"no_embed_class": True},
        {"class_token": False, "global_pool": "avg"},
    ],
)
def test_without_mask_the_encoder_is_the_plain_vit(kwargs):
    model = build(kwargs=kwargs).eval()
    images = torch.randn(2, 1, 32, 32)
    tokens = model.backbone.num_prefix_tokens + model.num_patches
    with torch.no_grad():
        encoded = model.encoder.encode(images, idx_keep=torch.arange(tokens).expand(2, tokens))
        torch.testing.assert_close(encoded, model.backbone.forward_features(images))


@pytest.mark.parametrize(
    ("mask_ratio", "kwargs", "tokens"), [(0.75, {}, 5), (0.5, {}, 9), (0.75, {"reg_tokens": 2}, 7)]
)
def test_encoder_sees_visible_tokens_only(mask_ratio, kwargs, tokens):
    model = build(mask_ratio=mask_ratio, kwargs=kwargs)
    seen, decoded = [], []
    for block in model.backbone.blocks:
        block.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    for part in (model.decoder.blocks[0].attn.qkv, model.decoder.blocks[0].mlp):
        part.register_forward_pre_hook(lambda _, args: decoded.append(args[0].shape[1]))
    model._step(batch_of(torch.randn(2, 1, 32, 32)), "train")
    assert seen == [tokens, tokens]
    assert decoded == [16 + model.backbone.num_prefix_tokens, round(16 * mask_ratio)]  # keys of all, values of masked


@pytest.mark.parametrize("kwargs", [{}, {"global_pool": "avg"}, {"reg_tokens": 3}])
def test_backbone_loads_in_plain_timm_with_fixed_sines(kwargs):
    model = build(kwargs=kwargs)
    plain = timm.create_model("vit_tiny_patch16_224", num_classes=0, in_chans=1, img_size=32, **TINY, **kwargs).eval()
    plain.load_state_dict(model.backbone.state_dict(), strict=True)
    images = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(plain(images), model.eval().backbone(images))
    prefix = model.backbone.num_prefix_tokens
    assert plain.pos_embed.shape == (1, 16 + prefix, 32) and not model.backbone.pos_embed.requires_grad
    grid = plain.pos_embed[0, prefix:].view(4, 4, 32).detach()
    # One half of the channels codes the column, the other the row: sin(0 .. 3) at the highest frequency.
    torch.testing.assert_close(grid[2, :, 0], torch.arange(4).float().sin())
    torch.testing.assert_close(grid[:, 2, 16], torch.arange(4).float().sin())
    assert not plain.pos_embed[0, :prefix].any()


@pytest.mark.parametrize("kwargs", [{}, {"global_pool": "avg"}, {"reg_tokens": 3}])
def test_gradients_reach_every_parameter(kwargs):
    model = build(kwargs=kwargs)
    model._step(batch_of(torch.randn(2, 1, 32, 32)), "train").backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    frozen = {name.split(".", 1)[1] for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"pos_embed", "mask_token"}


def test_masks_follow_torch_and_seed():
    model = build()
    torch.manual_seed(7)
    first, other = model.draw_mask(4), model.draw_mask(4)
    torch.manual_seed(7)
    again = model.draw_mask(4)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True)) and not torch.equal(first[0], other[0])
    fixed = model.draw_mask(4, (5, 6, 7, 8))
    torch.manual_seed(8)
    assert all(torch.equal(a, b) for a, b in zip(fixed, model.draw_mask(4, (5, 6, 7, 8)), strict=True))
    both = torch.cat(fixed, dim=1).sort(dim=1).values
    assert torch.equal(both, torch.arange(16).expand(4, 16)) and fixed[0].shape == (4, 4)
    assert not torch.equal(fixed[0][0], fixed[0][1])  # each image has its own


def test_every_patch_is_masked_equally_often():
    model = build()
    _, masked = model.draw_mask(4000)
    share = torch.bincount(masked.ravel(), minlength=16) / 4000
    assert (share - 0.75).abs().max() < 0.04


@pytest.mark.parametrize(("norm_pix", "channels"), [(True, 1), (False, 3)])
def test_reconstruction_keeps_what_is_seen(norm_pix, channels):
    model = build(norm_pix=norm_pix, channels=channels)
    images = torch.rand(2, channels, 32, 32) + 0.5
    masked, drawn = model.reconstruct(images, seed=1)
    assert masked.shape == drawn.shape == images.shape
    hidden = masked == 0
    assert hidden.float().mean() == 0.75
    assert torch.equal(masked[~hidden], images[~hidden]) and torch.equal(drawn[~hidden], images[~hidden])
    assert not torch.equal(drawn[hidden], images[hidden])
    # A perfect decoder must give the images back: the units are right, and every patch is in its place.
    targets = model.targets(images)[0]
    model.forward_masked = lambda images, visible, masked: targets[torch.arange(2)[:, None], masked]
    torch.testing.assert_close(model.reconstruct(images, seed=1)[1], images)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mask_ratio": 1.0}, "mask_ratio"),
        ({"mask_ratio": 0.0}, "mask_ratio"),
        ({"decoder_dim": 18}, "decoder_dim"),
        ({"decoder_dim": 16, "decoder_heads": 3}, "decoder_heads"),
    ],
)
def test_mistakes_are_one_line(settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        build(**settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["resnet18_half", "vit_tiny_r_s16_p8_224", "deit_tiny_distilled_patch16_224"])
def test_what_cannot_leave_patches_out_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} is not one: set --model.backbone"):
        MAE(num_classes=3, image_size=128, channels=1, optim=OptimConfig(), backbone=name)


def test_two_views_are_refused():
    with pytest.raises(ValueError, match=r"--data\.views=1"):
        build()._step(batch_of(torch.randn(2, 2, 1, 32, 32)), "train")


def test_validation_does_not_depend_on_the_batches():
    model = build().eval()
    images, indices = torch.randn(6, 1, 32, 32), torch.tensor([9, 4, 0, 7, 5, -1])

    def loss(rows):
        return model._step(Batch(images[rows], torch.zeros(len(rows)), indices[rows]), "val").item()

    whole = loss([0, 1, 2, 3, 4])
    assert loss([0, 1, 2, 3, 4]) == whole != model._step(batch_of(images[:5]), "train").item()
    assert (2 * loss([4, 0]) + 3 * loss([1, 3, 2])) / 5 == pytest.approx(whole, rel=1e-5)
    assert loss([0, 1, 2, 3, 4, 5]) == whole and loss([5]) == 0  # -1 marks a repeat


class Gratings(torch.utils.data.Dataset):
    """Waves of random direction: what is hidden follows from what is seen."""

    def __init__(self, steps):
        self.steps = steps

    def __len__(self):
        return self.steps

    def __getitem__(self, step):
        angle, phase = torch.rand(2, 32, 1, 1, generator=torch.Generator().manual_seed(step)) * 6.3
        y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
        return batch_of(torch.sin(0.4 * (angle.cos() * x + angle.sin() * y) + phase)[:, None])


def test_training_lowers_the_loss(tmp_path):
    model = build(optim=OptimConfig(lr=3e-3, warmup_epochs=0), kwargs={"embed_dim": 64, "num_heads": 4}, decoder_dim=32)
    before = model._step(Gratings(100)[99], "val").item()
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(model, DataLoader(Gratings(80), batch_size=None), DataLoader(Gratings(1), batch_size=None))
    trainer.save_checkpoint(tmp_path / "mae.ckpt")
    model = MAE.load_from_checkpoint(tmp_path / "mae.ckpt", weights_only=True)
    assert model.optim == OptimConfig(lr=3e-3, warmup_epochs=0)
    after = model.eval()._step(Gratings(100)[99], "val").item()
    assert before > 0.9 and after < 0.7 * before
    assert trainer.callback_metrics["val/loss"] < 0.75 * before


WORKER = """
import sys
from collections import namedtuple
import torch
from torch.nn.parallel import DistributedDataParallel
from vitlab.models.mae import MAE
from vitlab.models.optim import OptimConfig

Batch = namedtuple("Batch", "images targets indices")
torch.set_num_threads(1)
rank, folder = int(sys.argv[1]), sys.argv[2]
kwargs = {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
settings = {"num_classes": 3, "image_size": 32, "channels": 1, "backbone_kwargs": kwargs}
torch.manual_seed(2)
model = MAE(backbone="vit_tiny_patch16_224", optim=OptimConfig(), **settings)
model.forward = lambda batch: model._step(batch, "train")

def run(module, rows):
    losses = []
    for step in range(2):
        model.zero_grad()
        images = torch.randn(8, 1, 32, 32, generator=torch.Generator().manual_seed(step))[rows]
        torch.manual_seed(step)
        loss = module(Batch(images, torch.zeros(len(images)), torch.arange(len(images))))
        loss.backward()
        losses.append(loss.detach())
    return torch.stack(losses), [p.grad.clone() for p in model.parameters() if p.requires_grad]

one = run(model, slice(None))
torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
parallel = DistributedDataParallel(model)  # fails in the second step where a parameter gets no gradient
torch.save((one, run(parallel, slice(rank * 4, rank * 4 + 4))), f"{folder}/{rank}.pt")
torch.distributed.destroy_process_group()
"""


def test_two_processes_equal_one_on_the_joined_batch(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", WORKER]
    running = [subprocess.Popen([*command, str(rank), str(tmp_path)]) for rank in (0, 1)]
    assert [process.wait(timeout=300) for process in running] == [0, 0]
    results = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    one_losses, one_grads = results[0][0]
    torch.testing.assert_close(sum(two[0] for _, two in results) / 2, one_losses, rtol=1e-5, atol=1e-6)
    for _, (_, grads) in results:
        for grad, expected in zip(grads, one_grads, strict=True):
            torch.testing.assert_close(grad, expected, rtol=1e-3, atol=1e-6)
