"""AuditedData: the settings of the data that an audit takes, without what trains on it.

`ImageDataModule` has the same settings, but importing it loads Lightning and torch, which takes as long as reading two
thousand images. A test holds the two signatures together.
"""

from typing import Any, Literal

from vitlab.data.sources import Source
from vitlab.mistakes import one_line_parser

# Settings of the data that change nothing in an audit: a configuration of `fit` may have them, the help does not.
UNUSED = (
    "image_size", "channels", "fit", "batch_size", "eval_batch_size", "label_fraction", "shuffle_labels", "augment",
    "views", "resident", "num_workers", "on_error", "cache_dir", "checkpoint",
)  # fmt: skip


class AuditedData:
    """A source of images, and how it is split.

    Args:
        source: Where the images and labels come from.
        name: Name of the data set in run folders and tables; the source's own name where it is not given.
        fold: Which fold is the test set (the next one is validation); null keeps published splits or cuts new ones.
        n_folds: How many folds to make where the manifest has none.
        val_fraction: Share of the training images (by patient) for validation where no validation split is published.
        test_fraction: Share of the images (by patient) for the test where no test split is published.
        group_by: "image" cuts splits and folds by image, not by patient: the split that leaks, to measure by how much.
        seed: Seed of splits and label fractions; not the training's seed, so that runs differ on the same patients.
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
        augment: dict[str, Any] | None = None,
        views: Literal[1, 2] = 1,
        resident: float = 0.25,
        num_workers: int | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        cache_dir: str | None = None,
        checkpoint: str | None = None,
    ) -> None:
        if augment:
            _check_augment(augment)
        self.source, self.name = source, name or source.name
        self.split_settings: dict[str, Any] = {
            "fold": fold,
            "n_folds": n_folds,
            "val_fraction": val_fraction,
            "test_fraction": test_fraction,
            "group_by": group_by,
            "seed": seed,
        }


def _check_augment(settings: dict[str, Any]) -> None:
    """Raise ValueError where `fit` would refuse the augmentation; torch is imported for it."""
    from vitlab.data.augment import Augment

    parser = one_line_parser(prog="vitlab audit")
    parser.add_class_arguments(Augment, "data.augment")
    parser.instantiate_classes(parser.parse_object({"data": {"augment": settings}}))
