"""The kinds of files that vitlab reads: a small sound one of each, and what reads it in the program.

A reader takes the path of one file, in a folder of its own, and does all that a verb does with such a file.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import torch
import yaml
from jsonargparse import Namespace
from PIL import Image

from tests.data.sources.test_dicom import write as write_dicom
from tests.data.sources.test_figshare import write_mat
from tests.data.sources.test_tar_shards import sample, write_tar
from vitlab.audit.images import read_images
from vitlab.audit.memo import Memo
from vitlab.config_files import find_configs
from vitlab.data.cache import build_cache
from vitlab.data.datamodule import ImageDataModule
from vitlab.data.sources import Csv, Dicom, Figshare, ImageFolder, MedMnist, Nifti, TarShards
from vitlab.evaluate.predictions import read_predictions
from vitlab.evaluate.results import pretraining_cost, read_results
from vitlab.models.backbones import create_backbone, load_backbone, save_backbone
from vitlab.models.classifier import CNNClassifier
from vitlab.predict.command import _model_of
from vitlab.preflight import check_checkpoint
from vitlab.report.findings import read_findings
from vitlab.report.page.features import read_features
from vitlab.report.page.history import read_history
from vitlab.report.page.robustness import read_robustness
from vitlab.report.runs import read_run
from vitlab.study.file import load as load_study

PICTURE = np.add.outer(np.arange(24), np.arange(20)).astype(np.uint8) * 5
SHORT = PICTURE.astype(np.int16)
IMAGES = {"png": "png", "jpg": "jpeg", "tif": "tiff", "bmp": "bmp", "gif": "gif", "webp": "webp", "jp2": "jpeg2000",
          "ppm": "ppm"}  # fmt: skip
NETWORK = {"channels": [4, 4, 4, 4]}
CLASS_PATH = "vitlab.models.classifier.CNNClassifier"
CONFIG = {
    "model": {"class_path": CLASS_PATH, "init_args": {"backbone": "resnet18"}},
    "data": {"source": {"class_path": "Csv", "init_args": {"root": "images"}}, "image_size": 16, "channels": 1},
    "trainer": {"max_epochs": 2}, "seed_everything": 1,
}  # fmt: skip
STUDY = {
    "data": ["configs/data/phantom.yaml"], "approaches": {"cnn": ["cnn"], "vit": ["vit"]}, "seeds": [0, 1],
    "grid": {"model.optim.lr": [1e-3, 1e-4]}, "settings": {"trainer.max_epochs": 3},
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: Of a file in a folder of its own.
        write: Writes a sound one.
        read: Reads one, whatever it holds.
    """

    name: str
    write: Callable[[Path], object]
    read: Callable[[Path], object]


def from_a_source(make):
    """Return what decodes the images of a source as an audit and a training do, which list those that are damaged."""

    def read(path):
        source, cache = make(path), path.parents[1] / "cache"
        table = source.manifest()
        read_images(table, source.decode, Memo(table, cache))
        build_cache(table, image_size=16, channels=1, fit="pad", decode=source.decode, on_error="skip", cache_dir=cache)

    return read


def write_manifest(path):
    lines = ["path,label,patient_id,split,fold,mask_path"]
    lines += [f"{number}.png,{'ab'[number % 2]},p{number // 2},,{number % 3 + 1}," for number in range(12)]
    path.write_text("\n".join(lines))


def read_manifest(path):
    for number in range(12):
        if not (file := path.with_name(f"{number}.png")).exists():
            Image.fromarray(PICTURE + number).save(file)
    source = Csv(str(path.parent), path.name)
    ImageDataModule(source, fold=1, image_size=8, cache_dir=str(path.parents[1] / "cache")).setup("fit")


def write_results(path):
    metrics = {split: {"accuracy": 0.5, "loss": 1.0} for split in ("train", "val", "test")}
    record = {
        "schema": 1, "approach": "cnn", "manifest_sha256": "0" * 64, "seed": 0, "fold": None, "metrics": metrics,
        "classes": ["a", "b"], "wall_seconds": 3.0, "split": {"n_folds": 5}, "pretrain": None, "status": "finished",
    }  # fmt: skip
    path.write_text(json.dumps(record))


def read_both(path):
    read_run(path.parent)  # compare's
    read_results(path.parent)  # study's and explain's


def write_predictions(path):
    rows = [f"{('train', 'val', 'test')[row % 3]},{row},{row}.png,p{row},{'ab'[row % 2]},0.25,0.75" for row in range(9)]
    path.write_text("\n".join(["split,index,path,patient_id,label,prob_a,prob_b", *rows]))


def write_findings(path):
    parts = [{"title": "t", "meaning": "m", "sentences": ["s"], "brief": ["b"], "grids": [], "records": {}}]
    path.write_text(json.dumps({"runs": ["0" * 64], "parts": parts}))


def write_checkpoint(path):
    settings = {
        "num_classes": 2, "image_size": 16, "channels": 1, "backbone": "resnet18", "backbone_kwargs": NETWORK,
        "optim": {"lr": 1e-3},
    }  # fmt: skip
    state = {
        "state_dict": CNNClassifier(**settings).state_dict(), "hyper_parameters": settings,
        "ImageDataModule": {"classes": ["a", "b"], "manifest_sha256": "0" * 64}, "global_step": 3,
    }  # fmt: skip
    torch.save(state, path)


def read_checkpoint(path):
    (path.parents[1] / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    data = Namespace(image_size=16, channels=1)
    check_checkpoint(path, Namespace(model=Namespace(class_path=CLASS_PATH), data=data))
    _model_of(path)


def read_run_config(path):
    checkpoint = path.parent / "checkpoints" / "best.ckpt"
    if not checkpoint.exists():
        checkpoint.parent.mkdir(exist_ok=True)
        write_checkpoint(checkpoint)
    _model_of(checkpoint)


def network():
    return create_backbone("resnet18", image_size=16, channels=1, kwargs=NETWORK)


def read_weights(path):
    load_backbone(network(), path)
    pretraining_cost(str(path))


def write_medmnist(path):
    arrays = {}
    for split, count in {"train": 6, "val": 3, "test": 3}.items():
        arrays[f"{split}_images"] = np.stack([PICTURE] * count)
        arrays[f"{split}_labels"] = np.arange(count)[:, None] % 2
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def write_volume(path):
    nibabel.save(nibabel.Nifti1Image(np.arange(216, dtype=np.int16).reshape(6, 6, 6), np.eye(4)), path)


def write_history(path):
    path.write_text("epoch,step,train/loss,val/loss\n0,4,0.5,\n0,4,,0.7\n1,8,0.25,0.5\n")


def write_robustness(path):
    path.write_text("corruption,severity,metric,value\nblur,1,accuracy,0.5\nblur,2,accuracy,0.25\n")


def write_features(path):
    np.savez(path, features=np.eye(5), index=np.arange(5))


def read_config(path):
    find_configs("fit", ["--config", str(path)])


def folder(path):
    return str(path.parent)


KINDS = {
    **{
        suffix: Kind(
            f"x.{suffix}",
            lambda path, form=form: Image.fromarray(PICTURE).save(path, form),
            from_a_source(lambda path: ImageFolder(str(path.parents[1]))),
        )
        for suffix, form in IMAGES.items()
    },
    "nii": Kind("x.nii", write_volume, from_a_source(lambda path: Nifti(folder(path), keep="all"))),
    "nii.gz": Kind("x.nii.gz", write_volume, from_a_source(lambda path: Nifti(folder(path), keep="all"))),
    "dcm": Kind(
        "x.dcm",
        lambda path: write_dicom(path, SHORT),
        from_a_source(lambda path: Dicom(folder(path))),
    ),
    "mat": Kind(
        "1.mat",
        lambda path: write_mat(path, 1, "100360", PICTURE, PICTURE > 9),
        from_a_source(lambda path: Figshare(folder(path))),
    ),
    "npz": Kind("x.npz", write_medmnist, from_a_source(lambda path: MedMnist(str(path)))),
    "tar": Kind(
        "x.tar",
        lambda path: write_tar(path, sample("k" * 120, 7, cls="a") + sample("1", 8, json='{"label": "b", "fold": 1}')),
        from_a_source(lambda path: TarShards(folder(path))),
    ),
    "manifest": Kind("manifest.csv", write_manifest, read_manifest),
    "configuration": Kind("fit.yaml", lambda path: path.write_text(yaml.safe_dump(CONFIG)), read_config),
    "configuration of a run": Kind(
        "config.yaml", lambda path: path.write_text(yaml.safe_dump(CONFIG)), read_run_config
    ),
    "study": Kind("study.yaml", lambda path: path.write_text(yaml.safe_dump(STUDY)), load_study),
    "checkpoint": Kind("best.ckpt", write_checkpoint, read_checkpoint),
    "weights": Kind("backbone.safetensors", lambda path: save_backbone(network(), path), read_weights),
    "results": Kind("results.json", write_results, read_both),
    "predictions": Kind("predictions.csv", write_predictions, read_predictions),
    "history": Kind("metrics.csv", write_history, lambda path: read_history(path.parent)),
    "robustness": Kind("robustness.csv", write_robustness, lambda path: read_robustness(path.parent)),
    "features": Kind("features.npz", write_features, lambda path: read_features(path.parent)),
    "findings": Kind("explain.json", write_findings, lambda path: read_findings(path.parent)),
}
