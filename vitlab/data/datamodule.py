"""ImageDataModule: the one LightningDataModule that all approaches share.

Images live decoded in a uint8 memory map; a batch is one gather from it, and augmentation runs on the batch's device.
Shapes: B batch, C channels, H = W = image_size.
"""

import os
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from vitlab.data.augment import Augment
from vitlab.data.batches import Batch, BatchLoader, BatchSampler, CachedImages, Normalise, mean_and_std
from vitlab.data.cache import ImageCache, build_cache
from vitlab.data.copy_ahead import CopyAhead
from vitlab.data.manifest import SPLITS, Manifest
from vitlab.data.resident import Residency, ResidentImages
from vitlab.data.sources import Source
from vitlab.data.split_images import SplitImages

DEFAULT_AUGMENT = Augment()
Loader = DataLoader[Batch] | CopyAhead


class ImageDataModule(LightningDataModule):
    """Images, splits, cache, augmentation and loaders for all approaches.

    Args:
        source: Where the images and labels come from.
        name: Name of the data set in run folders and tables; the source's own name where it is not given.
        image_size: Side of the square images that the model sees, in pixels.
        channels: 1 for gray, 3 for colour.
        fit: Keep the aspect ratio by padding with black or by cropping the centre.
        batch_size: Images a batch and device in training.
        eval_batch_size: Images a batch and device in evaluation.
        fold: Which fold is the test set (the next one is validation); null keeps published splits or cuts new ones.
        n_folds: How many folds to make where the manifest has none.
        val_fraction: Share of the training images (by patient) for validation where no validation split is published.
        test_fraction: Share of the images (by patient) for the test where no test split is published.
        label_fraction: Share of the training patients to keep, in nested subsets.
        group_by: "image" cuts splits and folds by image, not by patient: the split that leaks, to measure by how much.
        shuffle_labels: Deal the labels of each split anew among its images: every approach must then be at chance.
        seed: Seed of splits and label fractions; not the training's seed, so that runs differ on the same patients.
        augment: Augmentation of the training images.
        views: Augmented views a training image; SimCLR wants 2.
        resident: Largest share of a GPU's free memory for the decoded images, which then stay there; 0 is never.
        num_workers: Loader processes; null means none on a CPU or where the images are resident, else 2 beside a GPU.
        on_error: What an unreadable image does: stop the run, or be listed and skipped.
        cache_dir: Folder of decoded images; null means $VITLAB_CACHE or the user's cache folder.
        checkpoint: Evaluate as this run was trained: its classes, mean and standard deviation. The command line sets it
            to --ckpt_path. On other images than it was trained on, a published test split is kept, else all are test.
    """

    def __init__(
        self,
        source: Source,
        *,
        name: str | None = None,
        image_size: int = 64,
        channels: Literal[1, 3] = 1,
        fit: Literal["pad", "crop"] = "pad",
        batch_size: int = 128,
        eval_batch_size: int = 256,
        fold: int | None = None,
        n_folds: int = 5,
        val_fraction: float = 0.15,
        test_fraction: float = 0.2,
        label_fraction: float = 1.0,
        group_by: Literal["patient", "image"] = "patient",
        shuffle_labels: bool = False,
        seed: int = 0,
        augment: Augment = DEFAULT_AUGMENT,
        views: Literal[1, 2] = 1,
        resident: float = 0.25,
        num_workers: int | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        cache_dir: str | None = None,
        checkpoint: str | None = None,
    ) -> None:
        super().__init__()
        sizes = {"batch_size": batch_size, "eval_batch_size": eval_batch_size, "image_size": image_size}
        for setting, value in sizes.items():
            if value < 1:
                raise ValueError(f"data.{setting} is {value}; give a number of at least 1")
        self.source, self.name = source, name or source.name
        self.image_size, self.channels, self.fit = image_size, channels, fit
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.split_settings: dict[str, Any] = {
            "fold": fold,
            "n_folds": n_folds,
            "val_fraction": val_fraction,
            "test_fraction": test_fraction,
            "group_by": group_by,
            "seed": seed,
        }
        self.label_fraction, self.shuffle_labels = label_fraction, shuffle_labels
        self.augment, self.views, self.num_workers, self.on_error = augment, views, num_workers, on_error
        self.residency = Residency(resident, num_workers)
        self.cache_dir = Path(cache_dir) if cache_dir else None
        self.split_images = SplitImages(
            source,
            name=self.name,
            split_settings=self.split_settings,
            label_fraction=label_fraction,
            shuffled=shuffle_labels,
            checkpoint=Path(checkpoint) if checkpoint else None,
        )
        self.trained = self.split_images.trained

    # Facts, read from the manifest alone: the CLI links them to the model before any image is decoded.

    @property
    def source_manifest(self) -> Manifest:
        """The manifest as the source gives it; its sha256 names the data set in every result."""
        return self.split_images.source_manifest

    @property
    def manifest(self) -> Manifest:
        """The manifest with this run's splits."""
        return self.split_images.manifest

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the targets."""
        return self.split_images.classes

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    # Images.

    @cached_property
    def cache(self) -> ImageCache:
        """Every image of the manifest, decoded once, uint8 (N, C, H, W)."""
        cache = build_cache(
            self.source_manifest,
            image_size=self.image_size,
            channels=self.channels,
            fit=self.fit,
            decode=self.source.decode,
            on_error=self.on_error,
            cache_dir=self.cache_dir,
        )
        self.source.close()
        return cache

    def rows(self, split: str) -> np.ndarray:
        """Return the manifest rows of a split that have a label and could be decoded, int64 (n,).

        The split "" is all others that could be decoded: left out of the splits, or without a label.
        """
        if not split:
            return np.flatnonzero(((self.manifest.split == "") | (self.split_images.targets < 0)) & self.cache.ok)
        return np.flatnonzero((self.manifest.split == split) & (self.split_images.targets >= 0) & self.cache.ok)

    @cached_property
    def class_counts(self) -> list[int]:
        """Training images of each class."""
        targets = self.split_images.targets[self.rows("train")]
        counts: list[int] = np.bincount(targets, minlength=self.num_classes).tolist()
        return counts

    @cached_property
    def mean_std(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of the training split's pixels in [0, 1], one figure a channel.

        Those of the checkpoint, where there is one.
        """
        if self.trained:
            mean, std = self.trained["mean_std"]
            return mean, std
        return mean_and_std(self.cache.images, self.rows("train"))

    def prepare_data(self) -> None:
        """Decode the images once a machine, before the ranks start."""
        _ = self.cache

    def state_dict(self) -> dict[str, Any]:
        """Return what an evaluation needs of the training's data, for the checkpoint."""
        return {**self.split_images.facts(), "mean_std": self.mean_std}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Check that a run which is resumed goes on with the images that it started with."""
        self.split_images.check_resumed(state_dict)

    def setup(self, stage: str) -> None:
        """Check that no split in use is empty.

        Raises:
            ValueError: A split has no images.
        """
        wanted = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}.get(stage, ())
        for split in wanted:
            if not len(self.rows(split)):
                to_do = "set the manifest's split column, data.fold, data.val_fraction or data.test_fraction"
                if self.trained and split == "val":
                    to_do = "of other images than a run's own all are its test: use test in place of validate"
                raise ValueError(f"the {split} split of {self.name} has no images: {to_do}")

    # Loaders.

    def _loader(self, split: str, *, train: bool) -> Loader:
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        images, rows = self.residency.images(self.cache.images, device), (self.split_images.targets, self.rows(split))
        dataset = CachedImages(self.cache, *rows) if images is None else ResidentImages(images, *rows)
        batch_size = min(self.batch_size, -(-len(dataset) // world_size)) if train else self.eval_batch_size
        sampler = BatchSampler(
            len(dataset),
            batch_size,
            rank=rank,
            world_size=world_size,
            seed=self.training_seed if train else None,
            progress=self._progress if train else lambda: (0, 0),
            image_bytes=self.cache.images[:1].nbytes,
        )
        copied = images is None and device.type == "cuda"
        workers = self.num_workers if self.num_workers is not None else 2 * copied
        loader = BatchLoader(
            dataset, batch_size=None, sampler=sampler, num_workers=workers, pin_memory=copied,
            persistent_workers=workers > 0,
        )  # fmt: skip
        return CopyAhead(loader, device) if copied else loader

    def _progress(self) -> tuple[int, int]:
        """Return the epoch and the batches of it already seen; both come back from a checkpoint."""
        if self.trainer is None:
            return 0, 0
        done = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        return self.trainer.current_epoch, done if self.trainer.fit_loop.restarting else 0

    def train_dataloader(self) -> Loader:
        """Return the shuffled training loader; the last incomplete batch is dropped."""
        return self._loader("train", train=True)

    def val_dataloader(self) -> Loader:
        """Return the validation loader."""
        return self._loader("val", train=False)

    def test_dataloader(self) -> Loader:
        """Return the test loader."""
        return self._loader("test", train=False)

    def predict_dataloader(self) -> list[Loader]:
        """Return loaders of train, val, test and, for a checkpoint, all other images, on the evaluation transform."""
        return [self.eval_dataloader(split) for split in (*SPLITS, *([""] if self.trained else []))]

    def eval_dataloader(self, split: str) -> Loader:
        """Return one split's loader on the evaluation transform, in the manifest's order."""
        return self._loader(split, train=False)

    # Transforms, on the batch's device.

    @property
    def training_seed(self) -> int:
        """Seed of shuffling and augmentation: the run's `seed_everything`."""
        return int(os.environ.get("PL_GLOBAL_SEED", 0))

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augment (training) and normalise a uint8 batch.

        Args:
            batch: uint8 images (B, C, H, W).
            dataloader_idx: Not used.

        Returns:
            The batch with float32 images, (B, C, H, W), or (2, B, C, H, W) in training with two views.
        """
        if batch.images.dtype != torch.uint8:
            return batch
        trainer = self.trainer
        if trainer is None or not trainer.training:
            return batch._replace(images=self.normalise.in_place(batch.images.float() / 255))
        step = trainer.fit_loop.epoch_loop.batch_progress.total.ready
        size = len(batch.images)
        where = slice(trainer.global_rank * size, (trainer.global_rank + 1) * size)
        place: dict[str, Any] = {"step": step, "rows": where, "total": size * trainer.world_size}
        place |= {"seed": self.training_seed, "finish": self.normalise.in_place}
        if self.views == 1:
            return batch._replace(images=self.augment(batch.images, **place))
        views = torch.empty(self.views, *batch.images.shape, device=batch.images.device)
        for view, out in enumerate(views):  # in its place: stacking them was a fifth of the pipeline
            self.augment(batch.images, view=view, out=out, **place)
        return batch._replace(images=views)

    @cached_property
    def normalise(self) -> Normalise:
        """Subtracts the training split's mean and divides by its standard deviation; images in [0, 1], (B, C, H, W)."""
        return Normalise(*self.mean_std)
