import numpy as np
import pytest

from vitlab.data.manifest import Manifest
from vitlab.explain.features.attribute_probe import attributes, features_of, plain_features, read_attribute
from vitlab.explain.runs.loaded import load_run


def patients(n=40, images=5):
    return np.repeat([f"p{i:02}" for i in range(n)], images).astype(object)


def test_what_is_in_the_features_is_read_and_what_is_not_is_not():
    ids = patients()
    rng = np.random.default_rng(0)
    hospital = np.where(np.unique(ids, return_inverse=True)[1] % 2, "A", "B").astype(object)
    noise = rng.normal(size=(len(ids), 6))
    known = noise.copy()
    known[:, 2] += 4 * (hospital == "A")
    assert (read_attribute(known, hospital, ids) == hospital).mean() > 0.95
    assert 0.35 < (read_attribute(noise, hospital, ids) == hospital).mean() < 0.65


def test_a_patient_known_by_heart_tells_nothing_of_its_hospital():
    ids = patients()
    number = np.unique(ids, return_inverse=True)[1]
    rng = np.random.default_rng(0)
    hospital = np.where(rng.permutation(40) % 2, "A", "B")[number].astype(object)
    by_heart = np.eye(40)[number]  # with folds by image this would be 1
    assert (read_attribute(by_heart, hospital, ids) == hospital).mean() < 0.75


def test_where_the_other_patients_are_all_of_one_group_that_one_is_read():
    ids = np.array(["a", "a", "b", "c"], object)  # a is of both, so that one fold is left with one group
    plane = np.array(["ax", "cor", "cor", "ax"], object)
    for seed in range(10):
        found = read_attribute(np.random.default_rng(seed).normal(size=(4, 2)), plane, ids, seed)
        assert set(found.tolist()) <= {"ax", "cor"}


def test_columns_of_a_few_groups_are_found():
    ids = [*(f"HA{i}" for i in range(4)), *(f"HB{i}" for i in range(4))]
    manifest = Manifest(
        {
            "path": [f"{i}.png" for i in range(8)],
            "label": list("xyxyxyxy"),
            "patient_id": ids,
            "plane": list("aabbccaa"),
            "scanner": ["one"] * 7 + ["other"],
            "file_size": list("12345678"),
        }
    )
    found = attributes(manifest, np.arange(8))
    assert list(found) == ["plane", "patient_prefix"]  # one patient alone on a scanner; as many sizes as images
    assert found["patient_prefix"].tolist() == ["HA"] * 4 + ["HB"] * 4
    assert list(attributes(manifest, np.arange(4))) == ["plane"]
    twice = manifest.with_columns(site=["north"] * 4 + ["south"] * 4)
    assert list(attributes(twice, np.arange(8))) == ["plane", "site"]  # the prefix says no more than the site


def test_a_group_of_one_patient_is_refused():
    with pytest.raises(ValueError, match="two patients or more"):
        read_attribute(np.zeros((3, 2)), np.array(["a", "a", "b"], object), np.array(["p", "q", "r"], object))


def test_what_is_read_without_a_model():
    images = np.zeros((2, 1, 32, 32), np.uint8)
    images[1, 0, :4, :4] = 200
    found = plain_features(images, np.array(["x", "y"], object))
    assert found["pixels"].shape == (2, 64) and found["pixels"][1].tolist() == [200.0] + [0.0] * 63
    assert found["the class alone"].tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("recipe", ["cnn", "vit"])
def test_features_are_the_models(recipe, runs):
    run = load_run(runs[recipe])
    rows = run.rows("test")
    found = features_of(run, rows, batch=5)
    np.testing.assert_allclose(found, run.model.features(run.inputs(rows)).numpy(), atol=1e-4)
