"""SplitImages: which image belongs to which split and class, in training and for a checkpoint; no pixel is read."""

import warnings
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vitlab.checkpoint import read_checkpoint
from vitlab.data.manifest import SPLITS, Manifest, split_sha256
from vitlab.data.shuffled_labels import shuffle_labels
from vitlab.data.sources import Source
from vitlab.data.splits import assign_splits


class SplitImages:
    """The manifest of a source with splits, and class indices for its labels.

    Args:
        source: Where the images and labels come from.
        name: Name of the data set, for messages.
        split_settings: For `assign_splits`, but the label fraction.
        label_fraction: Share of the training images to keep.
        shuffled: Deal the labels of each split anew among its images.
        checkpoint: Evaluate what this run trained: its classes, and its splits where the images are the same. Of other
            images a published test split is kept, else all are test.
    """

    def __init__(
        self,
        source: Source,
        *,
        name: str,
        split_settings: dict[str, Any],
        label_fraction: float = 1.0,
        shuffled: bool = False,
        checkpoint: Path | None = None,
    ) -> None:
        self.source, self.name = source, name
        self.split_settings, self.label_fraction, self.shuffled = split_settings, label_fraction, shuffled
        self.trained: dict[str, Any] | None = None
        if checkpoint:
            self.trained = read_checkpoint(checkpoint)["ImageDataModule"]

    @cached_property
    def source_manifest(self) -> Manifest:
        """The manifest as the source gives it; its sha256 names the data set in every result."""
        manifest = self.source.manifest()
        manifest.check(for_training=self.trained is None)
        return manifest

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest with this run's splits.

        Raises:
            ValueError: A checkpoint is to be evaluated on another split of the images that it was trained on.
        """
        source = self.source_manifest
        if self.trained and self.trained["manifest_sha256"] != source.sha256:
            published = (source.split == "test").any()
            return source if published else source.with_columns(split=np.full(len(source), "test", dtype=object))
        manifest = assign_splits(source, label_fraction=self.label_fraction, **self.split_settings)
        if self.trained and any(
            split_sha256(manifest, split) != self.trained["split_sha256"][split] for split in ("val", "test")
        ):
            raise ValueError(
                f"the checkpoint was trained on other splits of {self.name} ({self.trained['split']}), so that it has "
                "seen images of this test: give the config.yaml of its run"
            )
        bare = np.flatnonzero((manifest.label == "") & (manifest.split != ""))
        if self.trained is None and len(bare):
            where = f"{len(bare)} of {len(manifest)} rows of {source.place}, first {source.line(int(bare[0]))}"
            warnings.warn(f"no label in {where}: they are left out", stacklevel=2)
        return shuffle_labels(manifest, self.split_settings["seed"]) if self.shuffled else manifest

    @cached_property
    def classes(self) -> list[str]:
        """Class names in the order of the targets.

        Raises:
            ValueError: A checkpoint is to be evaluated on labels that it does not know.
        """
        found = self.source_manifest.classes
        if self.trained is None:
            return found
        known: list[str] = self.trained["classes"]
        if strange := sorted(set(found) - set(known)):
            raise ValueError(
                f"{self.name} has the classes {', '.join(map(repr, strange))}, and the checkpoint knows "
                f"{', '.join(map(repr, known))}: rename the labels, or leave them empty to predict without"
            )
        return known

    @cached_property
    def targets(self) -> np.ndarray:
        """Index of each label in `classes`, -1 where there is none, int64 (N,)."""
        index = {"": -1, **{name: number for number, name in enumerate(self.classes)}}
        return np.fromiter((index[label] for label in self.manifest.label), np.int64, len(self.manifest))

    @cached_property  # every checkpoint asks
    def split_sha256(self) -> dict[str, str]:
        """Digest of each split's images."""
        return {split: split_sha256(self.manifest, split) for split in SPLITS}

    def facts(self) -> dict[str, Any]:
        """Return what an evaluation of a checkpoint needs to know."""
        return {
            "classes": self.classes,
            "manifest_sha256": self.source_manifest.sha256,
            "split_sha256": self.split_sha256,
            "split": self.split_settings,
        }

    def check_resumed(self, facts: dict[str, Any]) -> None:
        """Check that a run goes on with the images that it started with.

        Args:
            facts: From the checkpoint.

        Raises:
            ValueError: It does not.
        """
        mine = (self.source_manifest.sha256, self.split_sha256)
        if self.trained is None and mine != (facts["manifest_sha256"], facts["split_sha256"]):
            raise ValueError(
                f"the checkpoint was trained on other images or splits than {self.name} has now: go on with the "
                "config.yaml of its run and the images of its time, or start anew without --ckpt_path"
            )
