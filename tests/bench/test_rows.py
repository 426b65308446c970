import pytest
import torch
import yaml

from vitlab.bench.fed import Fed
from vitlab.bench.pipeline import BATCH, Pipeline
from vitlab.bench.rows import KINDS, all_rows, chosen
from vitlab.bench.steps import IMAGES, Step
from vitlab.shipped import configs_folder


@pytest.mark.parametrize("views", [1, 2])
def test_both_pipelines_give_the_same_batches(conditions, views):
    row = Pipeline(conditions, 32, views)
    ours, plain = row.ours(), row.plain()
    images = min(BATCH, 16)
    assert row.facts["shape"] == row.facts["plain_shape"] == [*([2] if views == 2 else []), images, 1, 32, 32]
    assert ours.count % images == plain.count % images == 0 and min(ours.count, plain.count) >= images


def test_both_see_every_image_of_the_folder(conditions):
    row = Pipeline(conditions, 32, 1)
    assert len(row.loader.dataset) == len(row.data.rows("train")) == 16
    assert row.data.classes == row.loader.dataset.classes == conditions.classes


@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_both_train_the_same_model_on_the_same_batch(conditions, kind):
    row = Step(conditions, 32, kind)
    count = {sum(p.numel() for p in model.parameters()) for model in (row.module, row.supervised)}
    assert len(count) == 1
    ours, plain = row.ours(), row.plain()
    assert ours.count == plain.count == row.batch_size
    # bf16 has three digits
    assert row.facts["first_loss"] == pytest.approx(row.facts["plain_first_loss"], rel=2e-2)


def test_the_reference_of_a_pretraining_step_is_its_own_backbone(conditions):
    for kind in ("simclr", "mae"):
        row = Step(conditions, 32, kind)
        names = dict(row.supervised.named_parameters())
        own = {name: p.shape for name, p in row.module.backbone.named_parameters()}
        assert {name: p.shape for name, p in names.items() if name in own} == own
        assert row.ours().count == row.plain().count == row.batch_size


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_has_as_many_images_as_the_recipe(kind):
    name = {"simclr": "simclr_pretrain", "mae": "mae_pretrain"}.get(kind, kind)
    recipe = yaml.safe_load((configs_folder() / f"{name}.yaml").read_text())
    assert IMAGES["cpu"][kind] == recipe["data"]["batch_size"]


def test_operations_are_counted(conditions):
    """Forward and backward of a matrix product are three; the patches' embedding has no gradient to hand on."""
    row = Step(conditions, 32, "vit")
    tokens, width, depth = (32 // 8) ** 2 + 1, 128, 6
    linear = 12 * width**2 * tokens * depth * 2 * 3
    assert linear < row.facts["flops_per_image"] < 1.2 * linear
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in row.module.parameters())


def test_rows_are_chosen_by_name_and_by_pattern():
    rows = all_rows("cpu", [64, 224])
    assert list(chosen(rows, [])) == list(rows)
    assert list(chosen(rows, ["step-*"])) == ["step-cnn-64", "step-vit-64", "step-simclr-64", "step-mae-64"]
    with pytest.raises(ValueError, match="no row stepp"):
        list(chosen(rows, ["stepp"]))
    assert "step-cnn-224" in all_rows("cuda", [64, 224])


def test_rows_have_the_names_by_which_they_are_chosen(conditions, monkeypatch):
    monkeypatch.setattr("vitlab.bench.fed.LONG", 1)
    for name, row in all_rows("cpu", [32]).items():
        if name.endswith("-32"):
            assert row(conditions).name == name


def test_threads_are_those_that_were_asked_for():
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_fed_and_unfed_epochs_have_as_many_images(conditions, kind):
    row = Fed(conditions, 32, kind)
    fed, unfed = row.ours(), row.plain()
    assert fed.count % row.facts["images_an_epoch"] == unfed.count % row.facts["images_an_epoch"] == 0
    assert row.facts["images_an_epoch"] == 16 and min(fed.count, unfed.count) >= 16


def test_images_that_no_device_holds_come_in_long_epochs(conditions, monkeypatch):
    monkeypatch.setattr("vitlab.bench.fed.LONG", 3)
    row = Fed(conditions, 32, "vit", resident=False)
    fed, unfed = row.ours(), row.plain()
    assert row.facts["images_an_epoch"] == 3 * IMAGES["cpu"]["vit"]
    assert fed.count % row.facts["images_an_epoch"] == unfed.count % row.facts["images_an_epoch"] == 0
    assert Fed(conditions, 32, "vit", resident=False).batches == 3  # from the same folder
