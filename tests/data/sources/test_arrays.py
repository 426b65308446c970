"""MedMnist and Torchvision: tiny files of the published formats, and the one line where they are none."""

import gzip
import pickle
import struct

import numpy as np
import pytest

from vitlab.data.sources import MedMnist, Torchvision


def line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def write_npz(path, images=None, labels=None, **more):
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 6), ("val", 2), ("test", 3)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, *(images or (8, 8))), np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 2)[:, None] if labels is None else labels[:count]
    np.savez_compressed(path, **(arrays | more))
    return arrays


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3)])
def test_medmnist_as_published(tmp_path, shape, cached):
    arrays = write_npz(tmp_path / "pathmnist.npz", shape)
    source = MedMnist(str(tmp_path / "pathmnist.npz"))
    manifest = source.manifest()
    manifest.check()
    assert source.name == "pathmnist"
    assert manifest.split.tolist() == ["train"] * 6 + ["val"] * 2 + ["test"] * 3
    assert manifest.path[7] == "pathmnist.npz#val/1" and manifest.label[:3].tolist() == ["0", "1", "0"]
    np.testing.assert_array_equal(source.decode("pathmnist.npz#test/2"), arrays["test_images"][2])
    cache = cached(source, channels=3)
    expected = arrays["val_images"][1] if len(shape) == 3 else np.repeat(arrays["val_images"][1][..., None], 3, 2)
    np.testing.assert_array_equal(cache.images[7], expected.transpose(2, 0, 1))
    source.close()
    np.testing.assert_array_equal(source.decode("pathmnist.npz#test/2"), arrays["test_images"][2])


def test_medmnist_names_sort_as_numbers(tmp_path):
    write_npz(tmp_path / "x.npz", labels=np.array([[2], [10], [9], [0], [1], [3]]))
    assert MedMnist(str(tmp_path / "x.npz")).manifest().classes == ["00", "01", "02", "03", "09", "10"]


def test_medmnist_files_that_are_refused(tmp_path):
    file = tmp_path / "x.npz"
    for odd in (np.zeros((6, 1), "S1"), np.full((6, 1), np.inf)):
        write_npz(file, labels=odd)
        with pytest.raises(ValueError, match="train_labels are no whole numbers"):
            MedMnist(str(file)).manifest()
    write_npz(file, labels=np.zeros((6, 14), int))
    with pytest.raises(ValueError, match="several labels"):
        MedMnist(str(file)).manifest()
    write_npz(file, (8, 8, 8))
    with pytest.raises(ValueError, match="only 2D"):
        MedMnist(str(file)).manifest()
    np.savez(file, other=np.zeros(3))
    with pytest.raises(ValueError, match="no file of MedMNIST: cannot read train_labels"):
        MedMnist(str(file)).manifest()
    write_npz(file, train_labels=np.array([{"a": 1}] * 6, dtype=object))
    with pytest.raises(ValueError, match="no file of MedMNIST"):  # a pickle is never opened
        MedMnist(str(file)).manifest()
    file.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="no file of MedMNIST"):
        MedMnist(str(file)).manifest()
    with pytest.raises(ValueError, match="is a folder"):
        MedMnist(str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"data\.source\.path"):
        MedMnist("lost.npz")


def write_idx(folder, split, images, labels):
    folder.mkdir(parents=True, exist_ok=True)
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        header = struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape)
        (folder / f"{split}-{kind}-ubyte").write_bytes(header + array.tobytes())
        with gzip.open(folder / f"{split}-{kind}-ubyte.gz", "wb") as file:
            file.write(header + array.tobytes())


def test_fashion_mnist_from_disk(tmp_path, cached):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (7, 28, 28), np.uint8)
    write_idx(tmp_path / "FashionMNIST" / "raw", "train", images[:4], np.array([0, 1, 9, 0], np.uint8))
    write_idx(tmp_path / "FashionMNIST" / "raw", "t10k", images[4:], np.array([9, 1, 0], np.uint8))
    source = Torchvision("FashionMNIST", str(tmp_path))
    manifest = source.manifest()
    manifest.check()
    assert source.name == "fashionmnist"
    assert manifest.label.tolist() == [
        "T-shirt/top", "Trouser", "Ankle boot", "T-shirt/top", "Ankle boot", "Trouser", "T-shirt/top",
    ]  # fmt: skip
    np.testing.assert_array_equal(np.asarray(source.decode(manifest.path[5])), images[5])
    np.testing.assert_array_equal(cached(source, image_size=28).images[:, 0], images)


def test_cifar10_from_disk(tmp_path, monkeypatch, cached):
    from torchvision import datasets

    monkeypatch.setattr(datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr(datasets.CIFAR10, "_load_meta", lambda self: setattr(self, "classes", ["plane", "car"]))
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3072), np.uint8)
    for name in [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]:
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [1, 0]}))
    source = Torchvision("CIFAR10", str(tmp_path))
    assert source.manifest().split.tolist() == ["train"] * 10 + ["test"] * 2
    np.testing.assert_array_equal(
        cached(source, image_size=32, channels=3).images[10:], pixels.reshape(2, 3, 32, 32)
    )


def test_torchvision_says_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match="did you mean FashionMNIST"):
        Torchvision("fashionminst", str(tmp_path))
    with pytest.raises(ValueError, match="there are CIFAR10"):
        Torchvision("ImageNet", str(tmp_path))
    with pytest.raises(FileNotFoundError) as error:
        Torchvision("CIFAR10", str(tmp_path)).manifest()
    assert "data.source.download=true" in line(error)
    with pytest.raises(FileNotFoundError, match="VITLAB_DATA"):
        Torchvision("CIFAR10", "lost")


def test_a_download_that_fails_is_one_line(tmp_path, monkeypatch):
    import urllib.request
    from urllib.error import URLError

    def refuse(*args, **kwargs):
        raise URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setenv("VITLAB_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError) as error:
        Torchvision("MNIST", "new", download=True).manifest()
    assert "is there a network?" in line(error) and str(tmp_path / "new") in line(error)
