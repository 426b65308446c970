"""ImageDataModule: batches, ranks, resume, normalisation."""

import numpy as np
import pytest
import torch
from PIL import Image

from vitlab.data import batches, shuffle, split_images
from vitlab.data.augment import Augment
from vitlab.data.batches import Batch, BatchSampler, mean_and_std
from vitlab.data.datamodule import ImageDataModule
from vitlab.data.sources import Csv, ImageFolder


def make(folder, **settings):
    return ImageDataModule(ImageFolder(root=str(folder)), image_size=24, batch_size=8, eval_batch_size=7, **settings)


def test_every_row_of_a_split_comes_once_in_order_and_normalised(image_folder):
    data = make(image_folder)
    batches = [data.on_after_batch_transfer(batch, 0) for batch in data.eval_dataloader("val")]
    rows = torch.cat([batch.indices for batch in batches])
    assert rows.tolist() == data.rows("val").tolist() and [len(batch.images) for batch in batches] == [7, 7, 2]
    pixels = data.cache.images[data.rows("train")].astype(np.float64) / 255
    mean, std = data.mean_std
    assert mean[0] == pytest.approx(pixels.mean()) and std[0] == pytest.approx(pixels.std())
    expected = (data.cache.images[rows[0].item()] / 255 - mean[0]) / std[0]
    np.testing.assert_allclose(batches[0].images[0].numpy(), expected, atol=1e-5)
    assert [data.classes[target] for target in batches[0].targets] == list(data.manifest.label[rows[:7]])


def test_rows_without_a_label_are_left_out_and_said(image_folder, tmp_path):
    table = make(image_folder).source.manifest()
    label = table.label.copy()
    label[[3, 50]] = ""
    table.with_columns(label=label).write(tmp_path / "few.csv")
    data = ImageDataModule(Csv(root=str(image_folder), manifest=str(tmp_path / "few.csv")), image_size=24)
    with pytest.warns(UserWarning, match=r"no label in 2 of 72 rows of the manifest .*few.csv, first line 5: they are"):
        assert sum(len(data.rows(split)) for split in ("train", "val", "test")) == 70


def test_mean_and_std_see_the_training_split_only(tmp_path):
    for split, level in (("train", 40), ("val", 200), ("test", 250)):
        for label in "ab":
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            for number in range(2):
                Image.fromarray(np.full((8, 8), level + number, np.uint8)).save(folder / f"{number}.png")
    assert make(tmp_path).mean_std[0][0] == pytest.approx(40.5 / 255)


@pytest.mark.parametrize("side", [6, 7])
@pytest.mark.parametrize("channels", [1, 3])
def test_mean_and_std_are_those_of_all_pixels_or_of_an_even_share_of_very_many(side, channels, monkeypatch):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20_000, channels, side, side), np.uint8)
    images[:, 0] //= 2
    images[:10_000] //= 2
    rows = np.flatnonzero(rng.random(len(images)) < 0.7)
    pixels = images[rows].astype(np.float64) / 255
    mean, std = mean_and_std(images, rows)
    assert mean == pytest.approx(pixels.mean((0, 2, 3))) and std == pytest.approx(pixels.std((0, 2, 3)))
    monkeypatch.setattr(shuffle, "WHOLE", pixels.size - 1)
    monkeypatch.setattr(batches, "_LOOKED_AT", pixels.size // 10)
    seen = []

    class Seen:
        shape = images.shape

        def __getitem__(self, rows):
            seen.extend(rows.tolist())
            return images[rows]

    some_mean, some_std = mean_and_std(Seen(), rows)
    assert some_mean == pytest.approx(mean, rel=0.02) and some_std == pytest.approx(std, rel=0.02)
    assert len(rows) / 12 < len(seen) < len(rows) / 8 and max(seen) - min(seen) > 0.9 * len(images)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_one_gray_have_a_deviation_of_one_level(channels):
    for level in range(256):
        for n in (1, 3, 7):
            _, std = mean_and_std(np.full((n, channels, 5, 7), level, np.uint8), np.arange(n))
            assert std == [1 / 255] * channels, level


def test_epochs_are_shuffled_by_seed_and_epoch_alone():
    def epoch(seed, number):
        return np.concatenate(list(BatchSampler(50, 8, seed=seed, progress=lambda: (number, 0))))

    first = epoch(0, 0)
    assert sorted(first) != list(range(50)) and len(first) == 48 == len(set(first))  # the last two are dropped
    assert (first == epoch(0, 0)).all() and (first != epoch(0, 1)).any() and (first != epoch(1, 0)).any()


def test_a_resumed_epoch_goes_on_where_it_stopped():
    whole = list(BatchSampler(50, 8, seed=3, progress=lambda: (2, 0)))
    rest = list(BatchSampler(50, 8, seed=3, progress=lambda: (2, 4)))
    assert [batch.tolist() for batch in rest] == [batch.tolist() for batch in whole[4:]]


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_ranks_share_fewer_images_than_a_batch(world_size):
    whole = next(iter(BatchSampler(20, 64, seed=0)))
    ranks = [list(BatchSampler(20, 32, seed=0, rank=rank, world_size=world_size)) for rank in range(world_size)]
    assert [len(batches) for batches in ranks] == [1] * world_size
    seen = np.concatenate([batch for (batch,) in ranks])
    np.testing.assert_array_equal(seen, whole[: 20 // world_size * world_size])
    assert len({len(batch) for (batch,) in ranks}) == 1


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_batch_of_one_process(world_size):
    one = list(BatchSampler(100, 6 * world_size, seed=0))
    ranks = [list(BatchSampler(100, 6, seed=0, rank=rank, world_size=world_size)) for rank in range(world_size)]
    for step, joined in enumerate(one):
        assert np.concatenate([batches[step] for batches in ranks]).tolist() == joined.tolist()


@pytest.mark.parametrize("n", [1, 7, 8, 37])
def test_in_evaluation_each_row_counts_once_over_all_ranks(n):
    ranks = [list(BatchSampler(n, 4, rank=rank, world_size=2)) for rank in range(2)]
    assert [len(batch) for batch in ranks[0]] == [len(batch) for batch in ranks[1]]  # no rank waits for another
    rows = np.concatenate([batch for batches in ranks for batch in batches])
    assert sorted(rows[rows >= 0]) == list(range(n))


def test_two_views_differ_and_come_back_by_seed(image_folder, monkeypatch):
    class Progress:
        ready = 5

    class Stand:  # what the data module asks of a trainer while training
        training, global_rank, world_size = True, 0, 1

    stand = Stand()
    stand.fit_loop = stand.epoch_loop = stand.batch_progress = stand
    stand.total = Progress()
    data = make(image_folder, views=2, augment=Augment(hflip=0.5, noise=0.1))
    data.trainer = stand
    batch = Batch(torch.from_numpy(data.cache.images[:4]), torch.zeros(4, dtype=torch.int64), torch.arange(4))
    views = data.on_after_batch_transfer(batch, 0).images
    assert views.shape == (2, 4, 1, 24, 24) and not torch.equal(views[0], views[1])
    assert torch.equal(views, data.on_after_batch_transfer(batch, 0).images)
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    assert not torch.equal(views, data.on_after_batch_transfer(batch, 0).images)


def test_cheng_by_its_published_folds(data_root):
    data = ImageDataModule(Csv(root=str(data_root / "cheng"), columns={"patient_id": "patient_base"}), fold=1)
    splits = ("train", "val", "test")
    assert [len(data.rows(split)) for split in splits] == [1838, 613, 613]
    patients = [set(data.manifest.patient_id[data.rows(split)]) for split in splits]
    assert not patients[0] & patients[1] and not patients[0] & patients[2] and not patients[1] & patients[2]
    assert sum(data.class_counts) == 1838 and data.classes == ["glioma", "meningioma", "pituitary"]


def test_the_splits_are_digested_once_however_many_checkpoints(image_folder, monkeypatch):
    digested = []
    whole = split_images.split_sha256
    monkeypatch.setattr(split_images, "split_sha256", lambda *args: digested.append(args[1]) or whole(*args))
    data = make(image_folder)
    assert data.state_dict() == data.state_dict() and digested == ["train", "val", "test"]


def test_an_empty_split_is_named(tmp_path, image_folder):
    data = make(image_folder / "train", val_fraction=0.0)
    with pytest.raises(ValueError, match="val"):
        data.setup("fit")
