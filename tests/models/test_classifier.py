import copy
import warnings
from types import SimpleNamespace

import jsonargparse
import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score
from torch.nn import functional as F
from torch.utils.data import DataLoader

from vitlab.data.batches import Batch
from vitlab.models.backbones import save_backbone
from vitlab.models.classifier import CNNClassifier, ViTClassifier
from vitlab.models.optim import OptimConfig

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
CNN = {"backbone": "resnet18", "backbone_kwargs": {"channels": [8, 8, 16, 16]}}
VIT = {"backbone": "vit_dim128_depth6_patch8", "backbone_kwargs": {"embed_dim": 32, "depth": 2, "num_heads": 2}}
BOTH = pytest.mark.parametrize("kind", ["cnn", "vit"])


def build(kind, **settings):
    model, own = (CNNClassifier, CNN) if kind == "cnn" else (ViTClassifier, VIT)
    optim = settings.pop("optim", {"lr": 3e-3, "warmup_epochs": 1, "weight_decay": 0.0})
    common = {"num_classes": 3, "image_size": 32, "channels": 1, "optim": OptimConfig(**optim)}
    return model(**(common | own | settings))


def make_batch(n=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(3, (n,), generator=generator)
    return Batch(torch.randn(n, 1, 32, 32, generator=generator), targets, torch.arange(n))


class Data(LightningDataModule):
    """The same batches in every epoch, as the data module hands them over."""

    def __init__(self, train, val=(), test=(), class_counts=(1, 1, 1)):
        super().__init__()
        self.batches, self.class_counts = {"train": train, "val": val, "test": test}, list(class_counts)

    def _loader(self, split):
        return DataLoader(list(self.batches[split]), batch_size=None)

    def train_dataloader(self):
        return self._loader("train")

    def val_dataloader(self):
        return self._loader("val") if self.batches["val"] else []

    def test_dataloader(self):
        return self._loader("test")

    def predict_dataloader(self):
        return [self._loader("train"), self._loader("test")]


def trainer(**settings):
    return Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, **settings,
    )  # fmt: skip


class Losses(Callback):
    """Keeps the training loss of every step."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, module, outputs, *_):
        self.seen.append(outputs["loss"].item())


@BOTH
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_sixteen_images_are_learned_by_heart(kind, precision):
    batch = make_batch()
    fit = trainer(max_epochs=60, precision=precision, check_val_every_n_epoch=60, num_sanity_val_steps=0)
    fit.fit(build(kind), datamodule=Data([batch], [batch]))
    assert fit.callback_metrics["val/accuracy"] == fit.callback_metrics["val/balanced_accuracy"] == 1.0
    assert fit.callback_metrics["val/loss"] < 0.5  # chance is 1.1


@BOTH
def test_linear_probe_leaves_the_backbone_bit_equal(kind):
    model = build(kind, mode="linear", optim={"lr": 0.1, "warmup_epochs": 0})
    before, head = copy.deepcopy(model.backbone.state_dict()), model.head[1].weight.detach().clone()
    losses = Losses()
    trainer(max_epochs=30, callbacks=[losses]).fit(model, datamodule=Data([make_batch()]))
    after = model.backbone.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())  # batch norms' statistics too
    assert not torch.equal(model.head[1].weight, head) and losses.seen[-1] < 0.5 * losses.seen[0]


@BOTH
def test_linear_probe_is_in_eval_mode_and_trains_the_head_alone(kind):
    model = build(kind, mode="linear", drop_path=0.9)
    model.train()
    assert model.training and model.head.training and not any(m.training for m in model.backbone.modules())
    images = make_batch().images
    assert torch.equal(model.features(images), model.features(images)) and not model.features(images).requires_grad
    model._step(make_batch(), "train").backward()
    assert all(p.grad is None for p in model.backbone.parameters())
    model.trainer = SimpleNamespace(
        estimated_stepping_batches=9, num_training_batches=3, accumulate_grad_batches=1, world_size=1, datamodule=None
    )
    groups = model.configure_optimizers()["optimizer"].param_groups
    assert {id(p) for group in groups for p in group["params"]} == {id(p) for p in model.head.parameters()}


def test_linear_probe_says_what_it_ignores():
    with pytest.warns(UserWarning, match="layer_decay"):
        build("vit", mode="linear", optim={"layer_decay": 0.7})
    with pytest.warns(UserWarning, match="drop_path"):
        build("cnn", mode="linear", drop_path=0.1)


def test_linear_probe_normalises_its_features():
    """Features that differ in scale and offset alone give the same logits."""
    model = build("vit", mode="linear").train()
    features = torch.randn(64, 32)
    expected = model.head(features)
    torch.testing.assert_close(model.head(1e3 * features + 7), expected, rtol=1e-3, atol=1e-4)
    assert not list(model.head[0].parameters())


@BOTH
def test_weights_are_loaded_strictly(kind, tmp_path):
    donor = build(kind)
    save_backbone(donor.backbone, tmp_path / "backbone.safetensors")
    model = build(kind, weights=str(tmp_path / "backbone.safetensors"))
    batch = make_batch()
    torch.testing.assert_close(model.eval().features(batch.images), donor.eval().features(batch.images))
    assert model.weights == str(tmp_path / "backbone.safetensors")
    wrong = {"cnn": {"channels": [8, 8, 16, 32]}, "vit": {"embed_dim": 32, "depth": 3, "num_heads": 2}}[kind]
    with pytest.raises(ValueError, match=r"backbone\.safetensors holds"):
        build(kind, weights=str(tmp_path / "backbone.safetensors"), backbone_kwargs=wrong)


@BOTH
def test_checkpoint_holds_plain_values_and_loads(kind, tmp_path):
    optim = {"lr": 0.02, "betas": (0.8, 0.9), "layer_decay": 0.9}
    model = build(kind, optim=optim, label_smoothing=0.1, mixup=0.2)
    run = trainer(max_epochs=1)
    run.fit(model, datamodule=Data([make_batch()]))
    run.save_checkpoint(tmp_path / "a.ckpt")
    held = torch.load(tmp_path / "a.ckpt", weights_only=True)["hyper_parameters"]
    assert held["optim"]["lr"] == 0.02 and held["label_smoothing"] == 0.1 and held["backbone"] == model.backbone_name
    again = type(model).load_from_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    assert again.optim == model.optim == OptimConfig(**optim) and again.label_smoothing == 0.1
    images = make_batch().images
    assert torch.equal(again.eval()(images), model.eval()(images))


@pytest.mark.parametrize("optim", [{"lr": 0.5}, jsonargparse.Namespace(lr=0.5), OptimConfig(lr=0.5)])
def test_optim_is_taken_in_every_form(optim):
    model = CNNClassifier(num_classes=3, image_size=32, channels=1, optim=optim, **CNN)
    assert model.optim == OptimConfig(lr=0.5)


def test_class_weights_come_from_the_training_images():
    model = build("vit", class_weights="balanced")
    batch = make_batch()
    trainer(max_epochs=1).fit(model, datamodule=Data([batch], class_counts=[10, 40, 50]))
    assert model.loss_weights.tolist() == pytest.approx([100 / 30, 100 / 120, 100 / 150])
    logits = torch.randn(16, 3)
    losses = -F.log_softmax(logits, 1)[range(16), batch.targets]
    weights = model.loss_weights[batch.targets]
    torch.testing.assert_close(model.loss(logits, batch.targets), (losses * weights).sum() / weights.sum())
    plain = build("vit")
    trainer(max_epochs=1).fit(plain, datamodule=Data([batch], class_counts=[10, 40, 50]))
    assert plain.loss_weights.tolist() == [1, 1, 1]


def test_training_loss_is_smoothed_and_evaluation_is_not():
    model = build("vit", label_smoothing=0.3, class_weights="balanced").eval()
    model.loss_weights.copy_(torch.tensor([1.0, 2.0, 3.0]))
    batch = make_batch()
    logits = model(batch.images)
    smooth = F.one_hot(batch.targets, 3) * 0.7 + 0.1
    weighted = -(smooth * model.loss_weights * F.log_softmax(logits, 1)).sum(1)
    expected = weighted.sum() / model.loss_weights[batch.targets].sum()
    torch.testing.assert_close(model._step(batch, "train"), expected)
    torch.testing.assert_close(model._step(batch, "val"), F.cross_entropy(logits, batch.targets))


@pytest.mark.parametrize("sizes", [(12,), (5, 5, 2), (6, 5, 1)])
def test_evaluation_counts_every_image_once(sizes):
    """Metrics are those of scikit-learn however the images fall into batches; rows marked -1 count nowhere."""
    model = build("vit").eval()
    batch = make_batch(12, seed=3)
    with torch.no_grad():
        logits = model(batch.images)
    batches, start = [], 0
    for size in sizes:
        rows = [*range(start, start + size), 0, 0]
        marks = torch.tensor([*rows[:-2], -1, -1])
        batches.append(Batch(batch.images[rows], batch.targets[rows], marks))
        start += size
    batches.append(Batch(batch.images[:2], batch.targets[:2], torch.tensor([-1, -1])))  # a rank with repeats alone
    run = trainer()
    (found,) = run.test(model, datamodule=Data([], test=batches), verbose=False)
    truth, predicted = batch.targets.numpy(), logits.argmax(1).numpy()
    assert found["test/accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    assert found["test/balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert found["test/loss"] == pytest.approx(F.cross_entropy(logits, batch.targets).item(), rel=1e-5)


def test_a_class_that_the_split_lacks_does_not_count_as_missed():
    model, batch = build("cnn").eval(), make_batch(12, seed=3)
    with torch.no_grad():
        predicted = model(batch.images).argmax(1)
    other = next(c for c in range(3) if c != predicted[0])
    targets = torch.full_like(batch.targets, int(other))
    targets[1:8] = predicted[1:8].where(predicted[1:8] != predicted[0], other)  # what is said of the first is of none
    (found,) = trainer().test(model, datamodule=Data([], test=[batch._replace(targets=targets)]), verbose=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn says the same
        expected = balanced_accuracy_score(targets.numpy(), predicted.numpy())
    assert found["test/balanced_accuracy"] == pytest.approx(expected)
    assert expected > recall_score(targets.numpy(), predicted.numpy(), average="macro", zero_division=0)


def test_prediction_carries_the_row_of_each_image():
    model, batch = build("cnn").eval(), make_batch(8)
    shifted = batch._replace(indices=torch.arange(100, 108))
    train, test = trainer().predict(model, datamodule=Data([batch], test=[shifted]))
    assert train[0]["indices"].tolist() == list(range(8)) and test[0]["indices"].tolist() == list(range(100, 108))
    with torch.no_grad():
        torch.testing.assert_close(train[0]["logits"], model(batch.images))


@pytest.mark.parametrize("settings", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_mixing_keeps_images_and_targets_together(settings):
    model = build("vit", **settings)
    pairs = []
    model.loss = lambda logits, targets: pairs.append(targets) or logits.sum()
    model.forward = lambda images: pairs.append(images) or images.flatten(1)
    # image k is all k: after mixing, its mean tells the share of each class (within a pixel's rounding for boxes)
    levels = torch.arange(3).repeat(4)
    batch = Batch(levels.float().view(-1, 1, 1, 1).expand(-1, 1, 32, 32).contiguous(), levels, torch.arange(12))
    for _ in range(5):
        model._step(batch, "train")
    mixed = 0
    for images, targets in zip(pairs[::2], pairs[1::2], strict=True):
        assert targets.shape == (12, 3)
        torch.testing.assert_close(targets.sum(1), torch.ones(12))
        torch.testing.assert_close(images.mean((1, 2, 3)), targets @ torch.arange(3.0), atol=1e-4, rtol=0)
        mixed += int((targets.max(1).values < 1).any())
    assert mixed >= 3
    pairs.clear()
    model._step(batch, "val")
    assert torch.equal(pairs[0], batch.images)  # evaluation mixes nothing


@BOTH
def test_steps_draw_by_seed_and_step_alone(kind, monkeypatch, tmp_path):
    """A run that is stopped after a step and resumed repeats, loss by loss, one that is not."""

    def run(folder, *, seed=1, noise=0, **settings):
        monkeypatch.setenv("PL_GLOBAL_SEED", str(seed))
        torch.manual_seed(0)
        model = build(kind, drop_path=0.5, mixup=0.4, optim={"lr": 1e-3, "warmup_epochs": 0})
        torch.manual_seed(noise)  # what was drawn before must not matter
        losses = Losses()
        fit = trainer(callbacks=[losses], max_epochs=3, **settings)
        fit.fit(model, datamodule=Data([make_batch(seed=s) for s in range(3)]), ckpt_path=folder)
        return fit, losses.seen

    class Stop(Callback):
        def on_train_epoch_end(self, trainer, module):
            trainer.save_checkpoint(tmp_path / "stopped.ckpt")
            trainer.should_stop = True

    _, whole = run(None)
    assert run(None, noise=5)[1] == whole and run(None, seed=2)[1] != whole

    monkeypatch.setenv("PL_GLOBAL_SEED", "1")
    torch.manual_seed(0)
    model, losses = build(kind, drop_path=0.5, mixup=0.4, optim={"lr": 1e-3, "warmup_epochs": 0}), Losses()
    stopped = trainer(callbacks=[losses, Stop()], max_epochs=3)
    stopped.fit(model, datamodule=Data([make_batch(seed=s) for s in range(3)]))
    assert losses.seen == whole[:3]
    assert run(tmp_path / "stopped.ckpt", noise=9)[1] == whole[3:]


def test_a_step_draws_what_torch_draws_from_its_seed(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    model = build("vit")
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(total_batch_idx=5))
    model.trainer = SimpleNamespace(fit_loop=loop)
    model.on_train_batch_start(None, 0)
    drawn = torch.rand(4)
    torch.manual_seed((3 * 0x9E3779B97F4A7C15 + 5 * 0xBF58476D1CE4E5B9) % 2**63)
    assert torch.equal(drawn, torch.rand(4))


def test_memory_format():
    images = make_batch().images
    fast, plain = build("cnn"), build("cnn", channels_last=False)
    plain.load_state_dict(fast.state_dict())
    assert fast.backbone.layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert plain.backbone.layer1[0].conv1.weight.is_contiguous()
    torch.testing.assert_close(fast.eval()(images), plain.eval()(images), rtol=1e-4, atol=1e-5)


@BOTH
def test_regularisers_act_in_training_alone(kind):
    model = build(kind, drop_path=0.5, **({"patch_drop": 0.5} if kind == "vit" else {}))
    for module in model.backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)  # timm starts a ResNet's branches at 0: nothing to drop
    plain, images, seen = build(kind), make_batch().images, []
    plain.load_state_dict(model.state_dict())
    if kind == "vit":
        model.backbone.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    assert torch.equal(model.eval()(images), plain.eval()(images))
    assert not torch.equal(model.train()(images), plain.train()(images))
    assert seen in ([], [17, 9])  # 16 patches and a class token; half of the patches in training


@BOTH
def test_logits_are_float32_under_autocast(kind):
    model, seen = build(kind).eval(), []
    model.backbone.register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        assert model(make_batch().images).dtype == torch.float32
    assert torch.bfloat16 in seen or kind == "vit"  # a ViT's last norm is float32


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("cnn", {"backbone": "vit_tiny_patch16_224", "backbone_kwargs": {}}, ["vit_tiny_patch16_224", "ViTClassifier"]),
        ("vit", {"backbone": "resnet18", "backbone_kwargs": None}, ["resnet18", "CNNClassifier"]),
        ("vit", {"image_size": 36}, ["36", "32 or 40"]),
        ("cnn", {"label_smoothing": 1.0}, ["model.label_smoothing"]),
        ("cnn", {"mixup": -0.1}, ["model.mixup"]),
        ("vit", {"cutmix": -1.0}, ["model.cutmix"]),
        ("cnn", {"weights": "x.safetensors", "pretrained": True}, ["model.weights", "model.pretrained"]),
    ],
)
def test_mistakes_are_one_line(kind, settings, words):
    with pytest.raises(ValueError) as error:
        build(kind, **settings)
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)


def test_two_views_are_refused():
    with pytest.raises(ValueError, match=r"--data\.views=1"):
        build("cnn")._step(Batch(torch.zeros(2, 4, 1, 32, 32), torch.zeros(4), torch.arange(4)), "train")


def test_shuffled_labels_teach_nothing_about_others():
    """Where images say nothing about their labels, validation stays near chance, however well training goes."""
    model = build("cnn", optim={"lr": 1e-2, "warmup_epochs": 0})
    train, val = make_batch(48, seed=1), make_batch(600, seed=2)
    fit = trainer(max_epochs=40, check_val_every_n_epoch=40, num_sanity_val_steps=0)
    fit.fit(model, datamodule=Data([train], [val]))
    assert fit.callback_metrics["train/loss"] < 0.5
    assert abs(float(fit.callback_metrics["val/balanced_accuracy"]) - 1 / 3) < 0.1
