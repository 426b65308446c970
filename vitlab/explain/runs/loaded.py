"""A finished run taken from disk: its model, on the images and splits that it was trained with.

Shapes: N images, C channels, H = W = image_size, K classes.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitlab.checkpoint import read_checkpoint
from vitlab.data.datamodule import ImageDataModule
from vitlab.evaluate.results import read_results
from vitlab.mistakes import one_line_parser
from vitlab.models.backbones import unfuse_attention
from vitlab.models.base import BaseModule
from vitlab.yaml_text import parse


@dataclass(frozen=True)
class Loaded:
    """A model in evaluation mode and its data.

    Attributes:
        folder: The run's.
        results: Its results.json.
        model: In float32 on `device`, no parameter asking for a gradient.
        data: Its images, with the splits that it was trained on.
        device: Where the model is.
    """

    folder: Path
    results: dict[str, Any]
    model: BaseModule
    data: ImageDataModule
    device: torch.device

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the model's outputs."""
        return self.data.classes

    def rows(self, split: str) -> NDArray[np.int64]:
        """Return the manifest's rows of train, val or test, (n,)."""
        return self.data.rows(split)

    def images(self, rows: NDArray[np.int64]) -> Tensor:
        """Return images as they were decoded, uint8 (N, C, H, W) on the device."""
        return torch.from_numpy(np.ascontiguousarray(self.data.cache.images[rows])).to(self.device)

    def normalise(self, images: Tensor) -> Tensor:
        """Return what the model takes, float32 (N, C, H, W), of uint8 images or of floats in [0, 255]."""
        return self.data.normalise(images.float() / 255)

    def inputs(self, rows: NDArray[np.int64]) -> Tensor:
        """Return what the model takes, float32 (N, C, H, W)."""
        return self.normalise(self.images(rows))

    @torch.inference_mode()
    def probabilities(self, images: Tensor, batch: int = 256) -> NDArray[np.float64]:
        """Return class probabilities (N, K) of uint8 images or of floats in [0, 255], (N, C, H, W)."""
        logits = [self.model(self.normalise(part.to(self.device))) for part in torch.split(images, batch)]
        found: NDArray[np.float64] = torch.cat(logits).double().softmax(1).cpu().numpy()
        return found


def checkpoint_of(folder: Path, task: str) -> Path:
    """Return the path of the checkpoint that a run is judged by, whether it is there or not.

    Args:
        folder: The run's folder.
        task: results.json's; of a classifier it is the best checkpoint, of a pretraining the last.
    """
    return folder / "checkpoints" / ("last.ckpt" if task == "pretrain" else "best.ckpt")


def load_run(folder: Path, device: str | torch.device = "cpu") -> Loaded:
    """Load a finished run, of a classifier its best checkpoint, of a pretraining its last.

    Args:
        folder: The run's folder, with config.yaml, results.json and checkpoints.
        device: Where the model shall be.

    Raises:
        ValueError: The run has not finished, its checkpoint is gone, or its images are no longer those of its training.
    """
    results = read_results(folder)
    if results is None:
        raise ValueError(f"{folder} has no results.json: the run has not finished")
    checkpoint = checkpoint_of(folder, results["task"])
    if not checkpoint.exists():
        raise ValueError(f"{checkpoint} is not there: its weights are needed, so keep them or train the run again")
    try:
        config = parse((folder / "config.yaml").read_text(encoding="utf-8"))
        data, model = load_data(config["data"], checkpoint), load_model(config, checkpoint)
    except (OSError, ValueError):
        raise
    except Exception as error:  # key and type errors, and weights of another network: all mean the same to a user
        raise ValueError(f"config.yaml or {checkpoint.name} of {folder} is damaged ({type(error).__name__})") from None
    if data.source_manifest.sha256 != results["manifest_sha256"]:
        raise ValueError(f"{folder} was trained on another manifest than {data.name} has now: restore that one")
    return Loaded(folder, results, model.to(device), data, torch.device(device))


def load_data(settings: dict[str, Any], checkpoint: Path) -> ImageDataModule:
    """Return the data module of a run's config.yaml, with classes, splits and normalisation of its checkpoint.

    Args:
        settings: What the file has under `data`.
        checkpoint: Of the run.
    """
    parser = one_line_parser(exit_on_error=False)
    parser.add_class_arguments(ImageDataModule, "data")
    parsed = parser.parse_object({"data": {**settings, "checkpoint": str(checkpoint)}})
    data: ImageDataModule = parser.instantiate_classes(parsed).data
    return data


def load_model(config: dict[str, Any], checkpoint: Path) -> BaseModule:
    """Return the model of a checkpoint, in evaluation mode and float32 on the CPU, its weights loaded strictly.

    Attention is not fused, so that its weights can be seen.

    Args:
        config: The run's config.yaml.
        checkpoint: Nothing in it is executed.

    Raises:
        ValueError: config.yaml names no model of this kind, or the checkpoint is damaged.
    """
    module, _, name = config["model"]["class_path"].rpartition(".")
    kind = getattr(import_module(module), name)
    if not issubclass(kind, BaseModule):
        raise ValueError(f"{config['model']['class_path']} of {checkpoint.parents[1]} is no model of vitlab")
    state = read_checkpoint(checkpoint)
    settings = {key: value for key, value in state["hyper_parameters"].items() if not key.startswith("_")}
    settings |= {} if kind.pretraining else {"weights": None, "pretrained": False}  # the checkpoint has them
    model: BaseModule = kind(**settings)
    model.load_state_dict(state["state_dict"], strict=True)
    unfuse_attention(model)
    return model.eval().requires_grad_(False)
