"""Mistakes in a study file and on its command line: one line that says what to do, exit code 2, nothing written."""

import json

import pytest

from vitlab.cli import main
from vitlab.study import worker

GOOD = {"seeds": [0]}
MISTAKES = {
    "unknown key": ({"sedes": [0]}, [], "did you mean seeds?"),
    "no data": ({"data": None}, [], "data must name a YAML file"),
    "no such data": ({"data": "configs/data/phantm.yaml"}, [], "did you mean configs/data/phantom.yaml?"),
    "no approaches": ({"approaches": {}}, [], "approaches must map names"),
    "an approach without recipes": ({"approaches": {"cnn": []}}, [], "approaches.cnn"),
    "no such recipe": ({"approaches": {"cnn": ["cmn"]}}, [], "did you mean configs/cnn.yaml?"),
    "approach that is no folder": ({"approaches": {"a/b": ["cnn"]}}, [], "'a/b' must be a name"),
    "name that is no folder": ({"name": ".."}, [], "must be a name"),
    "seed that is a word": ({"seeds": ["one"]}, [], "seeds must be whole numbers"),
    "seeds that are no list": ({"seeds": 3}, [], "seeds must be a list"),
    "a seed twice": ({"seeds": [1, 1]}, [], "twice"),
    "fold zero": ({"folds": [0]}, [], "folds must be whole numbers from 1"),
    "fold that is not there": ({"folds": [9]}, [], "fold 9 does not exist"),
    "fraction above one": ({"label_fractions": [2]}, [], "label_fractions must be shares"),
    "grid without values": ({"grid": {"model.optim.lr": []}}, [], "grid.model.optim.lr must be a list"),
    "grid over an unknown setting": ({"grid": {"model.optim.lrr": [1]}}, [], "did you mean model.optim.lr?"),
    "grid over seeds": ({"grid": {"seed_everything": [1]}}, [], "use seeds"),
    "unknown setting": ({"settings": {"trainer.max_epohcs": 1}}, [], "trainer.max_epochs"),
    "setting of a wrong type": ({"settings": {"data.batch_size": "many"}}, [], "batch_size"),
    "setting for a recipe that is not there": ({"settings": {"cnm:model.drop_path": 0}}, [], "did you mean cnn?"),
    "setting of the run": ({"settings": {"run.study": "x"}}, [], "set by the study itself"),
    "output that is no choice": ({"settings": {"run.robustness": "some"}}, [], "robustness"),
    "retries below zero": ({"retries": -1}, [], "retries is -1"),
    "chain that ends in a pretraining": ({"approaches": {"a": ["simclr_pretrain"]}}, [], "ends in simclr_pretrain"),
    "chain with a classifier in it": ({"approaches": {"a": ["cnn", "cnn_simclr"]}}, [], "only the last may be none"),
    "several devices": ({"settings": {"trainer.devices": 2}}, [], "trainer.devices must be 1"),
    # what `fit` would refuse at its start
    "backbone that is none": ({"settings": {"cnn:model.backbone": "resnet81"}}, [], "timm has no model resnet81"),
    "settings of a backbone that has none such": ({"settings": {"cnn:model.backbone_kwargs": {"chanels": [8]}}}, [],
                                                  "chanels"),
    "augmentation out of range": ({"settings": {"data.augment.hflip": 2}}, [], "hflip must be between 0 and 1"),
    "batch size zero": ({"settings": {"data.batch_size": 0}}, [], "data.batch_size is 0"),
    "no epochs": ({"settings": {"*:trainer.max_epochs": 0}}, [], "trainer.max_epochs=0 leaves no checkpoint"),
    "negative epochs": ({"settings": {"*:trainer.max_epochs": -3}}, [], "max_epochs"),
    "metric that is none": ({"settings": {"checkpoint.monitor": "val/acuracy"}}, [], "did you mean val/accuracy?"),
    "what the data tell": ({"settings": {"model.num_classes": 2}}, [], "model.num_classes is not yours to set"),
    "weights that are nowhere": ({"settings": {"model.weights": "nowhere.safetensors"}}, [], "nowhere.safetensors"),
    "image size that patches do not fill": ({"approaches": {"vit": ["vit"]}, "settings": {"data.image_size": 30}}, [],
                                            "multiple"),
    "fine-tuning without its pretraining": ({"approaches": {"a": ["cnn_simclr"]}}, [], "give --model.weights="),
    "chain of two architectures": (
        {"approaches": {"a": ["simclr_pretrain", "cnn_simclr"]},
         "settings": {"cnn_simclr:model.backbone_kwargs": {"channels": [8, 8, 8, 8]}}}, [],
        "cnn_simclr of a: the backbone of simclr_pretrain holds resnet18"),
    "chain of a ViT and a CNN": ({"approaches": {"a": ["mae_pretrain", "cnn_simclr"]}}, [],
                                 "cnn_simclr of a: the backbone of mae_pretrain holds vit"),
    "unknown option": (GOOD, ["--dry_rum"], "did you mean --dry_run?"),
    "no workers": (GOOD, ["--workers", "0"], "at least 1"),
    "a time that is none": (GOOD, ["--max_time", "soon"], "90m"),
    "unknown approach": (GOOD, ["--only", "cmn"], "did you mean cnn?"),
}


class InThisProcess:
    """A worker that answers at once: to start one takes seconds, and there are many mistakes."""

    def __init__(self, events, threads, device):
        self.events = events

    def send(self, order):
        answer = {"check": worker.check, "build": worker.try_to_build}[order["do"]]
        self.events.put((self, json.loads(json.dumps(answer(json.loads(json.dumps(order)))))))

    def kill(self):
        """End nothing."""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_in_one_line(mistake, study, capfd, monkeypatch):
    monkeypatch.setattr("vitlab.study.checks.Worker", InThisProcess)
    changes, flags, expected = MISTAKES[mistake]
    if changes.get("settings"):
        changes = {**changes, "settings": {**study.content["settings"], **changes["settings"]}}
    study.content.update(changes)
    study.write()
    assert study.run(*flags) == 2
    error = capfd.readouterr().err
    assert len(error.splitlines()) == 1 and expected in error and error.startswith("vitlab study: "), error
    assert not study.root.exists()


def test_images_that_are_not_there_are_named_and_nothing_of_the_parser_is(study, capfd, monkeypatch):
    monkeypatch.setattr("vitlab.study.checks.Worker", InThisProcess)
    study.data.write_text(study.data.read_text().replace("root: /", "root: /nowhere/"))
    assert study.run() == 2
    error = capfd.readouterr().err
    assert error.startswith("vitlab study: there is no /nowhere/") and len(error.splitlines()) == 1, error
    assert not study.root.exists()


def test_a_file_that_is_not_there_is_named(capfd, tmp_path):
    assert main(["study", "--config", "configs/studies/phantm.yaml"]) == 2
    assert "did you mean configs/studies/phantom.yaml?" in capfd.readouterr().err
    assert main(["study"]) == 2 and "--config" in capfd.readouterr().err
    (tmp_path / "list.yaml").write_text("- 1\n")
    assert main(["study", "--config", str(tmp_path / "list.yaml")]) == 2 and "list.yaml" in capfd.readouterr().err
