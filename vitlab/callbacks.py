"""What every run does beside training: probes and draws a pretraining, prints, writes predictions and results."""

import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from vitlab.cost import device_name, flops_per_image
from vitlab.evaluate import probe
from vitlab.evaluate.metrics import compute_metrics
from vitlab.evaluate.predictions import SPLITS, write_predictions
from vitlab.evaluate.results import check_same_split, pretraining_cost, write_results
from vitlab.models.backbones import save_backbone


def is_last_epoch(trainer: Trainer) -> bool:
    """Say, at an epoch's end, whether it is the last one: by the count of epochs or of steps, or by who stops early."""
    by_steps = 0 <= trainer.max_steps <= trainer.global_step  # -1 is no end
    return by_steps or trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs


class OnlineProbe(Callback):
    """kNN and linear probe of a pretraining: fitted on the training split's features, scored on validation.

    Logs val/knn_accuracy and val/linear_accuracy (both balanced), val/feature_std (1 is spread out, 0 collapsed;
    SimSiam, arXiv:2011.10566) and val/rankme (effective rank; RankMe, arXiv:2210.02885). No label reaches the backbone.

    Args:
        every_n_epochs: Probe after this many epochs, and always after the last one; 0 never.
        max_images: Training images to fit the probes on, evenly spread over the split.
    """

    logged: ClassVar[tuple[str, ...]] = ("val/knn_accuracy", "val/linear_accuracy", "val/feature_std", "val/rankme")

    def __init__(self, every_n_epochs: int = 10, max_images: int = 5000) -> None:
        self.every_n_epochs, self.max_images = every_n_epochs, max_images
        self.scores: dict[str, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the last scores, for the checkpoint."""
        return {"scores": self.scores}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the last scores of a checkpoint."""
        self.scores = state_dict["scores"]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Probe when it is time; all ranks run the model, which may be sharded over them, and rank 0 scores."""
        if not getattr(pl_module, "pretraining", False) or not self.every_n_epochs:
            return
        if is_last_epoch(trainer) or (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            trainer.validating = True  # as it is, in batches of that size
            known = [*self._features(trainer, pl_module, "train"), *self._features(trainer, pl_module, "val")]
            trainer.training = True
            if trainer.is_global_zero:
                self.scores = self._probe(*known)
            self.scores = trainer.strategy.broadcast(self.scores)
            pl_module.log_dict({f"val/{name}": value for name, value in self.scores.items()})

    @staticmethod
    def _probe(*known: np.ndarray) -> dict[str, float]:
        return {
            "knn_accuracy": probe.knn_accuracy(*known),
            "linear_accuracy": probe.linear_probe_accuracy(*known),
            "feature_std": probe.feature_std(known[2]),
            "rankme": probe.rankme(known[2]),
        }

    @torch.no_grad()
    def _features(self, trainer: Trainer, module: Any, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Return features (N, D) and targets (N,) of a split on the evaluation transform."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        dataset = data.eval_dataloader(split).dataset
        step = -(-len(dataset) // self.max_images) if split == "train" else 1
        positions = np.arange(0, len(dataset), step)
        training = module.training
        module.eval()
        features, targets = [], []
        for chunk in np.array_split(positions, -(-len(positions) // data.eval_batch_size)):
            batch = dataset[chunk]
            images = data.normalise(batch.images.to(module.device).float() / 255)
            with trainer.precision_plugin.forward_context():
                features.append(module(images).float().cpu().numpy())
            targets.append(batch.targets.cpu().numpy())
        module.train(training)
        return np.concatenate(features), np.concatenate(targets)


class ReconstructionLogger(Callback):
    """Draws the same eight validation images, masked and reconstructed, into TensorBoard (MAE).

    Args:
        every_n_epochs: Draw after this many epochs and after the last one; 0 never.
        images: How many images.
    """

    def __init__(self, every_n_epochs: int = 20, images: int = 8) -> None:
        self.every_n_epochs, self.images = every_n_epochs, images

    @torch.no_grad()
    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Draw three rows: image, what the encoder sees, reconstruction."""
        epoch = trainer.current_epoch + 1
        due = self.every_n_epochs and (epoch % self.every_n_epochs == 0 or is_last_epoch(trainer))
        board = next((log.experiment for log in trainer.loggers if isinstance(log, TensorBoardLogger)), None)
        if not due or not hasattr(pl_module, "reconstruct") or board is None:
            return  # all ranks go on: the model may be sharded over them; those behind the first draw on a dummy
        from torchvision.utils import make_grid

        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        dataset = data.eval_dataloader("val").dataset
        batch = dataset[np.linspace(0, len(dataset) - 1, min(self.images, len(dataset))).astype(int)]
        images = data.normalise(batch.images.to(pl_module.device).float() / 255)
        training = pl_module.training
        pl_module.eval()
        masked, drawn = pl_module.reconstruct(images, seed=0)
        pl_module.train(training)
        mean, std = (images.new_tensor(values).view(1, -1, 1, 1) for values in data.mean_std)
        rows = torch.cat([images, masked, drawn]).float() * std + mean
        board.add_image("val/reconstructions", make_grid(rows.clamp(0, 1).cpu(), nrow=len(images)), epoch)


class EpochLines(Callback):
    """One plain line an epoch where there is no terminal for a progress bar; at most one in `seconds`, and the last.

    Args:
        name: Of the run, at the start of each line: two runs may share a screen.
        seconds: Shortest time between two lines.
    """

    def __init__(self, name: str, seconds: float = 5.0) -> None:
        self.name, self.seconds, self._last = name, seconds, 0.0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print epoch, losses and accuracy."""
        epoch, now, known = trainer.current_epoch + 1, time.monotonic(), trainer.callback_metrics  # joined by all ranks
        if not trainer.is_global_zero or (now - self._last < self.seconds and not is_last_epoch(trainer)):
            return
        self._last = now
        shown = ("train/loss", "val/loss", "val/accuracy", "val/knn_accuracy", "val/linear_accuracy")
        figures = [
            f"{name} {float(known[name]):.3f}" for name in shown if name in known
        ]
        of = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""  # a run may end by steps alone
        print(f"{self.name} epoch {epoch}{of}  " + "  ".join(figures), flush=True)


class ResultsWriter(Callback):
    """Writes what a run leaves: predictions.csv after prediction, backbone.safetensors and results.json at the end.

    Args:
        folder: The run folder.
        facts: What the command line knows of the run: approach, axes, seed.
    """

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self.folder, self.facts = folder, facts
        self.outputs: dict[int, list[dict[str, Tensor]]] = {}
        self.probabilities: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.pretrain: dict[str, Any] | None = None

    def check(self, data: Any, module: Any) -> None:
        """Refuse weights that were pretrained on this run's test images; to be called before anything is written.

        Args:
            data: The ImageDataModule.
            module: The model that is about to be trained.

        Raises:
            ValueError: The weights come from another split of the same images.
        """
        self.pretrain = pretraining_cost(getattr(module, "weights", None))
        check_same_split(self.pretrain, data.source_manifest.sha256, data.split_images.split_sha256)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep indices and logits of this rank."""
        self.outputs.setdefault(dataloader_idx, []).append(outputs)

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather the ranks, drop repeated rows, and keep each split's rows in the manifest's order."""
        for loader, outputs in sorted(self.outputs.items()):
            indices = torch.cat([output["indices"] for output in outputs])
            logits = torch.cat([output["logits"].float() for output in outputs])
            if trainer.world_size > 1:
                gathered: list[Any] = [pl_module.all_gather(part) for part in (indices, logits)]
                indices, logits = (part.flatten(0, 1) for part in gathered)
            rows, first = np.unique(indices.cpu().numpy(), return_index=True)
            keep = rows >= 0
            probs = logits.cpu().double().softmax(1).numpy()
            self.probabilities[(*SPLITS, "")[loader]] = (rows[keep], probs[first[keep]])
        self.outputs.clear()

    def write_predictions(self, data: Any, path: Path) -> dict[str, dict[str, float | None]]:
        """Write predictions.csv and return the metrics of each split.

        Args:
            data: The ImageDataModule.
            path: File to write.
        """
        manifest, metrics = data.manifest, {}
        columns: dict[str, list[np.ndarray]] = {"split": [], "index": [], "probs": []}
        for split, (rows, probs) in self.probabilities.items():
            columns["split"].append(manifest.split[rows])
            columns["index"].append(rows)
            columns["probs"].append(probs)
            if split:
                metrics[split] = compute_metrics(probs, data.split_images.targets[rows]) if len(rows) else {}
        rows = np.concatenate(columns["index"])
        write_predictions(
            path,
            split=np.concatenate(columns["split"]),
            index=rows,
            path_column=manifest.path[rows],
            patient_id=manifest.patient_id[rows],
            label=manifest.label[rows],
            probs=np.concatenate(columns["probs"]),
            classes=data.classes,
        )
        return metrics

    def finish(
        self, trainer: Trainer, module: LightningModule, cost: dict[str, float], scores: dict[str, float]
    ) -> dict[str, Any]:
        """Write everything that a finished `fit` leaves, results.json last.

        Args:
            trainer: After fit and, for a classifier, after predict.
            module: With the weights that the results speak of.
            cost: Totals of the CostMonitor.
            scores: Last scores of the online probe, for a pretraining.

        Returns:
            The results as written.
        """
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        pretraining = bool(getattr(module, "pretraining", False))
        mean, std = data.mean_std
        images = {
            "dataset": data.name,
            "manifest_sha256": data.source_manifest.sha256,
            "split_sha256": data.split_images.split_sha256,
        }
        training = {**{key: self.facts[key] for key in ("approach", "seed")}, **images}
        training |= {key: cost[key] for key in ("epochs", "images_seen", "wall_seconds")}
        metadata = {"mean": mean, "std": std, "training": training}
        save_backbone(module.backbone, self.folder / "backbone.safetensors", metadata)  # type: ignore[arg-type]
        metrics = {} if pretraining else self.write_predictions(data, self.folder / "predictions.csv")
        results = {
            **self.facts,
            "task": "pretrain" if pretraining else "supervised",
            **images,
            "classes": data.classes,
            "split": data.split_settings,
            "fold": data.split_settings["fold"],
            "label_fraction": data.label_fraction,
            "shuffle_labels": data.shuffle_labels,
            "images": {split: len(data.rows(split)) for split in SPLITS},
            "backbone": getattr(module, "backbone_name", type(module.backbone).__name__),
            "parameters": sum(parameter.numel() for parameter in module.parameters()),
            "flops_per_image": flops_per_image(module, data.channels, data.image_size),
            **cost,
            "pretrain": self.pretrain,
            "probe": scores,
            "metrics": metrics,
            "device": device_name(trainer),
            "precision": str(trainer.precision),
            **getattr(trainer.lightning_module, "step_facts", {}),
            "status": "finished",
        }
        write_results(self.folder, results)
        return results
