"""Which jobs a study has, what they share, and which changes make a new run of which."""

import inspect
import shutil
from pathlib import Path

import pytest
import yaml

from tests.study.conftest import CHAIN
from vitlab.cli import main
from vitlab.data.datamodule import ImageDataModule
from vitlab.study.file import load
from vitlab.study.images import SPLIT_DEFAULTS
from vitlab.study.plan import plan

STUDIES = sorted(Path("configs/studies").glob("*.yaml"))


def jobs_of(study):
    return plan(load(study.path), study.root)


def keys(study):
    """Return approach and seed -> key."""
    return {(job.approach, job.seed, job.axes): job.key for job in jobs_of(study)}


def test_label_fractions_share_one_pretraining(study):
    study.write(approaches=CHAIN, seeds=[0, 1], label_fractions=[0.5, 1.0])
    names = [(job.approach, job.axes, job.folder.name) for job in jobs_of(study)]
    assert names.count(("simclr", "", "seed0")) == names.count(("simclr", "", "seed1")) == 1
    assert len(names) == len(set(names)) == 2 * (2 + 1 + 2)
    assert ("cnn", "label_fraction=0.5", "seed1") in names
    by_key = {job.key: job for job in jobs_of(study)}
    for job in by_key.values():
        if job.approach == "cnn_simclr":
            pretraining = by_key[job.needs]
            assert pretraining.seed == job.seed and job.weights == pretraining.folder / "backbone.safetensors"
            assert pretraining.images == 40 and "label_fraction" not in pretraining.settings["data"]


def test_folds_pretrain_on_their_own_images_and_once_where_those_are_the_same(study):
    study.write(approaches=CHAIN, folds=[None, 1, 2])
    pretrainings = [job for job in jobs_of(study) if job.approach == "simclr"]
    assert [job.folder.name for job in pretrainings] == ["seed0", "seed0-fold1", "seed0-fold2"]
    study.write(folds=None, grid={"data.test_fraction": [0.2, 0.3]})  # a test is published: nothing is cut
    jobs = jobs_of(study)
    assert [job.approach for job in jobs].count("simclr") == 1
    fractions = [job.axes.partition("=")[2] for job in jobs if job.approach == "cnn_simclr"]
    assert fractions == ["0.2", "0.3"]


def test_a_grid_reaches_whom_it_names(study):
    study.write(approaches=CHAIN, grid={"model.optim.lr": [1e-3, 3e-4]})
    assert sorted(job.approach for job in jobs_of(study)) == ["cnn", "cnn", "cnn_simclr", "cnn_simclr", "simclr"]
    study.write(grid={"simclr_pretrain:model.temperature": [0.1, 0.5]})
    assert sorted(job.approach for job in jobs_of(study)) == ["cnn", "cnn_simclr", "cnn_simclr", "simclr", "simclr"]
    study.write(grid={"*:model.drop_path": [0, 0.1]})
    assert sorted(job.approach for job in jobs_of(study)) == ["cnn"] * 2 + ["cnn_simclr"] * 2 + ["simclr"] * 2
    study.write(grid={"data.batch_size": [8, 16]})
    assert len(jobs_of(study)) == 6
    for job in jobs_of(study):
        assert job.axes == f"data.batch_size={job.settings['data']['batch_size']}" == job.settings["run"]["axes"]


def test_a_setting_of_one_recipe_overrules_that_of_all(study):
    study.write({"cnn:trainer.max_epochs": 7, "trainer.max_epochs": 5})
    assert jobs_of(study)[0].settings["trainer"]["max_epochs"] == 7


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({"*:data.num_workers": 1, "*:data.resident": 0.5}, set()),
        ({"*:trainer.log_every_n_steps": 1, "*:trainer.enable_progress_bar": True}, set()),
        ({"*:reconstructions.every_n_epochs": 3, "*:data.cache_dir": "/elsewhere"}, set()),
        ({"*:trainer.max_epochs": 2.0}, set()),
        ({"model.optim.lr": 0.5}, {"cnn", "cnn_simclr"}),
        ({"data.image_size": 16}, {"cnn", "cnn_simclr", "simclr"}),
        ({"simclr_pretrain:trainer.max_epochs": 3}, {"cnn_simclr", "simclr"}),
        ({"cnn:model.label_smoothing": 0.3}, {"cnn"}),
    ],
)
def test_what_matters_makes_a_new_run_of_whom_it_concerns(study, changes, changed):
    before = keys(study.write(approaches=CHAIN))
    after = keys(study.write(changes))
    assert {job[0] for job in before if before[job] != after[job]} == changed


def test_root_name_and_retries_do_not_matter(study):
    before = keys(study)
    study.root = Path("elsewhere")
    assert keys(study.write(name="other", retries=3)) == before


def test_a_changed_image_list_makes_new_runs(study, tmp_path):
    before = keys(study)
    images = tmp_path / "images"
    source = yaml.safe_load(study.data.read_text())
    shutil.copytree(source["data"]["source"]["init_args"]["root"], images)
    source["data"]["source"]["init_args"]["root"] = str(images)
    next((images / "train" / "top").iterdir()).unlink()
    study.data.write_text(yaml.safe_dump(source))
    assert keys(study) != before


def test_two_recipes_that_would_write_one_folder_are_refused(study, tmp_path):
    (tmp_path / "mine.yaml").write_text(Path("configs/simclr_pretrain.yaml").read_text() + "compile: true\n")
    study.write(approaches={**CHAIN, "mine": [str(tmp_path / "mine.yaml"), "cnn_simclr"]})
    with pytest.raises(ValueError, match=r"names of their own in run\.approach"):
        jobs_of(study)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_shipped_study_has_its_four_approaches(path, data_root, monkeypatch):
    monkeypatch.setenv("VITLAB_DATA", str(data_root))
    study = load(path)
    jobs = plan(study, Path("logs"))
    assert {job.approach for job in jobs if job.last} == {"cnn", "cnn_simclr", "vit", "vit_mae"}
    assert len({job.folder for job in jobs}) == len(jobs)
    assert {job.images for job in jobs} and all(job.images_to_see for job in jobs)
    expected = {"phantom": 54, "quick": 12, "cheng": 30, "brain_tumor_mri": 18, "label_efficiency": 54,
                "shuffled_labels": 6, "leak": 12, "phantom_shuffled": 6, "cheng_224": 90}  # fmt: skip
    assert len(jobs) == expected[path.stem]


def test_the_phantom_on_shuffled_labels_differs_from_the_phantom_by_them_alone():
    """Else its maps would be compared with those of another training, and its pretrainings not taken over."""
    plain, shuffled = (load(Path(f"configs/studies/{name}.yaml")) for name in ("phantom", "phantom_shuffled"))
    known = {job.key for job in plan(plain, Path("logs"))}
    jobs = plan(shuffled, Path("logs"))
    assert all((job.key in known) != job.last for job in jobs)
    dealt = "cnn,cnn_simclr,vit,vit_mae:data.shuffle_labels"
    own = {key: value for key, value in shuffled.settings.items() if key != dealt}
    assert own == {key: value for key, value in plain.settings.items() if key != "run.features"}


@pytest.mark.slow
@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_shipped_study_passes_the_checks_of_fit(path, data_root, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("VITLAB_DATA", str(data_root))
    assert main(["study", "--config", str(path), "--root", str(tmp_path / "logs"), "--dry_run"]) == 0
    assert "0 done" in capsys.readouterr().out and not (tmp_path / "logs").exists()


def test_asking_for_robustness_makes_no_new_run_and_asks_classifiers_only(study):
    study.write(approaches=CHAIN)
    before = keys(study)
    study.write({"run.robustness": True, "run.features": True})
    assert keys(study) == before
    asked = {job.approach: job.settings["run"].get("robustness", False) for job in jobs_of(study)}
    assert asked == {"cnn": True, "simclr": False, "cnn_simclr": True}


def test_a_split_setting_that_says_the_default_makes_no_new_run(study):
    """So that a study of label fractions or of leaks shares its runs with one that says nothing of them."""
    module = inspect.signature(ImageDataModule).parameters
    assert {name: module[name].default for name in SPLIT_DEFAULTS} == SPLIT_DEFAULTS
    before = keys(study)
    study.write({"data.group_by": "patient"}, label_fractions=[1.0])
    assert keys(study) == before
    study.write({"data.group_by": "image"})
    assert set(keys(study).values()).isdisjoint(before.values())
