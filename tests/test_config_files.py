"""A YAML file of another verb is called what it is, by its name, and before anything heavy is imported."""

import subprocess
import sys

import pytest

from vitlab.cli import main

PHANTOM = "configs/data/phantom.yaml"
STUDY = "configs/studies/phantom.yaml"
OF_FIT = "configs/cnn.yaml is a configuration of fit, it sets model, run, trainer; "
A_STUDY = f"{STUDY} is a study: run it with `python -m vitlab study --config {STUDY}`"


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["fit", "--config", "{folder}/mine.yaml"], "mine.yaml has no model: put a recipe before it, such as --c"),
        (["fit", f"--config={PHANTOM}", "--config={folder}/mine.yaml"], f"{PHANTOM} and "),
        (["test", "-c", PHANTOM, "--ckpt_path=x.ckpt"], f"{PHANTOM} has no model"),
        (["fit", "--config", STUDY], A_STUDY),
        (["fit", f"-c{STUDY}"], A_STUDY),
        (["fit", "--config", "configs/cnn.yaml", "--config", STUDY], A_STUDY),
        (["fit", "--config", "{folder}/misspelt.yaml"], "there is no setting modle.class_path, did you mean model?"),
        (["fit", "configs/cnn.yaml"], "cannot use 'configs/cnn.yaml': give it as --config configs/cnn.yaml"),
        (["audit", "--config", "configs/cnn.yaml"], f"{OF_FIT}audit takes the data alone, as in configs/data/"),
        (["audit", "--config", "{folder}/mine.yaml"], "mine.yaml is a configuration of fit, it sets trainer; audit "),
        (["audit", "--config", STUDY], A_STUDY),
        (["study", "--config", "configs/cnn.yaml"], f"{OF_FIT}a study lists approaches, as {STUDY} does"),
        (["study", "--config", PHANTOM], f"{PHANTOM} describes a data set; a study lists approaches"),
        (["study", STUDY], f"give it as --config {STUDY}"),
        (["study"], f"no study: give --config {STUDY}"),
        (["compare", "--config", "configs/cnn.yaml"], f"{OF_FIT}compare takes folders of runs"),
        (["compare", "--config", STUDY], A_STUDY),
        (["data", "phantom", "--config", PHANTOM], f"{PHANTOM} describes a data set; data takes its own settings"),
        (["predict", "--images=x", "--ckpt_path=x", "--config=configs/vit.yaml"], "predict --images takes its own"),
        (["predict", "--images=x", "--ckpt_path=x", f"--config={PHANTOM}"], "describes a data set; predict --images"),
        (["explain", "--config", STUDY], A_STUDY),
    ],
)  # fmt: skip
def test_another_verbs_file_is_called_what_it_is(args, expected, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # shipped files are found from any folder
    (tmp_path / "mine.yaml").write_text("trainer: {max_epochs: 3}")
    (tmp_path / "misspelt.yaml").write_text("modle: {class_path: CNNClassifier}")
    assert main([arg.format(folder=tmp_path) for arg in args]) == 2
    said = capsys.readouterr().err.strip()
    assert expected in said and "\n" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.yaml", "misspelt.yaml"]


def test_a_wrong_file_is_refused_without_torch():
    code = (
        "import sys; from vitlab.cli import main; code = main(['fit', '--config', 'configs/data/phantom.yaml']);"
        "print(code, 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "2 False\n"


def test_a_model_may_stand_on_the_command_line(tmp_path, capsys):
    assert main(["fit", "--config", PHANTOM, "--model=CNNClassifier", "--model.bakbone=x"]) == 2
    assert "did you mean model.backbone?" in capsys.readouterr().err


@pytest.mark.parametrize("value", ['!!int ""', '!!float ""', "!!bool maybe", "!!timestamp soon"])
def test_a_value_that_is_not_of_its_tag_is_one_line(value, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(f"model: {{x: {value}}}")
    assert main(["fit", "--config", str(tmp_path / "mine.yaml")]) == 2
    said = capsys.readouterr().err.strip()
    assert "mine.yaml is not YAML: " in said and "\n" not in said
