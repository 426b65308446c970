import sys

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from vitlab.data.batches import Batch
from vitlab.models.optim import OptimConfig
from vitlab.models.simclr import SimCLR, feature_std

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def build(**settings):
    settings = {"backbone": "resnet18_half", "image_size": 32, "channels": 1, "optim": OptimConfig()} | settings
    return SimCLR(num_classes=3, **settings)


def batch_of(images):
    n = images.shape[-4]
    return Batch(images, torch.zeros(n, dtype=torch.long), torch.arange(n))


def numpy_nt_xent(first, second, temperature):
    """Equation 1 of the paper, pair by pair, in float64."""
    z = np.concatenate([first, second]).astype(np.float64)
    n = len(first)
    cosine = np.array([[a @ b / np.sqrt((a @ a) * (b @ b)) for b in z] for a in z])
    losses = []
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        others = [np.exp(cosine[i, k] / temperature) for k in range(2 * n) if k != i]
        losses.append(-np.log(np.exp(cosine[i, j] / temperature) / sum(others)))
    return np.mean(losses)


@pytest.mark.parametrize(("n", "channels", "projection_dim", "temperature"),
                         [(2, 1, 8, 0.5), (5, 3, 16, 0.1), (9, 1, 128, 1.0), (16, 1, 4, 0.07)])  # fmt: skip
def test_loss_equals_numpy(n, channels, projection_dim, temperature):
    model = build(channels=channels, projection_dim=projection_dim, temperature=temperature)
    images = torch.randn(2, n, channels, 32, 32)
    with torch.no_grad():
        loss = model._step(batch_of(images), "train").item()
        z = model.projection(model.backbone(images.reshape(2 * n, channels, 32, 32))).numpy()  # same batch statistics
    assert loss == pytest.approx(numpy_nt_xent(z[:n], z[n:], temperature), rel=2e-5)


def test_loss_is_float32_under_autocast():
    model = build()
    seen = []
    model.criterion.register_forward_pre_hook(lambda _, z: seen.extend((*z, torch.is_autocast_enabled("cpu"))))
    with torch.autocast("cpu", torch.bfloat16):
        loss = model._step(batch_of(torch.randn(2, 4, 1, 32, 32)), "train")
    assert seen[0].dtype == seen[1].dtype == loss.dtype == torch.float32 and seen[2] is False


def test_views_pass_the_backbone_together():
    model = build()
    shapes = []
    model.backbone.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
    model._step(batch_of(torch.randn(2, 4, 1, 32, 32)), "train")
    assert shapes == [(8, 1, 32, 32)]


@pytest.mark.parametrize("backbone", ["resnet18_half", "vit_dim128_depth6_patch8"])
def test_gradients_reach_every_parameter(backbone):
    model = build(backbone=backbone)
    model._step(batch_of(torch.randn(2, 4, 1, 32, 32)), "train").backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize(
    ("settings", "shape", "message"),
    [
        ({}, (4, 1, 32, 32), "--data.views=2"),
        ({}, (2, 1, 1, 32, 32), "--data.batch_size"),
        ({"temperature": 0.0}, (2, 4, 1, 32, 32), "temperature"),
    ],
)
def test_mistakes_are_one_line(settings, shape, message):
    with pytest.raises(ValueError, match=message) as caught:
        build(**settings)._step(batch_of(torch.randn(shape)), "train")
    assert "\n" not in str(caught.value)


def test_feature_std_tells_collapse():
    spread, same = torch.randn(512, 64), torch.randn(1, 64).expand(512, 64) + 1e-4 * torch.randn(512, 64)
    assert feature_std(spread) == pytest.approx(1, abs=0.05)
    assert feature_std(same) < 0.01
    assert feature_std(1000 * spread) == pytest.approx(feature_std(spread).item(), abs=1e-5)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


class Views(torch.utils.data.Dataset):
    """Sixteen patterns; the two views of one differ by noise and brightness."""

    def __init__(self):
        self.patterns = torch.nn.functional.interpolate(torch.randn(16, 1, 4, 4, generator=seeded(0)), size=32)

    def __len__(self):
        return 30

    def __getitem__(self, step):
        noise = torch.randn(2, 16, 1, 32, 32, generator=seeded(step))
        return batch_of(self.patterns * (1 + 0.2 * noise[:, :, :, :1, :1]) + 0.3 * noise)


class OneView(Views):
    def __len__(self):
        return 1

    def __getitem__(self, step):
        return batch_of(self.patterns)


def test_training_lowers_the_loss_and_spreads_the_features(tmp_path):
    model = build(optim=OptimConfig(lr=1e-3, warmup_epochs=0))
    train, val = (DataLoader(data, batch_size=None) for data in (Views(), OneView()))
    before = model._step(Views()[0], "train").item()
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, num_sanity_val_steps=1,
    )  # fmt: skip
    trainer.fit(model, train, val)
    trainer.save_checkpoint(tmp_path / "simclr.ckpt")
    model = SimCLR.load_from_checkpoint(tmp_path / "simclr.ckpt", weights_only=True)
    assert model.optim == OptimConfig(lr=1e-3, warmup_epochs=0) and model.criterion.temperature == 0.2
    assert model.train()._step(Views()[100], "train").item() < before - 0.5
    assert 0.3 < trainer.callback_metrics["train/feature_std"] < 1.1
    assert "val/loss" not in trainer.callback_metrics


WORKER = """
import sys
from collections import namedtuple
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from vitlab.models.optim import OptimConfig
from vitlab.models.simclr import SimCLR

Batch = namedtuple("Batch", "images targets indices")
torch.set_num_threads(1)
rank, folder = int(sys.argv[1]), sys.argv[2]
images = torch.randn(2, 12, 1, 32, 32, generator=torch.Generator().manual_seed(1))
torch.manual_seed(2)
model = SimCLR(num_classes=3, image_size=32, channels=1, optim=OptimConfig(), temperature=0.2)
# No batch norm: its statistics are each process's own on a CPU, and the loss is what is compared here.
model.backbone, model.projection = nn.Sequential(nn.Flatten(), nn.Linear(1024, 32)), nn.Linear(32, 16)
model.forward = lambda batch: model._step(batch, "train")

def run(module, images):
    model.zero_grad()
    loss = module(Batch(images, torch.zeros(images.shape[1]), torch.arange(images.shape[1])))
    loss.backward()
    return loss.detach(), [p.grad.clone() for p in model.parameters()]

one = run(model, images)
torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
two = run(DistributedDataParallel(model), images[:, rank * 6 : rank * 6 + 6])
torch.save((one, two), f"{folder}/{rank}.pt")
torch.distributed.destroy_process_group()
"""


def test_two_processes_equal_one_on_the_joined_batch(tmp_path, nursery):
    running = [nursery.popen([sys.executable, "-c", WORKER, str(rank), str(tmp_path)]) for rank in (0, 1)]
    assert [process.wait(timeout=300) for process in running] == [0, 0]
    results = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    one_loss, one_grads = results[0][0]
    assert torch.stack([two[0] for _, two in results]).mean().item() == pytest.approx(one_loss.item(), rel=1e-6)
    assert one_grads[0].abs().max() > 1e-4
    for _, (_, grads) in results:
        for grad, expected in zip(grads, one_grads, strict=True):
            torch.testing.assert_close(grad, expected, rtol=1e-4, atol=1e-7)
