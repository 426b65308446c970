"""Mistakes in a study file and on its command line: one line that says what to do, exit code 2, nothing written."""

import pytest

from vitlab.cli import main

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
    "unknown option": (GOOD, ["--dry_rum"], "did you mean --dry_run?"),
    "no workers": (GOOD, ["--workers", "0"], "at least 1"),
    "a time that is none": (GOOD, ["--max_time", "soon"], "90m"),
    "unknown approach": (GOOD, ["--only", "cmn"], "did you mean cnn?"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_in_one_line(mistake, study, capfd):
    changes, flags, expected = MISTAKES[mistake]
    if changes.get("settings"):
        changes = {"settings": {**study.content["settings"], **changes["settings"]}}
    study.content.update(changes)
    study.write()
    assert study.run(*flags) == 2
    error = capfd.readouterr().err
    assert len(error.splitlines()) == 1 and expected in error and error.startswith("vitlab study: "), error
    assert not study.root.exists()


def test_a_file_that_is_not_there_is_named(capfd, tmp_path):
    assert main(["study", "--config", "configs/studies/phantm.yaml"]) == 2
    assert "did you mean configs/studies/phantom.yaml?" in capfd.readouterr().err
    assert main(["study"]) == 2 and "--config" in capfd.readouterr().err
    (tmp_path / "list.yaml").write_text("- 1\n")
    assert main(["study", "--config", str(tmp_path / "list.yaml")]) == 2 and "list.yaml" in capfd.readouterr().err
