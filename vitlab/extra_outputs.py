"""What a classifier's best checkpoint leaves on request: robustness.csv and features.npz of its test images.

Shapes: N test images, B images of a batch, D features.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vitlab.atomic import replacing
from vitlab.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from vitlab.evaluate import corrupted
from vitlab.evaluate.predictions import Predictions
from vitlab.evaluate.projection import FILE as FEATURES
from vitlab.evaluate.results import read_results


class ExtraOutputs(Callback):
    """Writes robustness.csv and features.npz, as `run` asks for, when `fit` or `test` has tested the checkpoint.

    Args:
        folder: The run folder that the settings name.
        run: The RunSettings.
        checkpoint: The one that `test` was given.
    """

    def __init__(self, folder: Path, run: Any, checkpoint: str | None) -> None:
        self.folder, self.run, self.checkpoint = folder, run, checkpoint

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write beside the predictions of a `fit`, before results.json says that the run is finished."""
        self._write(trainer, pl_module, self.folder, anew=True)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write into the folder of the checkpoint's run what is not there yet."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if (folder := folder_of(Path(str(self.checkpoint)), self.folder, data)) is not None:
            self._write(trainer, pl_module, folder, anew=False)

    def _write(self, trainer: Any, module: Any, folder: Path, *, anew: bool) -> None:
        if not trainer.is_global_zero:
            return
        folder.mkdir(parents=True, exist_ok=True)
        if self.run.robustness:
            if (path := folder / corrupted.FILE).exists() and not anew:
                print(f"{path} is there already: delete it to measure again")
            else:
                print(write_robustness(trainer, module, trainer.datamodule, folder), path, sep="\n", flush=True)
        if self.run.features and (anew or not (folder / FEATURES).exists()):
            write_features(trainer, module, trainer.datamodule, folder)


def extra_outputs(verb: str, config: Any, folder: Path) -> list[Callback]:
    """Return the callback where the settings ask for it and the verb tests a checkpoint."""
    asked = config.run.robustness or config.run.features
    return [ExtraOutputs(folder, config.run, config.get("ckpt_path"))] if asked and verb in ("fit", "test") else []


def folder_of(checkpoint: Path, own: Path, data: Any) -> Path | None:
    """Return where the outputs of a checkpoint that is tested belong.

    Args:
        checkpoint: --ckpt_path.
        own: The run folder that the settings name.
        data: The ImageDataModule.

    Returns:
        The checkpoint's run where it is that run's best on its own test images, else the folder of the settings; None,
        with a warning, where that has the results of another checkpoint or of other images.
    """
    of = {"manifest_sha256": data.source_manifest.sha256, "test": data.split_images.split_sha256["test"]}
    run = checkpoint.absolute().parent.parent
    results = read_results(run) if checkpoint.name == "best.ckpt" else None
    if results is not None and of == {
        "manifest_sha256": results["manifest_sha256"], "test": results["split_sha256"]["test"],
    }:  # fmt: skip
        return run
    if (own / "results.json").exists():
        warnings.warn(
            f"{own} holds what its checkpoints/best.ckpt says of its own test images, and this is something else: no "
            "robustness.csv or features.npz is written; name another folder by --run.study=NAME",
            stacklevel=2,
        )
        return None
    return own


def write_robustness(trainer: Any, module: Any, data: Any, folder: Path) -> str:
    """Test the model on every corruption and severity and write robustness.csv.

    Args:
        trainer: Whose device and precision are used; one process does it.
        module: With the weights to be tested.
        data: The ImageDataModule.
        folder: To write into.

    Returns:
        What was found, in one line.
    """
    assert not module.training, "the loops of predict and test have put it into evaluation"
    start = time.perf_counter()
    rows = data.rows("test")
    cells: dict[str, list[list[np.ndarray]]] = {name: [[] for _ in (0, *SEVERITIES)] for name in CORRUPTIONS}
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        for batch, images in _batches(data, rows, module.device):
            whole = _predicted(trainer, module, data, images)
            for name in CORRUPTIONS:
                cells[name][0].append(whole)
                for severity in SEVERITIES:
                    worse = corrupt(images, name, severity, rows=batch)
                    cells[name][severity].append(_predicted(trainer, module, data, worse))
    predicted = {name: np.stack([np.concatenate(part) for part in parts]) for name, parts in cells.items()}
    manifest, k = data.manifest, len(data.classes)
    test = Predictions(
        classes=data.classes, probs=np.full((len(rows), k), 1 / k), label=manifest.label[rows], index=rows,
        split=manifest.split[rows], path=manifest.path[rows], patient_id=manifest.patient_id[rows],
    )  # fmt: skip
    found = corrupted.count(test, predicted)
    corrupted.write_robustness(folder / corrupted.FILE, found)
    scores = found.score("balanced_accuracy")
    return (
        f"robustness: balanced accuracy {scores[0, 0]:.3f} as they are, {scores[:, 1:].mean():.3f} mean of "
        f"{len(CORRUPTIONS)} corruptions ({time.perf_counter() - start:.0f} s)"
    )


def write_features(trainer: Any, module: Any, data: Any, folder: Path) -> None:
    """Write features.npz: `features`, the backbone's (N, D) float16, and `index`, (N,) rows of the manifest."""
    rows, found = data.rows("test"), []
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        for _, images in _batches(data, rows, module.device):
            found.append(_forward(module.features, trainer, data, images).cpu().numpy())
    features = np.concatenate(found)
    largest = np.abs(features).max(initial=1e-12)
    if largest > np.finfo(np.float16).max:  # only ratios matter to whoever looks at them
        features = features * (1 / largest)
    with replacing(folder / FEATURES) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, features=features.astype(np.float16), index=rows.astype(np.int64))


def _batches(data: Any, rows: np.ndarray, device: torch.device) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Yield rows (B,) and their uint8 images (B, C, H, W) on the device."""
    for start in range(0, len(rows), data.eval_batch_size):
        batch = rows[start : start + data.eval_batch_size]
        yield batch, torch.from_numpy(np.ascontiguousarray(data.cache.images[batch])).to(device)


def _forward(function: Callable[[Tensor], Tensor], trainer: Any, data: Any, images: Tensor) -> Tensor:
    return function(trainer.precision_plugin.convert_input(data.normalise(images.float() / 255))).float()


def _predicted(trainer: Any, module: Any, data: Any, images: Tensor) -> np.ndarray:
    """Return the class indices (B,) of uint8 images."""
    classes: np.ndarray = _forward(module, trainer, data, images).argmax(1).cpu().numpy()
    return classes
