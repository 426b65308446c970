"""Builds what `fit` would train, and trains nothing: a study knows before it begins what `fit` would refuse."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lightning.pytorch.cli import LightningCLI

from vitlab.lightning_cli import VitlabCLI
from vitlab.models.backbones import save_backbone
from vitlab.shipped import configs_folder


class _Unrun(VitlabCLI):
    """Makes data, model and trainer, and takes no folder."""

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Leave out what writes."""
        try:
            return LightningCLI.instantiate_trainer(self, logger=False)
        except TypeError as error:  # Lightning's, for devices that are no number
            raise ValueError(f"trainer: {error}") from None

    def _run_subcommand(self, subcommand: str) -> None:
        """Train nothing."""


def build(args: list[str], backbone: Path | None) -> None:
    """Build what `fit` would train.

    Args:
        args: Those of `fit`.
        backbone: Where to write the untrained backbone, for the recipe that starts from it.

    Raises:
        ValueError: `fit` would refuse it.
    """
    with ExitStack() as held:
        model: Any = _Unrun("fit", args, configs_folder(), held).model
    if backbone is not None:
        save_backbone(model.backbone, backbone)
