import io
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from vitlab.cli import main
from vitlab.explain.cases.looking import look
from vitlab.explain.cases.masks import masks_of
from vitlab.explain.cases.selection import cases_of, choose
from vitlab.explain.features.pretrained import RATIOS, before_fine_tuning, reconstruct
from vitlab.explain.page.pretraining import pretraining_section
from vitlab.explain.page.shown import Shown
from vitlab.explain.runs.loaded import load_run
from vitlab.explain.runs.study_runs import study_runs


@pytest.fixture(scope="module")
def mae(runs):
    return load_run(runs["mae_pretrain"])


def test_as_many_patches_are_hidden_as_is_said(mae):
    rows = mae.rows("test")[:4]
    trained = mae.model.mask_ratio
    found = reconstruct(mae, rows)
    assert [one.ratio for one in found] == list(RATIOS) and mae.model.mask_ratio == trained
    images = mae.images(rows).numpy().astype(int)
    patch, total = mae.model.patch_size, mae.model.num_patches
    for one in found:
        assert one.masked.shape == one.filled.shape == images.shape and one.masked.dtype == np.uint8
        for kind in (one.masked, one.filled):
            changed = np.abs(kind.astype(int) - images).reshape(4, 32 // patch, patch, 32 // patch, patch).max((2, 4))
            assert ((changed > 1).sum((1, 2)) == round(total * one.ratio)).all()  # the rest is as it was
        assert ((one.error > 0) & (one.error < 1)).all()


def test_the_same_image_has_the_same_patches_hidden(mae):
    rows = mae.rows("test")[:4]
    alone = reconstruct(mae, rows[2:3], [0.5])[0]
    together = reconstruct(mae, rows, [0.5])[0]
    assert (alone.masked[0] == together.masked[2]).all()
    assert alone.error[0] == pytest.approx(together.error[2], abs=1e-4)


def test_ratios_that_leave_nothing_to_see_are_left_out(mae):
    assert reconstruct(mae, mae.rows("test")[:1], [0.0, 0.999, 0.5])[0].ratio == 0.5


def test_errors_of_known_predictions(mae, monkeypatch):
    rows = mae.rows("test")[:3]

    def perfect(images, visible, masked):
        targets = mae.model.targets(images)[0]
        return torch.gather(targets, 1, masked[..., None].expand(-1, -1, targets.shape[-1]))

    monkeypatch.setattr(mae.model, "forward_masked", perfect)
    assert max(one.error.max() for one in reconstruct(mae, rows)) < 0.003  # of rounding to gray levels
    monkeypatch.setattr(mae.model, "forward_masked", lambda *given: torch.zeros_like(perfect(*given)))
    for one in reconstruct(mae, rows):
        np.testing.assert_allclose(one.error, one.flat, atol=0.003)
        assert (one.flat > 0.01).all()


@pytest.fixture(scope="module")
def study(runs, tmp_path_factory):
    """Return a study of a CNN and a ViT by the names of pretrained ones, and of both pretrainings."""
    root = tmp_path_factory.mktemp("pretrained") / "discs"
    shutil.copytree(runs["cnn"].parents[1], root)
    for plain, name in (("cnn", "cnn_simclr"), ("vit", "vit_mae")):
        (root / plain).rename(root / name)
        results = root / name / "seed0" / "results.json"
        results.write_text(results.read_text().replace(f'"approach": "{plain}"', f'"approach": "{name}"'))
    return root


def test_the_pretraining_of_an_approach_is_asked_about_the_same_cases(study):
    runs = study_runs(study)
    cases = cases_of(runs.scored)
    for approach, pretraining in (("CNN + SimCLR", "simclr"), ("ViT + MAE", "mae")):
        looks = look(runs, approach, cases, [0, 3], "cpu", lambda line: None)
        before = before_fine_tuning(runs, cases, looks, "cpu")
        assert before.run.approach == pretraining and set(before.nearest) == set(range(len(cases)))
        assert len(before.votes[0].predictions) == len(looks.votes[0].predictions) == len(cases)
        assert before.nearest[0] != looks.cases[0].neighbours
    plain = look(runs, "ViT + MAE", cases, [0], "cpu", lambda line: None)
    runs.pretrainings.clear()
    assert before_fine_tuning(runs, cases, plain, "cpu") is None


def test_an_mae_is_asked_about_cases_that_it_has_not_seen(study, tmp_path):
    """Of two spaces the first has no pretraining: the one found is of the second's fold, and of its cases."""
    runs = study_runs(study, ["vit_mae"])
    cases = cases_of(runs.scored)
    looks = look(runs, "ViT + MAE", cases, range(len(cases)), "cpu", lambda line: None)
    (own,) = looks.spaces
    other = replace(own, run=replace(own.run, fold=7), places=own.places[:1])
    own = replace(own, places=own.places[1:], features=own.features[len(cases[0].rows) :])
    looks.spaces[:] = [other, own]
    data = load_run(own.run.folder).data
    masks = {place: masks_of(data, case.rows)[0] for place, case in enumerate(cases)}
    lists = choose(cases, 2, 0, 1)
    shown = Shown(runs, cases, lists, {"vit_mae": looks}, data.cache.images, masks, data.manifest.path, {})
    page = pretraining_section(shown, tmp_path, "cpu")
    counted = set(re.findall(r'<th scope="row">\d+ %</th>.*?<td class="n">(\d+)</td></tr>', page))
    assert counted == {str(len(cases) - 1)}


def test_the_section_shows_reconstructions_and_neighbours(study):
    assert main(["explain", str(study), "--patients", "4", "--worst", "1", "--scores", "none"]) == 0
    folder = study / "explain"
    index = (folder / "index.html").read_text(encoding="utf-8")
    assert 'id="pretraining"' in index and "What mae makes of hidden patches" in index
    for share in (25, 50, 75, 90):
        assert f"{share} % reconstructed" in index and f'<th scope="row">{share} %</th>' in index
    named = set(re.findall(r'src="(pictures/[^"]+)"', index))
    assert named == {f"pictures/{path.name}" for path in (folder / "pictures").iterdir()} and len(named) == 4 + 8
    strip = Image.open(io.BytesIO((folder / next(name for name in sorted(named) if "mae-" in name)).read_bytes()))
    assert strip.width == 9 * strip.height
