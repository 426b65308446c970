"""Settings laid over one another as `fit` does it, and what of them matters."""

import pytest

from vitlab.study.settings import assign, differences, material, merge, read_yaml, without


def test_later_files_win_and_lists_are_replaced():
    base = {"trainer": {"max_epochs": 3, "callbacks": [1, 2]}, "data": {"image_size": 64}}
    over = {"trainer": {"callbacks": [3]}}
    assert merge(base, over) == {"trainer": {"max_epochs": 3, "callbacks": [3]}, "data": {"image_size": 64}}
    assert base["trainer"]["callbacks"] == [1, 2]


def test_a_class_keeps_its_settings_and_another_one_takes_none():
    base = {"data": {"source": {"class_path": "Csv", "init_args": {"root": "cheng"}}}}
    same = merge(base, {"data": {"source": {"class_path": "vitlab.data.sources.Csv", "init_args": {"name": "x"}}}})
    assert same["data"]["source"]["init_args"] == {"root": "cheng", "name": "x"}
    assert merge(base, {"data": {"source": "Phantom"}})["data"]["source"] == {"class_path": "Phantom"}


def test_short_keys_reach_the_settings_of_a_class():
    base = {"model": {"class_path": "CNNClassifier", "init_args": {"optim": {"lr": 1, "warmup_epochs": 3}}}}
    assert assign(base, "model.optim.lr", 2) == assign(base, "model.init_args.optim.lr", 2)
    assert assign(base, "model.optim.lr", 2)["model"]["init_args"]["optim"] == {"lr": 2, "warmup_epochs": 3}
    assert assign({}, "data.source.root", "x") == {"data": {"source": {"init_args": {"root": "x"}}}}


def test_numbers_are_read_as_fit_reads_them(tmp_path):
    (tmp_path / "a.yaml").write_text("a: 1e-3\nb: 1.0e-3\nc: 5E+2\nd: word\ne: 1e-3x\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": 0.001, "b": 0.001, "c": 500.0, "d": "word", "e": "1e-3x"}


@pytest.mark.parametrize("text", ["- 1\n", "a: [1,\n", "just words"])
def test_what_is_no_mapping_is_named(tmp_path, text):
    (tmp_path / "odd.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"odd\.yaml"):
        read_yaml(tmp_path / "odd.yaml")


def test_only_what_changes_figures_matters():
    settings = {
        "model": {"class_path": "vitlab.models.classifier.CNNClassifier", "init_args": {"drop_path": 0.0}},
        "trainer": {"max_epochs": 3.0, "log_every_n_steps": 5},
        "data": {"num_workers": 4, "batch_size": 8},
        "run": {"root": "x"},
    }
    assert material(settings) == {
        "model": {"class_path": "CNNClassifier", "init_args": {"drop_path": 0}},
        "trainer": {"max_epochs": 3},
        "data": {"batch_size": 8},
    }


def test_differences_name_the_key_as_one_writes_it():
    old = {"model": {"init_args": {"optim": {"lr": 0.1}}}, "data": {"fit": "pad"}}
    new = {"model": {"init_args": {"optim": {"lr": 0.2}}}}
    assert differences(old, new) == ["data.fit pad -> default", "model.optim.lr 0.1 -> 0.2"]
    assert without(old, ("model.init_args.optim", "nowhere.at.all"))["model"] == {"init_args": {}}
