import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from vitlab.explain.scores.lesion import SCORES, energy_inside, iou_at_area, pixel_auprc, pointing_game, score_maps


def boxes(n=200, size=24, seed=0):
    rng = np.random.default_rng(seed)
    masks = np.zeros((n, size, size), bool)
    for mask in masks:
        top, left, high, wide = rng.integers(0, 12, 2).tolist() + rng.integers(3, 12, 2).tolist()
        mask[top : top + high, left : left + wide] = True
    return masks


def test_a_perfect_map_scores_1_and_its_opposite_0():
    masks = boxes()
    for name, values in score_maps(masks.astype(float), masks).items():
        np.testing.assert_allclose(values, 1, err_msg=name)
    wrong = score_maps(1.0 - masks, masks)
    assert wrong["pointing"].max() == wrong["energy"].max() == wrong["iou"].max() == 0


def test_random_maps_point_at_the_mask_as_often_as_it_is_large():
    masks = boxes(n=3000)
    share = masks.mean((1, 2))
    hits = pointing_game(np.random.default_rng(1).random(masks.shape), masks)
    half = 1.96 * np.sqrt((share * (1 - share)).mean() / len(masks))
    assert abs(hits.mean() - share.mean()) < half and 0.05 < share.mean() < 0.2


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_map_that_says_nothing_scores_the_masks_share(value):
    masks = boxes(n=20)
    share = masks.mean((1, 2))
    flat = score_maps(np.full(masks.shape, value), masks)
    for name in ("pointing", "energy", "auprc"):
        np.testing.assert_allclose(flat[name], share)
    np.testing.assert_allclose(flat["iou"], share / (2 - share))  # |A||A| / P shared of 2A - that


@pytest.mark.parametrize("levels", [4, 1000000])
def test_auprc_is_scikit_learns_with_ties_and_without(levels):
    masks = boxes(n=30)
    maps = np.random.default_rng(2).integers(0, levels, masks.shape) + masks * levels // 3
    expected = [average_precision_score(m.ravel(), v.ravel()) for m, v in zip(masks, maps, strict=True)]
    np.testing.assert_allclose(pixel_auprc(maps, masks), expected, atol=1e-12)


def test_iou_and_energy_by_hand():
    masks = np.array([[[1, 1, 0], [0, 0, 0]]], bool)
    maps = np.array([[[5.0, 1.0, 4.0], [0.0, 0.0, 0.0]]])
    assert iou_at_area(maps, masks) == pytest.approx(1 / 3)  # the two largest: one is on the mask of two
    assert energy_inside(maps, masks) == pytest.approx(0.6)
    tied = np.array([[[5.0, 4.0, 4.0], [0.0, 0.0, 0.0]]])
    assert iou_at_area(tied, masks) == pytest.approx(1.5 / 2.5)  # of two that tie, each counts half


def test_images_without_a_mask_have_no_score():
    masks = boxes(n=3)
    masks[1] = False
    for name in SCORES:
        assert np.isnan(score_maps(masks + 0.5, masks)[name]).tolist() == [False, True, False]


def test_maps_that_are_none_are_refused():
    masks = boxes(n=1)
    with pytest.raises(ValueError, match="not finite"):
        score_maps(np.full(masks.shape, np.nan), masks)
    with pytest.raises(ValueError, match="must not be negative"):
        score_maps(-1.0 * masks, masks)


def test_no_mask_at_all_is_no_score():
    assert np.isnan(score_maps(np.ones((2, 4, 4)), np.zeros((2, 4, 4), bool))["iou"]).all()
    assert score_maps(np.ones((0, 4, 4)), np.zeros((0, 4, 4), bool))["auprc"].shape == (0,)
