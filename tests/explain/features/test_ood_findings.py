import numpy as np

from vitlab.explain.features.ood_findings import _photographs, ood_findings
from vitlab.explain.runs.loaded import load_run
from vitlab.explain.scores.measured import StudyRun


def test_noise_is_told_from_the_images_of_the_training_and_test_images_are_not(runs):
    said = []
    found = ood_findings(
        {name: StudyRun(name, 0, None, lambda recipe=recipe: load_run(runs[recipe])) for name, recipe in
         (("CNN", "cnn"), ("ViT", "vit"))}, tell=said.append,
    )  # fmt: skip
    records = {(one["approach"], one["kind"]): one for one in found.records["auroc"]}
    assert len(records) == 2 * 3 and len(said) == 2
    for name in ("CNN", "ViT"):
        assert records[name, "noise"]["mean"] == 1 and records[name, "photographs"]["mean"] > 0.9
        same = records[name, "test images"]
        assert same["low"] < 0.5 < same["high"] or 0.2 < same["mean"] < 0.8
    (line,) = found.sentences
    assert line.startswith("The score tells from validation images, by AUROC: test images CNN 0.") and found.brief
    assert "noise CNN 1.000" in line and [row[0] for row in found.grids[0].rows] == ["CNN", "ViT"]


def test_photographs_are_crops_of_both_in_the_channels_that_are_asked():
    grey, colour = (_photographs(channels, 32, 0).numpy() for channels in (1, 3))
    assert grey.shape == (100, 1, 32, 32) and colour.shape == (100, 3, 32, 32) and grey.dtype == np.uint8
    np.testing.assert_allclose(colour.mean(1), grey[:, 0], atol=1.5)
    assert 20 < grey.std() and len({image.tobytes() for image in grey}) == 100
