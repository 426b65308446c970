"""The program's help, and ninety mistakes that each end in one clear line and exit code 2."""

import os
import subprocess
import sys
import time

import pytest
from PIL import Image

from vitlab.cli import main

CNN = ["--config", "configs/cnn.yaml"]


def run(*args, **environment):
    return subprocess.run(
        [sys.executable, "-m", "vitlab", *args], capture_output=True, text=True, timeout=120,
        env={**os.environ, **environment},
    )  # fmt: skip


def test_help_is_quick_and_imports_no_torch():
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        done = run("--help")
        seconds.append(time.perf_counter() - start)
        assert done.returncode == 0 and "fit" in done.stdout and "compare" in done.stdout
    assert min(seconds) < 0.3
    code = (
        "import sys; from vitlab.cli import main; main(['--help']); main(['compare', '--help']);"
        "print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.endswith("False\n")


def test_fit_help_and_print_config_work(nursery):
    command = [sys.executable, "-m", "vitlab", "fit"]
    assert "--model.help" in nursery.run([*command, "--help"]).stdout
    printed = nursery.run([*command, *CNN, "--print_config"]).stdout
    assert "class_path: vitlab.models.classifier.CNNClassifier" in printed and "max_epochs: 40" in printed


def bad_folders(root):
    """Write the folders that the mistakes below speak of."""
    (root / "empty").mkdir()
    (root / "one_class" / "cats").mkdir(parents=True)
    for number in range(4):
        Image.new("L", (8, 8), number).save(root / "one_class" / "cats" / f"{number}.png")
    for label in "ab":
        (root / "corrupt" / label).mkdir(parents=True)
        (root / "corrupt" / label / "bad.png").write_bytes(b"not an image")
        for number in range(8):
            Image.new("L", (8, 8), number).save(root / "corrupt" / label / f"{number}.png")
    (root / "a_file").write_text("x")
    (root / "list.yaml").write_text("- 1\n- 2\n")
    (root / "nothing.yaml").write_text("# later\n")
    (root / "broken.yaml").write_text("model: [1,\n")
    for name, text in YAMLS.items():
        (root / f"{name}.yaml").write_text(text)
    (root / "manifest_no_label.csv").write_text("path\na.png\n")
    (root / "manifest_empty.csv").write_text("path,label\n")
    (root / "manifest_bad_split.csv").write_text("path,label,split\na.png,x,trian\nb.png,y,train\n")
    (root / "manifest_twice.csv").write_text("path,label\na.png,x\na.png,y\n")
    (root / "not_weights.safetensors").write_bytes(b"12345678 nonsense")
    (root / "bad.ckpt").write_bytes(b"nonsense")


YAMLS = {
    "key": "trainer: {max_epoch: 3}",
    "group": "trainr: {max_epochs: 3}",
    "data_key": "data: {batchsize: 3}",
    "model_key": "model: {init_args: {bakbone: resnet18}}",
    "nested_key": "model: {init_args: {optim: {lrr: 3}}}",
    "nested_value": "model: {init_args: {optim: {lr: 1e-3x}}}",
    "source_key": "data: {source: {class_path: ImageFolder, init_args: {rooot: x}}}",
    "class_path": "model: {class_path: vitlab.models.clasifier.CNNClassifier}",
    "not_a_class": "model: 3",
    "value": "data: {batch_size: many}",
    "element": "trainer: {devices: [a]}",
}
MISTAKES = {
    "unknown verb": (["fti"], "did you mean fit?"),
    "no such config": (["fit", "--config", "configs/cn.yaml"], "did you mean configs/cnn.yaml?"),
    "config is a list": (["fit", "--config", "{root}/list.yaml"], "list.yaml"),
    "config is not YAML": (["fit", "--config", "{root}/broken.yaml"], "broken.yaml"),
    "no model": (["fit"], "--model"),
    "unknown flag": (["fit", *CNN, "--trainer.max_epohcs=3"], "trainer.max_epochs"),
    "misspelt data key": (["fit", *CNN, "--data.batchsize=3"], "data.batch_size"),
    "misspelt model key": (["fit", *CNN, "--model.bakbone=resnet18"], "backbone"),
    "misspelt nested key": (["fit", *CNN, "--model.optim.lrr=1"], "lr"),
    "wrong type int": (["fit", *CNN, "--data.batch_size=many"], "data.batch_size"),
    "wrong type float": (["fit", *CNN, "--model.label_smoothing=some"], "label_smoothing"),
    "wrong literal": (["fit", *CNN, "--data.fit=squeeze"], "crop"),
    "wrong channels": (["fit", *CNN, "--data.channels=2"], "channels"),
    "unknown class": (["fit", "--model", "CNNClasifier"], "CNNClassifier"),
    "unknown source": (["fit", *CNN, "--data.source=ImagFolder"], "ImageFolder"),
    "unknown backbone": (["fit", *CNN, "--model.backbone=resnet81"], "resnet18"),
    "unknown backbone setting": (["fit", *CNN, '--model.backbone_kwargs={{"chanels": [8, 8, 8, 8]}}'], "chanels"),
    "ViT for a CNN": (["fit", *CNN, "--model.backbone=vit_tiny_patch16_224"], "ViT"),
    "CNN for a ViT": (["fit", "--config", "configs/vit.yaml", "--model.backbone=resnet18"], "resnet18"),
    "image size not a multiple of the patch": (["fit", "--config", "configs/vit.yaml", "--data.image_size=60"],
                                               "multiple"),
    "image size zero": (["fit", *CNN, "--data.image_size=0"], "image_size"),
    "batch size zero": (["fit", *CNN, "--data.batch_size=0"], "batch_size"),
    "missing folder": (["fit", *CNN, "--data.source=ImageFolder", "--data.source.root=nowhere"], "VITLAB_DATA"),
    "empty folder": (["fit", *CNN, "--data.source=ImageFolder", "--data.source.root={root}/empty"], "empty"),
    "file for a folder": (["fit", *CNN, "--data.source=ImageFolder", "--data.source.root={root}/a_file"], "a_file"),
    "one class": (["fit", *CNN, "--data.source=ImageFolder", "--data.source.root={root}/one_class"], "class"),
    "corrupt image": (["fit", *CNN, "--data.source=ImageFolder", "--data.source.root={root}/corrupt"], "bad.png"),
    "manifest missing": (["fit", *CNN, "--data.source=Csv", "--data.source.root={root}"], "manifest.csv"),
    "manifest without labels": (["fit", *CNN, "--data.source=Csv", "--data.source.root={root}",
                                 "--data.source.manifest=manifest_no_label.csv"], "label"),
    "manifest without rows": (["fit", *CNN, "--data.source=Csv", "--data.source.root={root}",
                               "--data.source.manifest=manifest_empty.csv"], "manifest_empty.csv"),
    "manifest with a wrong split": (["fit", *CNN, "--data.source=Csv", "--data.source.root={root}",
                                     "--data.source.manifest=manifest_bad_split.csv"], "trian"),
    "manifest with a path twice": (["fit", *CNN, "--data.source=Csv", "--data.source.root={root}",
                                    "--data.source.manifest=manifest_twice.csv"], "a.png"),
    "fold out of range": (["fit", *CNN, "{discs}", "--data.fold=9"], "fold"),
    "label fraction zero": (["fit", *CNN, "{discs}", "--data.label_fraction=0"], "label_fraction"),
    "augment out of range": (["fit", *CNN, "{discs}", "--data.augment.hflip=2"], "hflip"),
    "weights missing": (["fit", *CNN, "{discs}", "--model.weights=nowhere.safetensors"], "nowhere.safetensors"),
    "weights are nonsense": (["fit", *CNN, "{discs}", "--model.weights={root}/not_weights.safetensors"], "not_weights"),
    "checkpoint missing": (["fit", *CNN, "{discs}", "--ckpt_path=nowhere.ckpt"], "nowhere.ckpt"),
    "checkpoint is nonsense": (["test", *CNN, "{discs}", "--ckpt_path={root}/bad.ckpt"], "bad.ckpt"),
    "no checkpoint for test": (["test", *CNN, "{discs}"], "--ckpt_path"),
    "SimCLR with one view": (["fit", "--config", "configs/simclr_pretrain.yaml", "{discs}", "--data.views=1",
                              "--data.batch_size=8"], "--data.views=2"),
    "seed is a word": (["fit", *CNN, "--seed_everything=first"], "seed_everything"),
    "compare nothing": (["compare", "{root}/empty"], "empty"),
    "compare a missing folder": (["compare", "nowhere"], "nowhere"),
    "compare in a format that is none": (["compare", "--format", "jsn"], "json"),
    "no checkpoints to test": (["fit", *CNN, "--trainer.enable_checkpointing=false"], "leaves nothing to test"),
    "both anew and on": (["fit", *CNN, "{discs}", "--run.overwrite=true", "--ckpt_path={root}/bad.ckpt"], "bad.ckpt"),
    "data with a misspelt setting": (["data", "phantom", "--sed=1"], "seed"),
    "data with a missing file": (["data", "phantom", "--config=nowhere.yaml"], "nowhere.yaml"),
    "data without a name": (["data"], "name"),
    "data into a folder that is not empty": (["data", "phantom", "--out", "{root}"], "not an empty folder"),
    "data with a seed that is a word": (["data", "phantom", "--seed", "one"], "seed"),
    "data of another name": (["data", "phantm", "--out", "{root}/x"], "phantom"),
    "no flag is short for another": (["fit", *CNN, "--trainer.max_epoch=3"],
                                     "there is no setting trainer.max_epoch, did you mean trainer.max_epochs?"),
    "no flag is short for another, with a space": (["fit", *CNN, "--run.overwrit", "true"],
                                                   "there is no setting run.overwrit, did you mean run.overwrite?"),
    "no short flag in audit": (["audit", "--config=configs/data/phantom.yaml", "--ou={root}/x"], "did you mean out?"),
    "no short flag in data": (["data", "phantom", "--ou={root}/x"], "there is no setting ou, did you mean out?"),
    "no short flag in compare": (["compare", "--form=json"], "did you mean --format?"),
    "the seed's short name": (["fit", *CNN, "--seed=3"], "there is no setting seed, did you mean seed_everything?"),
    "a model's key one level up": (["fit", *CNN, "--model.lr=fast"],
                                   "there is no setting model.lr, did you mean model.optim.lr?"),
    "a model's key at the top": (["fit", *CNN, "--lr=1"], "there is no setting lr, did you mean model.optim.lr?"),
    "a source's key": (["fit", *CNN, "--data.source.sed=1"],
                       "there is no setting data.source.sed, did you mean data.source.seed?"),
    "no number": (["fit", *CNN, "--model.optim.lr=fast"], "model.optim.lr: expected a number, got 'fast'"),
    "null for a number": (["fit", *CNN, "--model.optim.lr=null"], "model.optim.lr: expected a number, got null"),
    "null for a choice": (["fit", *CNN, "--model.mode=null"],
                          "model.mode: expected one of 'finetune', 'linear', got null"),
    "null for a size": (["fit", *CNN, "--data.image_size=null"], "data.image_size: expected a whole number, got null"),
    "half an epoch": (["fit", *CNN, "--trainer.max_epochs=1.5"],
                      "trainer.max_epochs: expected a whole number or null, got '1.5'"),
    "negative number": (["fit", *CNN, "--model.optim.lr=-1"], "model.optim.lr is -1.0; give a number above 0"),
    "negative epochs": (["fit", *CNN, "{discs}", "--trainer.max_epochs=-3"], "max_epochs"),
    "negative seed": (["fit", *CNN, "--seed_everything=-1"], "seed_everything: expected a whole number of at least 0"),
    "no seed": (["fit", *CNN, "--seed_everything=false"], "seed_everything: expected a whole number of at least 0"),
    "neither true nor false": (["fit", *CNN, "--run.overwrite=perhaps"],
                               "run.overwrite: expected true or false, got 'perhaps'"),
    "no list": (["fit", *CNN, "--data.augment.crop_scale=0.5"], "data.augment.crop_scale: expected a list, got '0.5'"),
    "too short a list": (["fit", *CNN, "--model.optim.betas=[0.9]"],
                         "model.optim.betas: expected a list of 2 values, got '[0.9]'"),
    "a word for a group": (["fit", *CNN, "--model.optim=adam"], "model.optim: is a group of settings, got 'adam'"),
    "half a group": (["fit", *CNN, "--model.optim={{lr: ["], "model.optim: is a group of settings, got '{lr: ['"),
    "wrong choice in a model": (["fit", *CNN, "--model.mode=frozen"],
                                "model.mode: expected one of 'finetune', 'linear', got 'frozen'"),
    "wrong choice of several kinds": (["fit", *CNN, "--trainer.precision=half"], "'bf16-mixed', "),
    "a source without its root": (["fit", *CNN, "--data.source=ImageFolder"], "data.source.root: has no default"),
    "a class that is no model": (["fit", *CNN, "--model=torch.nn.Linear"],
                                 "model: unknown class torch.nn.Linear, choose one of CNNClassifier, "),
    "a model cut short": (["fit", *CNN, "--model=CNN"], "model: unknown class CNN, did you mean CNNClassifier?"),
    "unknown callback": (["fit", *CNN, "--trainer.callbacks+=EarlyStoping"], "did you mean EarlyStopping?"),
    "what the data tell": (["fit", *CNN, "--model.num_classes=3"], "model.num_classes is not yours to set"),
    "devices in words": (["fit", *CNN, "{discs}", "--trainer.devices=many"], "trainer: `devices`"),
    "a word too many": (["fit", "cnn", *CNN], "cannot use 'cnn': settings begin with --"),
    "misspelt key in a file": (["fit", *CNN, "--config={root}/key.yaml"],
                               "there is no setting trainer.max_epoch, did you mean trainer.max_epochs?"),
    "misspelt group in a file": (["fit", *CNN, "--config={root}/group.yaml"], "did you mean trainer.max_epochs?"),
    "misspelt data key in a file": (["fit", *CNN, "--config={root}/data_key.yaml"],
                                    "there is no setting data.batchsize, did you mean data.batch_size?"),
    "misspelt model key in a file": (["fit", *CNN, "--config={root}/model_key.yaml"],
                                     "there is no setting model.bakbone, did you mean model.backbone?"),
    "misspelt nested key in a file": (["fit", *CNN, "--config={root}/nested_key.yaml"],
                                      "there is no setting model.optim.lrr, did you mean model.optim.lr?"),
    "wrong nested value in a file": (["fit", *CNN, "--config={root}/nested_value.yaml"],
                                     "model.optim.lr: expected a number, got '1e-3x'"),
    "misspelt source key in a file": (["fit", *CNN, "--config={root}/source_key.yaml"],
                                      "there is no setting data.source.rooot, did you mean data.source.root?"),
    "misspelt module in a file": (["fit", "--config={root}/class_path.yaml"],
                                  "model: unknown class vitlab.models.clasifier.CNNClassifier, did you mean CNNClass"),
    "a number for a class": (["fit", "--config={root}/not_a_class.yaml"], "model: is a group of settings, got '3'"),
    "wrong value in a file": (["fit", *CNN, "--config={root}/value.yaml"],
                              "data.batch_size: expected a whole number, got 'many'"),
    "wrong element in a file": (["fit", *CNN, "--config={root}/element.yaml"],
                                "trainer.devices: expected a whole number or text, got 'a'"),
    "config with nothing in it": (["fit", *CNN, "--config={root}/nothing.yaml"], "nothing.yaml is not a configuration"),
    "help on a misspelt class": (["fit", "--data.source.help=Csvv"], "data.source: unknown class Csvv, did you mean C"),
    "a study elsewhere": (["fit", *CNN, "--run.study=../x"], "../x leads out of"),
    "axes elsewhere": (["fit", *CNN, "--run.axes=a/../../../x"], "x leads out of"),
    "audit of a recipe": (["audit", *CNN], "configs/cnn.yaml is a configuration of fit, it sets model, run, trainer"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_in_one_line(mistake, tmp_path, image_folder, capfd, monkeypatch):
    bad_folders(tmp_path)
    monkeypatch.delenv("VITLAB_DATA", raising=False)
    args, expected = MISTAKES[mistake]
    args = [arg.format(root=tmp_path, discs="{discs}") for arg in args]
    if "{discs}" in args:
        place = args.index("{discs}")
        args[place : place + 1] = ["--data.source=ImageFolder", f"--data.source.root={image_folder}"]
    if args[0] == "fit":
        args[1:1] = [f"--run.root={tmp_path}/runs", "--trainer.accelerator=cpu", "--trainer.max_epochs=1"]
    assert main(args) == 2
    captured = capfd.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("vitlab")]
    assert len(lines) == 1 and expected in lines[0], captured.err
    assert "Traceback" not in captured.err and len(lines[0]) < 600
    assert not list(tmp_path.glob("runs/**/*.csv")) and not list(tmp_path.glob("runs/**/results.json"))


def test_data_reads_a_config(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr("vitlab.data.phantom.generate", lambda folder, seed: made.append((str(folder), seed)))
    (tmp_path / "settings.yaml").write_text(f"out: {tmp_path}/images\nseed: 3\n")
    assert main(["data", "phantom", "--config", str(tmp_path / "settings.yaml"), "--seed=4"]) == 0
    assert made == [(f"{tmp_path}/images", 4)]


@pytest.mark.parametrize(
    ("mistake", "expected"),
    {
        "--model.backbone=resnet81": "resnet18",
        "--data.source.root=nowhere": "VITLAB_DATA",
        "--trainer.accelerator=gpus": "gpus",
        "--trainer.max_epochs=-3": "max_epochs",
        "--data.fold=9": "the folds are 1 to 5",
        "--data.batch_size=8": "holds a finished run",  # said before bad.png is read
    }.items(),
)
def test_a_finished_run_hides_no_other_mistake(mistake, expected, tmp_path, capfd):
    bad_folders(tmp_path)
    finished = tmp_path / "runs" / "x" / "cnn" / "seed0" / "results.json"
    finished.parent.mkdir(parents=True)
    finished.write_text("{}")
    data = ["--data.source=ImageFolder", f"--data.source.root={tmp_path}/corrupt"]
    root = [f"--run.root={tmp_path}/runs", "--run.study=x", "--trainer.accelerator=cpu"]
    assert main(["fit", *CNN, *root, *data, mistake]) == 2
    assert expected in capfd.readouterr().err
    assert finished.read_text() == "{}" and list(finished.parent.iterdir()) == [finished]
