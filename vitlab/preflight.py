"""What fit, validate, test and predict refuse before anything is built, read or written."""

from pathlib import Path
from typing import Any

import torch

from vitlab.checkpoint import read_checkpoint
from vitlab.devices import check_strategy
from vitlab.mistakes import refuse_null
from vitlab.models.base import BaseModule
from vitlab.monitored import check_monitored
from vitlab.resumed import check_resumed

# What the data know and the model is told.
LINKED = ("num_classes", "image_size", "channels")
# Numbers that Lightning and torch look at when training has begun.
_LEAST = {
    "data.num_workers": 0, "probe.every_n_epochs": 0, "probe.max_images": 1, "reconstructions.every_n_epochs": 0,
    "reconstructions.images": 1, "trainer.accumulate_grad_batches": 1, "trainer.check_val_every_n_epoch": 1,
}  # fmt: skip
_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "32", "bf16", "16")


def check_settings(verb: str, config: Any, model_class: type[BaseModule]) -> None:
    """Find settings that are right one by one and cannot work together, or here.

    Args:
        verb: fit, validate, test or predict.
        config: The verb's settings, parsed.
        model_class: The class that config.model names.

    Raises:
        ValueError: There are such; the message names the first.
    """
    name, views, trainer = model_class.__name__, model_class.views, config.trainer
    own = dict(config.model.init_args)
    linked = [fact for fact in LINKED if own.pop(fact, None) is not None]
    if linked and not config.get("ckpt_path"):  # a checkpoint states them as well
        raise ValueError(f"model.{linked[0]} is not yours to set: the data tell the model")
    refuse_null("model", model_class, own)
    check_strategy(config)
    _check_trainer(trainer)
    if verb == "fit" and views != config.data.views:
        raise ValueError(f"{name} trains on {views} views of an image: set --data.views={views}")
    if verb == "fit":
        check_monitored(config, model_class)
        _check_counts(config, model_class)
    if model_class.pretraining and (asked := [name for name in ("robustness", "features") if config.run[name]]):
        raise ValueError(f"run.{asked[0]} is for a classifier and {name} is a pretraining: give it to the fine-tuning")
    if verb != "fit" and model_class.pretraining:
        raise ValueError(
            f"{verb} needs a classifier and {name} is a pretraining: fine-tune its "
            "backbone.safetensors first, as configs/cnn_simclr.yaml and configs/vit_mae.yaml say"
        )
    if trainer.accelerator in ("gpu", "cuda") and not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        raise ValueError(
            f"trainer.accelerator is {trainer.accelerator} and torch finds no GPU here: leave out "
            "configs/hardware/gpu.yaml, or set --trainer.accelerator=cpu"
        )
    empty = ["max_epochs", "max_steps", "limit_train_batches"] + ["limit_val_batches"] * (not model_class.pretraining)
    if verb == "fit" and not trainer.fast_dev_run and (empty := [name for name in empty if trainer[name] == 0]):
        raise ValueError(f"trainer.{empty[0]}=0 leaves no checkpoint to test; --trainer.fast_dev_run=true tries things")
    _check_loggers(trainer.logger)
    if trainer.enable_checkpointing is False:
        raise ValueError(
            "trainer.enable_checkpointing=false leaves nothing to test: the best checkpoint of a run is; leave it "
            "out, or try things with --trainer.fast_dev_run=true"
        )


def _check_trainer(trainer: Any) -> None:
    """Find settings of Lightning's that the images and their order are not made for."""
    if trainer.precision is not None and str(trainer.precision) not in _PRECISIONS:
        raise ValueError(
            f"trainer.precision={trainer.precision} would hold images and weights in it: give one of "
            f"{', '.join(_PRECISIONS[:3])}"
        )
    if trainer.overfit_batches:
        raise ValueError(
            "trainer.overfit_batches is not taken: learn a few images by heart with --data.label_fraction=0.05"
        )
    if trainer.use_distributed_sampler:
        raise ValueError("trainer.use_distributed_sampler is false: the data deal the images to the devices")


def _check_loggers(named: Any) -> None:
    """Find a logger whose folder is an address: Lightning would send what it logs there."""
    for logger in named if isinstance(named, list) else [named]:
        folder = logger.init_args.get("save_dir") if hasattr(logger, "init_args") else None
        if "://" in str(folder):
            raise ValueError(f"trainer.logger has an address as save_dir, {folder}: give a folder of this machine")


def _check_counts(config: Any, model_class: type[BaseModule]) -> None:
    """Find numbers that end a training in its first step, or leave nothing to test after its last."""
    for key, least in _LEAST.items():
        if (value := config[key]) is not None and value < least:
            raise ValueError(f"{key} is {value}; give a number of at least {least}")
    trainer, checkpoint = config.trainer, config.checkpoint
    if model_class.views == 2 and config.data.batch_size < 2 and str(trainer.devices) == "1":
        raise ValueError(
            f"{model_class.__name__} needs other images to compare with: set --data.batch_size to at least 2"
        )
    if trainer.max_epochs == -1 and trainer.max_steps == -1:
        raise ValueError("the schedule of the learning rate needs an end: set --trainer.max_epochs or max_steps")
    if model_class.pretraining or trainer.fast_dev_run:  # they test nothing
        return
    if checkpoint.save_top_k == 0:
        raise ValueError("checkpoint.save_top_k=0 keeps no checkpoint to test; give 1")
    last = trainer.max_epochs
    for key in ("checkpoint.every_n_epochs", "trainer.check_val_every_n_epoch"):
        if last is not None and (config[key] or 0) > last > 0:
            raise ValueError(
                f"{key}={config[key]} and trainer.max_epochs={last}: the run would end without a checkpoint to test"
            )


def check_checkpoint(path: Path, config: Any, *, resumed: bool = False) -> None:
    """Find a checkpoint that is missing, unreadable, or of another model or image size than the settings.

    Args:
        path: The checkpoint.
        config: The verb's settings, parsed; of the model before the checkpoint's are laid over them.
        resumed: Whether its training goes on.

    Raises:
        FileNotFoundError: It is missing.
        ValueError: It cannot be read or does not fit.
    """
    state = read_checkpoint(path)
    settings = state["hyper_parameters"]
    class_path = config.model.class_path
    if (held := settings.get("_class_path", class_path)) != class_path:
        names = [full.rpartition(".")[2] for full in (held, class_path)]
        raise ValueError(
            f"{path} holds a {names[0]} and the configuration asks for a {names[1]}: give the recipe that trained it"
        )
    for fact in ("image_size", "channels"):  # a CNN takes other sizes, and is worse at them
        if (held := settings.get(fact, config.data[fact])) != config.data[fact]:
            raise ValueError(
                f"{path} was trained with data.{fact}={held}, and it is {config.data[fact]} here: give the run's "
                f"config.yaml, or --data.{fact}={held}"
            )
    if resumed:
        check_resumed(path, config, state, linked=LINKED)
