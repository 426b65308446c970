"""Every shipped YAML runs: one step of training and validation through the real command line."""

import os
from pathlib import Path

import pytest
import torch
import yaml

from vitlab.cli import main

CONFIGS = Path(__file__).parents[1] / "configs"
RECIPES = sorted(path.name for path in CONFIGS.glob("*.yaml") if path.name != "base.yaml")
ONE_STEP = [
    "--trainer.fast_dev_run=true",
    "--trainer.accelerator=cpu",
    "--data.batch_size=8",
    "--probe.every_n_epochs=0",
]


def unpretrained(recipe):
    """Return what lets a fine-tuning recipe run without the file of a pretraining, which it names no default for."""
    own = yaml.safe_load((CONFIGS / recipe).read_text())["model"]["init_args"]
    return ["--model.weights=null"] if "weights" in own else []


def discs(folder):
    return ["--data.source=ImageFolder", f"--data.source.root={folder}", "--data.name=discs"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_runs_a_step(recipe, image_folder, tmp_path):
    args = ["fit", "--config", f"configs/{recipe}", *discs(image_folder), *ONE_STEP, f"--run.root={tmp_path}"]
    assert main([*args, *unpretrained(recipe)]) == 0
    assert list(tmp_path.iterdir()) == []  # a trial step leaves no run behind


@pytest.mark.parametrize("data", sorted(path.name for path in (CONFIGS / "data").glob("*.yaml")))
def test_every_data_set_runs_a_step(data, data_root, tmp_path, monkeypatch):
    monkeypatch.setenv("VITLAB_DATA", str(data_root))
    args = [
        "fit",
        "--config",
        "configs/cnn.yaml",
        "--config",
        f"configs/data/{data}",
        *ONE_STEP,
        f"--run.root={tmp_path}",
    ]
    assert main(args) == 0


@pytest.mark.parametrize("overlay", ["cpu.yaml", "ddp.yaml", "fsdp.yaml"])
def test_hardware_overlays_run_a_step(overlay, image_folder, tmp_path):
    flags = [] if overlay == "cpu.yaml" else ["--trainer.devices=1"]
    args = ["fit", "--config", "configs/vit.yaml", "--config", f"configs/hardware/{overlay}", *discs(image_folder)]
    assert main([*args, *ONE_STEP, *flags, f"--run.root={tmp_path}"]) == 0


@pytest.mark.gpu
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_runs_a_step_on_a_gpu(recipe, image_folder, tmp_path):
    assert torch.cuda.is_available()
    args = ["fit", "--config", f"configs/{recipe}", "--config", "configs/hardware/gpu.yaml", *discs(image_folder)]
    args += ["--trainer.fast_dev_run=true", "--data.batch_size=8", f"--run.root={tmp_path}", *unpretrained(recipe)]
    assert main(args) == 0


def test_hardware_overlays_speak_of_nothing_else():
    for path in (CONFIGS / "hardware").glob("*.yaml"):
        assert set(yaml.safe_load(path.read_text())) <= {"trainer", "model"}, path.name


def test_pairs_share_backbone_augmentation_and_supervised_settings():
    """A pretraining and its fine-tuning must be of the same network, and both of a kind train on the same data."""
    recipe = {path.stem: yaml.safe_load(path.read_text()) for path in CONFIGS.glob("*.yaml")}
    settings = {name: found["model"]["init_args"] for name, found in recipe.items() if "model" in found}
    network = {name: {key: own[key] for key in own if key.startswith("backbone")} for name, own in settings.items()}
    assert network["cnn"] == network["simclr_pretrain"] == network["cnn_simclr"]
    assert network["vit"] == network["mae_pretrain"] == network["vit_mae"]
    assert recipe["cnn"]["data"] == recipe["cnn_simclr"]["data"] and recipe["vit"]["data"] == recipe["vit_mae"]["data"]


def test_each_recipe_opens_with_its_command_score_and_time():
    for name in RECIPES:
        head = [line for line in (CONFIGS / name).read_text().splitlines() if line.startswith("#")]
        assert head[0].startswith(f"# python -m vitlab fit --config configs/{name}"), name
        assert any("cores" in line or "GPU" in line for line in head), (
            f"{name} does not say how long it takes and where"
        )
    assert os.environ["OMP_NUM_THREADS"] == "1"
