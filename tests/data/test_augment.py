"""The batched augmentation against torchvision v2, on real slices."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from PIL import Image
from scipy import stats
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from vitlab.data.augment import Augment
from vitlab.data.augment_parameters import Parameters

SIZE = 64
OFF = Augment(crop_scale=(1, 1), hflip=0, rotation=0, brightness=0, contrast=0, gamma=0)
ALL = Augment(vflip=0.3, translate=0.1, scale=(0.9, 1.1), shear=5, blur=0.5, noise=0.1, erasing=0.5)


@pytest.fixture(scope="module")
def grey(data_root):
    paths = sorted((data_root / "cheng" / "images").iterdir())[::190][:16]
    pictures = [Image.open(path).convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR) for path in paths]
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])[:, None])


@pytest.fixture(scope="module")
def colour(grey):
    return torch.cat([grey, grey.roll(1, 0), grey.roll(2, 0)], 1)


@pytest.fixture(params=["grey", "colour"])
def images(request):
    return request.getfixturevalue(request.param)


def constant(n, size=(SIZE, SIZE), **values):
    """Return the parameters that do the same to each of n images."""
    changes = {name: np.array([value] * n, float) for name, value in values.items()}
    return replace(Parameters.identity(n, *size), **changes)


def interior(x, margin=8):
    return x[..., margin:-margin, margin:-margin]


def same(ours, theirs, atol=2e-5):
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)


# Given parameters: the same pixels


@pytest.mark.parametrize("angle", [0, 7.5, -30, 90, 180])
def test_rotation(images, angle):
    ours = replace(OFF, rotation=180).apply(images, constant(len(images), angle=angle))
    theirs = tv.rotate(images / 255, -angle, interpolation=v2.InterpolationMode.BILINEAR)
    same(ours, theirs)


@pytest.mark.parametrize(
    ("angle", "translate", "scale", "shear"),
    [(0, (5, -3), 1, 0), (0, (0, 0), 1.3, 0), (0, (0, 0), 0.8, 0), (0, (0, 0), 1, 12), (20, (4, 6), 0.9, -8)],
)
def test_affine(images, angle, translate, scale, shear):
    parameters = constant(len(images), angle=angle, translate=translate, scale=scale, shear=shear)
    ours = replace(OFF, rotation=180).apply(images, parameters)
    theirs = tv.affine(images / 255, angle, translate, scale, (shear, 0), interpolation=v2.InterpolationMode.BILINEAR)
    same(ours, theirs)


@pytest.mark.parametrize("crop", [(0, 0, 64, 64), (3, 9, 40, 50), (20, 14, 44, 50), (0, 0, 32, 64)])
def test_crop(images, crop):
    ours = replace(OFF, crop_scale=(0.1, 1)).apply(images, constant(len(images), crop=crop))
    theirs = tv.resized_crop(images / 255, *crop, size=(SIZE, SIZE), antialias=False)
    same(interior(ours, 2), interior(theirs, 2))


def test_crop_at_the_border_repeats_it():
    white = torch.full((1, 1, SIZE, SIZE), 255, dtype=torch.uint8)
    assert replace(OFF, crop_scale=(0.1, 1)).apply(white, constant(1, crop=(0, 0, 40, 40))).min() > 0.9999


def test_flips(images):
    augment = replace(OFF, hflip=0.5, vflip=0.5)
    x = images / 255
    for flip, theirs in (((1, 0), tv.hflip(x)), ((0, 1), tv.vflip(x)), ((1, 1), tv.vflip(tv.hflip(x))), ((0, 0), x)):
        same(augment.apply(images, constant(len(images), flip=flip)), theirs)


def test_geometry_is_affine_then_crop_then_flip_in_one_warp(images):
    crop = (10, 4, 40, 50)
    parameters = constant(len(images), angle=17, translate=(3, -2), scale=1.1, shear=6, crop=crop, flip=(1, 0))
    ours = replace(OFF, rotation=180).apply(images, parameters)
    theirs = tv.affine(images / 255, 17, (3, -2), 1.1, (6, 0), interpolation=v2.InterpolationMode.BILINEAR)
    theirs = tv.hflip(tv.resized_crop(theirs, *crop, size=(SIZE, SIZE), antialias=False))
    # Two interpolations blur more than one: the pixels differ a little, their place does not.
    assert (interior(ours) - interior(theirs)).abs().mean() < 0.012
    shifted = (interior(ours) - interior(theirs.roll(1, 3))).abs().mean()
    assert shifted > 2 * (interior(ours) - interior(theirs)).abs().mean()


def test_not_square():
    images = torch.randint(0, 256, (2, 1, 40, 64), dtype=torch.uint8)
    ours = replace(OFF, rotation=180).apply(images, constant(2, (40, 64), angle=25, shear=5))
    same(ours, tv.affine(images / 255, 25, (0, 0), 1, (5, 0), interpolation=v2.InterpolationMode.BILINEAR))
    crop = (5, 10, 30, 40)
    ours = replace(OFF, crop_scale=(0.1, 1)).apply(images, constant(2, (40, 64), crop=crop))
    theirs = tv.resized_crop(images / 255, *crop, size=(40, 64), antialias=False)
    same(interior(ours, 2), interior(theirs, 2))


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.7])
def test_brightness_contrast_gamma(images, factor):
    n, x = len(images), images / 255
    ours = replace(OFF, brightness=1).apply(images, constant(n, brightness=factor))
    same(ours, tv.adjust_brightness(x, factor))
    ours = replace(OFF, contrast=1).apply(images, constant(n, contrast=factor))
    same(ours, tv.adjust_contrast(x, factor))
    ours = replace(OFF, gamma=1).apply(images, constant(n, gamma=factor))
    same(ours, tv.adjust_gamma(x, factor))


@pytest.mark.parametrize("taps", [3, 5, 9])
def test_blur_of_each_image_by_its_own_sigma(images, taps):
    sigmas = np.linspace(0.1, 3, len(images))
    ours = replace(OFF, blur=1, blur_kernel=taps).apply(images, _blurs(sigmas))
    for image, sigma, blurred in zip(images, sigmas, ours, strict=True):
        same(blurred, tv.gaussian_blur(image / 255, [taps, taps], [sigma, sigma]))


def _blurs(sigmas):
    return replace(Parameters.identity(len(sigmas), SIZE, SIZE), blur=sigmas)


def test_images_that_are_not_blurred_stay_as_they_are(grey):
    sigmas = np.where(np.arange(16) % 2, 2.0, 0.0)
    ours = replace(OFF, blur=0.5).apply(grey, _blurs(sigmas))
    assert torch.equal(ours[::2], grey[::2] / 255)
    assert all((ours[i] - grey[i] / 255).abs().max() > 0.01 for i in range(1, 16, 2))


def test_erasing(images):
    ours = replace(OFF, erasing=1).apply(images, constant(len(images), erase=(5, 12, 20, 9)))
    same(ours, tv.erase(images / 255, 5, 12, 20, 9, torch.zeros(1)), 0)


# Drawn parameters: the same distributions


def ks(ours, theirs):
    """Return the p value that two samples come from one distribution (seeds are fixed: no luck from run to run)."""
    return stats.ks_2samp(np.asarray(ours, float), np.asarray(theirs, float)).pvalue


def drawn(transform, image, n=1500):
    torch.manual_seed(0)
    return [transform.make_params([image]) for _ in range(n)]


@pytest.mark.parametrize(
    ("scale", "ratio"), [((0.08, 1.0), (3 / 4, 4 / 3)), ((0.6, 1.0), (3 / 4, 4 / 3)), ((0.9, 1), (0.5, 1.2))]
)
@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_crops_are_distributed_as_in_torchvision(scale, ratio, size):
    theirs = drawn(v2.RandomResizedCrop(size, scale, ratio), torch.zeros(1, *size))
    top, left, height, width = replace(OFF, crop_scale=scale, crop_ratio=ratio).draw(1500, *size, seed=0, step=0).crop.T
    for ours, name in ((top, "top"), (left, "left"), (height, "height"), (width, "width")):
        assert ks(ours, [p[name] for p in theirs]) > 0.01, name
    assert ks(height * width, [p["height"] * p["width"] for p in theirs]) > 0.01
    assert min(top.min(), left.min()) >= 0 and (top + height).max() <= size[0] and (left + width).max() <= size[1]


def test_affine_parameters_are_distributed_as_in_torchvision():
    settings = v2.RandomAffine(20, translate=(0.1, 0.1), scale=(0.8, 1.3), shear=10)
    theirs = drawn(settings, torch.zeros(1, 64, 64))
    ours = Augment(rotation=20, translate=0.1, scale=(0.8, 1.3), shear=10).draw(1500, 64, 64, seed=0, step=0)
    assert ks(ours.angle, [p["angle"] for p in theirs]) > 0.01
    assert ks(ours.scale, [p["scale"] for p in theirs]) > 0.01
    assert ks(ours.shear, [p["shear"][0] for p in theirs]) > 0.01
    for axis in (0, 1):
        assert ks(ours.translate[:, axis], [p["translate"][axis] for p in theirs]) > 0.01


def test_photometric_parameters_are_distributed_as_in_torchvision():
    theirs = drawn(v2.ColorJitter(brightness=0.4, contrast=1.5), torch.zeros(1, 8, 8))
    ours = Augment(brightness=0.4, contrast=1.5, blur=1, gamma=0.3, noise=0.2).draw(1500, 64, 64, seed=0, step=0)
    assert ks(ours.brightness, [p["brightness_factor"] for p in theirs]) > 0.01
    assert ks(ours.contrast, [p["contrast_factor"] for p in theirs]) > 0.01
    sigmas = drawn(v2.GaussianBlur(5, (0.1, 2.0)), torch.zeros(1, 8, 8))
    assert ks(ours.blur, [p["sigma"][0] for p in sigmas]) > 0.01
    assert stats.kstest(np.log(ours.gamma), stats.uniform(-0.3, 0.6).cdf).pvalue > 0.01
    assert stats.kstest(ours.noise, stats.uniform(0, 0.2).cdf).pvalue > 0.01


def test_erased_boxes_are_distributed_as_in_torchvision():
    theirs = drawn(v2.RandomErasing(p=1), torch.zeros(1, 64, 64))
    ours = replace(OFF, erasing=1).draw(1500, 64, 64, seed=0, step=0).erase.T
    for box, name in zip(ours, "ijhw", strict=True):
        assert ks(box, [p[name] for p in theirs]) > 0.01, name


def test_probabilities():
    augment = replace(OFF, hflip=0.5, vflip=0.1, blur=0.3, erasing=0.7)
    p = augment.draw(20000, 64, 64, seed=1, step=0)
    shares = [*p.flip.mean(0), (p.blur > 0).mean(), (p.erase[:, 2] > 0).mean()]
    np.testing.assert_allclose(shares, [0.5, 0.1, 0.3, 0.7], atol=0.015)
    assert abs(np.corrcoef(p.flip.T)[0, 1]) < 0.03


@pytest.mark.parametrize("warp", ["crop", "affine"])
def test_outputs_are_distributed_as_in_torchvision(colour, warp):
    """The chain on the same images: mean, contrast and place of what comes out.

    Crop and affine one at a time: together torchvision interpolates twice, which takes 4 % off the contrast.
    """
    settings = {"brightness": 0.3, "contrast": 0.3, "gamma": 0, "vflip": 0.2}
    if warp == "crop":
        first = v2.RandomResizedCrop(SIZE, (0.5, 1), antialias=False)
        augment = Augment(crop_scale=(0.5, 1), rotation=0, **settings)
    else:
        first = v2.RandomAffine(15, translate=(0.1, 0.1), interpolation=v2.InterpolationMode.BILINEAR)
        augment = Augment(crop_scale=(1, 1), rotation=15, translate=0.1, **settings)
    flips = [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(0.2)]
    chain = v2.Compose([first, *flips, v2.ColorJitter(brightness=0.3), v2.ColorJitter(contrast=0.3)])
    torch.manual_seed(0)
    repeats = 40
    theirs = torch.stack([chain(image / 255) for _ in range(repeats) for image in colour])
    ours = torch.cat([augment(colour, seed=0, step=step) for step in range(repeats)])
    for region in (..., (..., slice(32)), (..., slice(32), slice(None))):
        assert ks(ours[region].mean((1, 2, 3)), theirs[region].mean((1, 2, 3))) > 0.01
    assert ks(ours.std((1, 2, 3)), theirs.std((1, 2, 3))) > 0.01
    same(ours.mean((0, 1)), theirs.mean((0, 1)), 0.06)  # the mean picture: no shift of the whole


def test_noise_is_normal_and_white():
    flat = torch.full((64, 3, SIZE, SIZE), 128, dtype=torch.uint8)
    augment = replace(OFF, noise=0.1)
    parameters = augment.draw(64, SIZE, SIZE, seed=0, step=0)
    residual = (augment.apply(flat, parameters) - 128 / 255).numpy() / parameters.noise[:, None, None, None]
    np.testing.assert_allclose(residual.std((1, 2, 3)), 1, atol=0.03)
    assert stats.kstest(residual[::8].ravel()[::7], "norm").pvalue > 0.01
    rows = residual.reshape(len(residual) * 3, -1)
    assert abs(np.corrcoef(rows) - np.eye(len(rows))).max() < 0.1
    for axis in (1, 2, 3):
        assert abs((residual * np.roll(residual, 1, axis)).mean()) < 0.005


# The contract


def test_same_seed_step_and_view_give_the_same_images(images):
    first = ALL(images, seed=3, step=7)
    torch.rand(5)
    assert torch.equal(first, ALL(images, seed=3, step=7, view=0))
    for other in ({"seed": 4, "step": 7}, {"seed": 3, "step": 8}, {"seed": 3, "step": 7, "view": 1}):
        assert (first - ALL(images, **other)).abs().mean() > 0.02


def test_global_random_state_is_left_alone(grey):
    torch.manual_seed(0)
    np.random.seed(0)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(0)
    np.random.seed(0)
    ALL(grey, seed=0, step=0)
    assert (torch.rand(1), np.random.rand()) == expected


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_together_make_the_global_batch(images, world):
    whole = ALL(images, seed=0, step=5)
    for rank in range(world):
        rows = slice(rank, None, world)
        same(ALL(images[rows], seed=0, step=5, rows=rows, total=len(images)), whole[rows], 1e-6)
    half = slice(8, 16)
    same(ALL(images[half], seed=0, step=5, rows=half, total=16), whole[half], 1e-6)


def test_cpu_chunks_change_nothing():
    large = torch.randint(0, 256, (9, 3, 224, 224), dtype=torch.uint8)
    parameters = ALL.draw(9, 224, 224, seed=0, step=0)
    same(ALL.apply(large, parameters), ALL._apply(large, parameters), 1e-6)


@pytest.mark.parametrize("size", [24, 224], ids=["one piece", "many pieces"])
def test_the_result_is_written_where_it_is_wanted(size):
    images = torch.randint(0, 256, (9, 3, size, size), dtype=torch.uint8)
    views = torch.zeros(2, *images.shape)
    for view, out in enumerate(views):
        assert ALL(images, seed=0, step=0, view=view, out=out) is out
    assert torch.equal(views, torch.stack([ALL(images, seed=0, step=0, view=view) for view in range(2)]))
    nothing = torch.zeros(0, 3, size, size)
    assert ALL(nothing.byte(), seed=0, step=0, out=nothing) is nothing


def test_each_image_has_its_own_parameters(grey):
    copies = grey[:1].repeat(12, 1, 1, 1)
    out = ALL(copies, seed=0, step=0).flatten(1)
    assert torch.cdist(out, out).add(torch.eye(12) * 99).min() > 1


def test_one_setting_does_not_change_the_draws_of_another():
    plain, more = (a.draw(32, 64, 64, seed=0, step=0) for a in (Augment(), replace(ALL, vflip=0, rotation=20)))
    for name in ("crop", "flip", "brightness", "contrast", "gamma"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(more, name))
    np.testing.assert_allclose(plain.angle * 2, more.angle)


def test_everything_off_is_the_image(images):
    assert torch.equal(OFF(images, seed=0, step=0), images / 255)


def test_output_is_float_between_0_and_1(images):
    out = replace(ALL, brightness=0.9, contrast=0.9, noise=0.5)(images, seed=0, step=0)
    assert out.dtype == torch.float32 and out.shape == images.shape and out.is_contiguous()
    assert out.min() >= 0 and out.max() <= 1 and out.isfinite().all()
    assert images.dtype == torch.uint8


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hflip": 1.2}, "hflip must be between 0 and 1, not 1.2"),
        ({"erasing": -0.1}, "erasing must be between 0 and 1"),
        ({"translate": 2}, "translate must be between 0 and 1"),
        ({"brightness": -1}, "brightness must be 0"),
        ({"gamma": float("nan")}, "gamma must be 0"),
        ({"rotation": 360}, "rotation must be between 0 and 180"),
        ({"shear": 90}, "shear must be between 0 and 90"),
        ({"crop_scale": (0.9, 0.2)}, "crop_scale must be two numbers, low and high"),
        ({"crop_scale": (0.5, 1.5)}, "crop_scale is a share of the image's area"),
        ({"erasing_area": (0.5, 1.5)}, "erasing_area is a share"),
        ({"crop_ratio": (0, 1)}, "crop_ratio must be two numbers"),
        ({"blur_sigma": (0, 1)}, "blur_sigma must be two numbers"),
        ({"blur_kernel": 4}, "blur_kernel must be odd"),
    ],
)
def test_impossible_settings_are_named_in_one_line(settings, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")) as error:
        Augment(**settings)
    assert "\n" not in str(error.value)


def test_built_from_yaml(tmp_path):
    class Data:
        def __init__(self, augment: Augment = OFF):
            self.augment = augment

    (tmp_path / "data.yaml").write_text("data:\n  augment:\n    blur: 0.5\n    crop_scale: [0.2, 1.0]\n")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(Data, "data")
    config = parser.parse_args(["--config", str(tmp_path / "data.yaml"), "--data.augment.rotation=3"])
    build = getattr(parser, "instantiate", None) or parser.instantiate_classes
    assert build(config).data.augment == replace(OFF, blur=0.5, crop_scale=(0.2, 1.0), rotation=3.0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_gives_the_same_images_as_the_cpu(images):
    same(ALL(images.cuda(), seed=0, step=0).cpu(), ALL(images, seed=0, step=0), 1e-4)
