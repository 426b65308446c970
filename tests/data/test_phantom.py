"""The phantom: right places, right looks, no shortcut, the same bytes every time, and hard enough to be a question."""

import threading
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from scipy import ndimage, stats
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from vitlab.data.manifest import Manifest
from vitlab.data.phantom import CLASSES, anatomy, dataset, generate, phantom_folder
from vitlab.data.phantom.anatomy import TISSUES, load_head
from vitlab.data.phantom.lesions import KINDS, SELLA
from vitlab.data.phantom.scanner import SCANNERS

TINY = {"train_patients": 2, "val_patients": 1, "test_patients": 1, "slices": 2, "size": 32}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A set of 16 patients and 32 images: folder and manifest."""
    folder = tmp_path_factory.mktemp("phantom") / "tiny"
    return folder, generate(folder, **TINY)


def pixels(folder, paths):
    """Read images of one size, (N, H, W)."""
    return np.stack([np.asarray(Image.open(folder / path)) for path in paths])


def slices_of(label, patients, split="train", size=64, slices=3):
    """Draw patients without writing them."""
    settings = {"seed": 5, "split": split, "slices": slices, "size": size}
    return [
        image
        for number in range(patients)
        for image in dataset.patient_slices(load_head(), label=label, number=number, **settings)
    ]


def test_manifest_says_what_is_on_disk(tiny):
    folder, manifest = tiny
    assert manifest.sha256 == Manifest.read(folder / "manifest.csv").sha256
    assert list(manifest.columns) == ["path", "label", "patient_id", "split", "mask_path", "plane", "scanner"]
    assert len(manifest) == 32 and manifest.classes == sorted(CLASSES)
    for label in CLASSES:
        splits = manifest.split[manifest.label == label].tolist()
        assert [splits.count(s) for s in ("train", "val", "test")] == [4, 2, 2]
    assert pixels(folder, manifest.path).shape == (32, 32, 32)
    assert {p.name for p in folder.iterdir()} == {"images", "masks", "manifest.csv"}
    manifest.check()


def test_scanners_share_no_patient(tiny):
    _, manifest = tiny
    by_split = {s: set(manifest.patient_id[manifest.split == s]) for s in ("train", "val", "test")}
    assert len(set.union(*by_split.values())) == sum(map(len, by_split.values())) == 16
    assert set(manifest.columns["scanner"][manifest.split == "test"]) == {"B"}
    assert set(manifest.columns["scanner"][manifest.split != "test"]) == {"A"}


def test_masks_are_one_bit_and_only_where_there_is_a_tumour(tiny):
    folder, manifest = tiny
    for path, mask_path, label in zip(manifest.path, manifest.mask_path, manifest.label, strict=True):
        assert bool(mask_path) == (label != "no_tumor")
        if mask_path:
            mask = Image.open(folder / mask_path)
            assert mask.mode == "1" and mask.size == Image.open(folder / path).size
            assert np.asarray(mask).any()


def test_same_seed_same_pixels_and_more_patients_keep_them(tiny, tmp_path):
    folder, manifest = tiny
    again = generate(tmp_path / "again", **TINY)
    assert again.sha256 == manifest.sha256
    assert np.array_equal(pixels(tmp_path / "again", again.path), pixels(folder, manifest.path))
    more = generate(tmp_path / "more", **(TINY | {"train_patients": 3}))
    for split in ("train", "val", "test"):
        before = {image.tobytes() for image in pixels(folder, manifest.path[manifest.split == split])}
        after = {image.tobytes() for image in pixels(tmp_path / "more", more.path[more.split == split])}
        assert before <= after
    other = generate(tmp_path / "other", seed=1, **TINY)
    same = {image.tobytes() for image in pixels(folder, manifest.path)}
    assert not same & {image.tobytes() for image in pixels(tmp_path / "other", other.path)}


def test_sampling_is_trilinear():
    head = load_head()
    points = np.random.default_rng(0).uniform((-95, -130, -130), (95, 110, 110), (5000, 3)).astype(np.float32)
    tissues, distance = head.sample(points)
    where = ((points - anatomy._FIRST) / anatomy._MM).T
    for channel in range(len(TISSUES)):
        expected = ndimage.map_coordinates(head.channels[..., channel], where, order=1, mode="nearest")
        assert np.abs(tissues[:, channel] - expected).max() < 1e-5
    inner = distance < 0
    expected = ndimage.map_coordinates(head.channels[..., -1], where, order=1, mode="nearest")
    assert inner.sum() > 500 and np.abs(distance - expected)[inner].max() < 1e-4


def test_tissues_are_fractions_and_lie_where_they_belong():
    head = load_head()
    total = head.channels[..., :-1].sum(-1)
    assert head.channels[..., :-1].min() > -1e-5 and total.max() < 1 + 1e-4
    places = np.array([[25, -25, 28], [0, -10, 75], [36, -28, -44], [0, 3, -34], [29, 50, -25]], np.float32)
    tissues, distance = head.sample(places)  # white matter, vault cortex, petrous bone, gland, orbital fat
    named = dict(zip(TISSUES, tissues.T, strict=True))
    assert named["wm"][0] > 0.9 and named["enhancing"][3] > 0.3 and named["fat"][4] > 0.9
    assert tissues[2].sum() < 0.1 and (distance[:2] < 0).all()


@pytest.mark.parametrize("label", KINDS)
def test_tumours_grow_where_they_belong(label):
    head, rng = load_head(), np.random.default_rng(1)
    lesions = [KINDS[label].draw(rng, head) for _ in range(60)]
    centres = np.stack([lesion.centre for lesion in lesions])
    radii = np.array([lesion.radius for lesion in lesions])
    tissues, distance = head.sample(centres)
    if label == "glioma":
        assert (tissues[:, TISSUES.index("wm")] > 0.5).all() and (distance < -7).all()
    elif label == "meningioma":
        assert (-distance < radii).all() and (-distance > 0).all()  # it reaches the dura and lies in the head
        assert np.linalg.norm(centres - SELLA, axis=1).min() > 20
        base = centres + radii[:, None] * np.stack([lesion.normal for lesion in lesions])
        assert (head.sample(base.astype(np.float32))[1] > 0).mean() > 0.9  # the normal points out
    else:
        assert (np.linalg.norm(centres - SELLA, axis=1) < 9).all() and np.abs(centres[:, 0]).max() < 5


def test_tumours_look_as_they_should():
    levels = {"ring": [], "core": [], "even": [], "bright": []}
    for image in slices_of("glioma", 12):
        depth = ndimage.distance_transform_edt(image.tumour)
        if depth.max() >= 5:
            levels["ring"].append(np.median(image.pixels[(depth > 0) & (depth <= 2)]))
            levels["core"].append(np.median(image.pixels[depth > 0.8 * depth.max()]))
    assert len(levels["ring"]) > 10
    assert np.mean(np.array(levels["ring"]) > 1.2 * np.array(levels["core"])) > 0.8  # bright ring, dark core
    for image in slices_of("meningioma", 12):
        inside = ndimage.binary_erosion(image.tumour, iterations=2)
        if inside.sum() >= 12:
            tumour = image.pixels[inside].astype(float)
            levels["even"].append(tumour.std() / tumour.mean())
            head = image.pixels[(image.pixels > 40) & ~image.tumour]
            levels["bright"].append(tumour.mean() / np.median(head))
    assert len(levels["even"]) > 10 and np.median(levels["even"]) < 0.1
    assert np.mean(np.array(levels["bright"]) > 1.2) > 0.9


def test_tumours_come_in_all_sizes():
    areas = [image.tumour.mean() * 200**2 for label in KINDS for image in slices_of(label, 15)]  # mm^2 at 200 mm
    assert min(areas) > 50 and np.percentile(areas, 10) < 350 and np.percentile(areas, 90) > 1000


def test_the_tumour_is_all_that_a_patient_without_one_lacks():
    """Planes and places of the slices are drawn alike, so that they cannot stand in for the tumour."""
    normal = slices_of("no_tumor", 120, size=16)
    sick = [image for label in KINDS for image in slices_of(label, 40, size=16)]
    for plane in dataset.PLANES:
        places = [[image.place for image in images if image.plane == plane] for images in (normal, sick)]
        assert len(places[0]) == len(places[1]) == 120
        assert stats.ks_2samp(*places).pvalue > 0.01
    assert not any(image.tumour.any() for image in normal)


def test_noise_is_rician():
    scanner = SCANNERS["B"]
    noise = scanner.noise[1]
    fixed = {name: getattr(scanner, name) for name in ("levels", "blur", "bias", "field_of_view")}
    machine = type(scanner)(**fixed, noise=(noise, noise), gain=(1, 1), gamma=(1, 1))
    image = machine.acquire(np.zeros((256, 256), np.float32), 1.0, np.random.default_rng(0), np.random.default_rng(1))
    assert image.mean() == pytest.approx(255 * noise * np.sqrt(np.pi / 2), rel=0.02)  # no signal: Rayleigh


def test_slices_of_a_patient_share_the_exposure():
    """Gain differs between patients far more than between the slices of one."""
    gains = np.array([[np.median(i.pixels[i.pixels > 30]) for i in slices_of("no_tumor", 12)]]).reshape(12, 3)
    assert gains.std(axis=1).mean() < 0.7 * gains.mean(axis=1).std()


def test_cache_folder_is_made_once_and_named_by_its_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("VITLAB_CACHE", str(tmp_path))
    settings = TINY | {"train_patients": 1, "slices": 1, "size": 16}
    folder = phantom_folder(3, **settings)
    made = (folder / "manifest.csv").stat().st_mtime_ns
    assert folder.parent == tmp_path and phantom_folder(seed=3, **settings) == folder
    assert (folder / "manifest.csv").stat().st_mtime_ns == made
    assert phantom_folder(4, **settings) != folder and phantom_folder(3, **(settings | {"size": 17})) != folder
    monkeypatch.delenv("VITLAB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert phantom_folder(3, **settings).parent == tmp_path / "xdg" / "vitlab"


def test_two_at_once_make_one_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VITLAB_CACHE", str(tmp_path))
    start, rename = threading.Barrier(2, timeout=60), Path.rename

    def together(self, target):
        start.wait()
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", together)
    with ThreadPoolExecutor(2) as pool:
        settings = TINY | {"train_patients": 1, "slices": 1, "size": 16}
        folders = [f.result() for f in [pool.submit(phantom_folder, **settings) for _ in range(2)]]
    assert folders[0] == folders[1] and list(tmp_path.iterdir()) == folders[:1]
    assert len(Manifest.read(folders[0] / "manifest.csv")) == 12


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset.Manifest, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "out", **TINY)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 8}, "size is 8 px"),
        ({"slices": 0}, "a slice and a patient"),
        ({"seed": -1}, "a seed from 0 up"),
        ({"train_patients": 0, "val_patients": 0, "test_patients": 0}, "a slice and a patient"),
    ],
)
def test_settings_out_of_range_are_one_line(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message) as error:
        generate(tmp_path / "out", **(TINY | settings))
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_folders_that_cannot_be_written_are_one_line(tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.txt").write_text("keep")
    with pytest.raises(ValueError, match="not an empty folder"):
        generate(tmp_path / "full", **TINY)
    assert (tmp_path / "full" / "precious.txt").read_text() == "keep"
    with pytest.raises(ValueError, match="cannot write the phantom"):
        generate(tmp_path / "full" / "precious.txt" / "out", **TINY)
    monkeypatch.setattr(dataset.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=1000))
    with pytest.raises(ValueError, match="not enough free disk"):
        generate(tmp_path / "new", **TINY)
    assert {p.name for p in tmp_path.iterdir()} == {"full"}


def test_missing_nilearn_is_one_line(monkeypatch):
    monkeypatch.setattr(anatomy.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install nilearn"):
        anatomy._template("t1")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The set of the default numbers, drawn at 64 px: (images (N, 64, 64), manifest)."""
    folder = tmp_path_factory.mktemp("whole") / "phantom"
    manifest = generate(folder, size=64)
    return pixels(folder, manifest.path), manifest


@pytest.mark.slow
def test_intensity_histograms_do_not_solve_it(whole):
    images, manifest = whole
    rows = manifest.columns["scanner"] == "A"
    histograms = np.stack([np.histogram(image, 32, (0, 256))[0] for image in images[rows]])
    targets, groups = manifest.targets[rows], manifest.patient_id[rows]
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    forest = RandomForestClassifier(200, random_state=0)
    predicted = cross_val_predict(forest, histograms, targets, groups=groups, cv=folds)
    assert balanced_accuracy_score(targets, predicted) < 0.60


@pytest.mark.slow
def test_a_small_cnn_solves_it_and_drops_on_the_other_scanner(whole):
    images, manifest = whole
    inputs = (torch.from_numpy(images)[:, None].float() / 255 - 0.2) / 0.2
    targets = torch.from_numpy(manifest.targets.copy())
    split = {s: torch.from_numpy(np.flatnonzero(manifest.split == s)) for s in ("train", "val", "test")}
    torch.manual_seed(0)
    model = timm.create_model("resnet18", channels=(16, 32, 64, 128), in_chans=1, num_classes=4)
    model = model.to(memory_format=torch.channels_last)
    epochs, batch = 6, 24
    steps = epochs * (len(split["train"]) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for step in range(steps):
        if step % (steps // epochs) == 0:
            order = split["train"][torch.randperm(len(split["train"]))]
        rows = order[step % (steps // epochs) * batch :][:batch]
        flipped = torch.where(torch.rand(batch, 1, 1, 1) < 0.5, inputs[rows].flip(-1), inputs[rows])
        moved = torch.roll(flipped, tuple(torch.randint(-4, 5, (2,)).tolist()), (-2, -1))
        moved = moved.contiguous(memory_format=torch.channels_last)
        loss = torch.nn.functional.cross_entropy(model(moved), targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    score = {}
    with torch.no_grad():
        for name in ("val", "test"):
            predicted = torch.cat([model(inputs[rows]).argmax(1) for rows in split[name].split(128)])
            score[name] = balanced_accuracy_score(targets[split[name]], predicted)
    assert score["val"] > 0.80
    assert 0.40 < score["test"] < score["val"]  # clearly above chance (0.25), and a price for the new scanner
