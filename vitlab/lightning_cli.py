"""LightningCLI for fit, validate, test and predict: settings in, a run folder out.

What is stated once and linked from there: num_classes, image_size and channels (data -> model), the run folder (run and
data -> loggers and checkpoints), precision (device and model -> trainer).
"""

import logging
import sys
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import torch
from jsonargparse.typing import NonNegativeInt
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger

from vitlab.callbacks import EpochLines, OnlineProbe, ReconstructionLogger, ResultsWriter
from vitlab.checkpoint_io import LastCheckpoint, MovedFolder
from vitlab.cost import CostMonitor
from vitlab.data.datamodule import ImageDataModule
from vitlab.data.sources import Source
from vitlab.devices import prepare, whole
from vitlab.extra_outputs import extra_outputs
from vitlab.mistakes import OneLine, explain
from vitlab.models.backbones import suit_attention_to_cpu
from vitlab.models.base import BaseModule
from vitlab.models.classifier import CNNClassifier, ViTClassifier
from vitlab.models.compiled import CompileMode
from vitlab.models.mae import MAE
from vitlab.models.simclr import SimCLR
from vitlab.precision import fastest_precision, on_cpu
from vitlab.preflight import LINKED, check_checkpoint, check_settings
from vitlab.resumed import warn_of_changes
from vitlab.run_folder import (
    EpochRow,
    RunSettings,
    SaveConfigAtFit,
    approach_of,
    check_free,
    clear,
    log_final,
    loggers,
    run_folder,
    study_of,
    summary,
)  # fmt: skip
from vitlab.stops import FiniteWeights, LastStep, Stage, in_one_line, memory_in_one_line

# Warnings of the libraries that no user can act on.
UNHELPFUL = (
    ".*args parameter is intended.*",
    ".*num_workers.*",
    ".*callbacks used to create the checkpoint.*",
    ".*GPU available.*",
    ".*log_every_n_steps.*",
    ".*exists and is not empty.*",
    ".*LeafSpec.*",
    ".*(lightly|across ranks is zero|all_gather is deprecated|epoch level in distributed).*",
    ".*enable_nested_tensor.*",
    ".*`srun` command.*",
)

class OneLineParser(OneLine, LightningArgumentParser):
    """LightningCLI's parser, with errors of one line that name the nearest right key."""

    # imported so that `--model SimCLR` is found, and listed for the nearest right name
    named: ClassVar = {
        "model": (CNNClassifier, ViTClassifier, SimCLR, MAE),
        "data.source": Source.__subclasses__(),
        "trainer.callbacks": Callback.__subclasses__(),
        "trainer.logger": Logger.__subclasses__(),
    }


class VitlabCLI(LightningCLI):
    """LightningCLI with the run folder, the links and the callbacks that all approaches share."""

    def __init__(self, verb: str, args: list[str], configs: Path, held: ExitStack) -> None:
        self.verb, self.held, self.folder, self.by_hand = verb, held, Path(), True
        super().__init__(
            BaseModule,
            ImageDataModule,
            subclass_mode_model=True,
            save_config_callback=SaveConfigAtFit,
            save_config_kwargs={"overwrite": True},
            parser_class=OneLineParser,
            parser_kwargs={verb: {"default_config_files": [str(configs / "base.yaml")]}, "prog": "vitlab"},
            # our sampler knows the ranks; Lightning's would pad and count rows twice
            trainer_defaults={"use_distributed_sampler": False},
            auto_configure_optimizers=False,
            args=[verb, *args],
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Build the parser of the verb that was called and no other: it saves a second at every start."""
        return {self.verb: LightningCLI.subcommands()[self.verb]}

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add --seed_everything: a number, as no run is without a seed."""
        parser.add_argument("--seed_everything", type=NonNegativeInt, default=0, help="seed of the training")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add `run` and the shared callbacks, and link what the data knows to the model."""
        parser.add_class_arguments(RunSettings, "run")
        parser.add_argument("--compile", type=bool | CompileMode, default=False,
                            help="torch.compile the model, true in its default mode: minutes at the start")  # fmt: skip
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_lightning_class_args(OnlineProbe, "probe")
        parser.add_lightning_class_args(ReconstructionLogger, "reconstructions")
        for fact in LINKED:
            parser.link_arguments(f"data.{fact}", f"model.init_args.{fact}", apply_on="instantiate")

    def _parse_ckpt_path(self) -> None:
        """Check --ckpt_path before Lightning reads it: it takes the model from the checkpoint, over the configuration.

        Raises:
            FileNotFoundError: There is no such checkpoint, or none was given where one is needed.
            ValueError: It is no checkpoint, or one of another model class.
        """
        config = self.config[self.verb]
        path = config.get("ckpt_path")
        if path is None:
            if self.verb != "fit":
                raise FileNotFoundError(f"{self.verb} needs weights: give --ckpt_path RUN/checkpoints/best.ckpt")
            return
        check_checkpoint(Path(path), config, resumed=self.verb == "fit")
        super()._parse_ckpt_path()

    def instantiate_classes(self) -> None:
        """Instantiate, with errors of one line."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            raise ValueError(explain(str(error), self._parser(self.verb), OneLineParser.named)) from error
        trainer = self.config[self.verb].trainer
        if on_cpu(trainer.accelerator):
            suit_attention_to_cpu(self.model, str(trainer.precision))
        self.model.compile_hot(self.config[self.verb].compile)
        if torch.cuda.is_available():
            torch.set_float32_matmul_precision("high")  # TF32 for what bf16 leaves in float32

    # Before classes exist: the run folder, loggers, precision.

    def before_instantiate_classes(self) -> None:
        """Derive what the settings imply."""
        config = self.config[self.verb]
        model_class, trainer = model_class_of(config.model.class_path), config.trainer
        check_settings(self.verb, config, model_class)
        self.folder = run_folder(config, model_class)
        if self.verb != "fit":
            config.model.init_args.weights, config.model.init_args.pretrained = None, False  # the checkpoint has them
            config.data.checkpoint = str(config.ckpt_path)
        if self.verb == "fit":
            config.checkpoint.dirpath = str(self.folder / "checkpoints")
            if model_class.pretraining:  # nothing to select by: labels stay out of pretraining
                config.checkpoint.monitor, config.checkpoint.filename = None, "last"
            elif trainer.check_val_every_n_epoch is None or repr(trainer.val_check_interval) not in ("None", "1.0"):
                config.checkpoint.save_on_train_epoch_end = False  # steps later: keep the weights that were validated
        if trainer.precision is None:
            trainer.precision = fastest_precision(trainer.accelerator)
        if self.verb == "fit" and config.get("ckpt_path"):
            warn_of_changes(self.folder / "config.yaml", config)

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Add loggers and the callbacks that need the run folder."""
        config = self.config_init[self.verb]
        settings = config["trainer"]
        fit = self.verb == "fit"
        if fit and not settings.get("fast_dev_run"):
            try:
                self.by_hand = check_free(self.folder, config, self.held)
            except ValueError:
                super().instantiate_trainer(logger=False)  # the trainer's own mistakes come first
                raise
        if settings.get("logger") in (None, True):
            kwargs["logger"] = (
                loggers(self.folder, config.get("ckpt_path")) if fit and not settings.get("fast_dev_run") else False
            )
        facts = {
            "approach": approach_of(config.run.approach, type(self.model)),
            "study": study_of(config),
            "axes": config.run.axes or "",
            "seed": self.config[self.verb].seed_everything,
        }
        self.results = ResultsWriter(self.folder, facts)
        self.cost, self.stage = CostMonitor(), Stage()
        extra: list[Callback] = [self.stage, self.results, *extra_outputs(self.verb, config, self.folder)]
        if fit:
            last = self.folder / "checkpoints" / "last.ckpt"
            extra += [self.cost, EpochRow(), MovedFolder(), FiniteWeights(last), LastStep()]
            if kwargs.get("logger", settings.get("logger")):
                extra.append(LearningRateMonitor("epoch"))
        on_terminal = sys.stderr.isatty()
        if settings.get("enable_progress_bar") is None:
            kwargs["enable_progress_bar"] = on_terminal
        if not kwargs.get("enable_progress_bar", settings.get("enable_progress_bar")):
            extra.append(EpochLines(str(facts["approach"])))
        settings["callbacks"] = [*(settings.get("callbacks") or []), *extra]
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except TypeError as error:  # Lightning's, for devices that are no number
            raise ValueError(f"trainer: {error}") from None
        prepare(trainer, self.model)
        if fit and not self.model.pretraining:
            # Lightning's save_last follows improvements of the best only. Behind that one in the list: last.ckpt
            # then knows the best of its own epoch.
            trainer.callbacks.append(LastCheckpoint(self.folder / "checkpoints"))  # type: ignore[attr-defined]
        return trainer

    def _run_subcommand(self, subcommand: str) -> None:
        """Run the verb and what comes behind it."""
        data, accumulate = self.config[self.verb].data, self.trainer.accumulate_grad_batches
        with memory_in_one_line(self.stage, data.batch_size, data.eval_batch_size, accumulate):
            super()._run_subcommand(subcommand)

    def fit(self, **kwargs: Any) -> None:
        """Train; a run that is stopped by Ctrl-C or SIGTERM says how to go on and ends with an exit code of its own."""
        trainer: Any = self.trainer
        config = self.config[self.verb]
        self.results.check(self.datamodule, self.model)
        self.datamodule.setup("fit")
        if config.run.overwrite and not config.get("ckpt_path") and trainer.is_global_zero and not trainer.fast_dev_run:
            clear(self.folder, by_hand=self.by_hand)
        try:
            with in_one_line(self.folder):
                trainer.fit(**kwargs)
            if not self.cost.totals:  # resumed behind the last epoch: nothing was left to train
                self.cost.close(trainer)
        except SystemExit:  # Lightning has torn the run down; its SIGTERM would end in 0
            last = self.folder / "checkpoints" / "last.ckpt"
            go_on = f"go on with --ckpt_path {last}" if last.exists() else "no epoch was finished, start again"
            print(f"vitlab fit: stopped in epoch {trainer.current_epoch + 1}; {go_on}", file=sys.stderr, flush=True)
            raise SystemExit(143 if trainer.received_sigterm else 130) from None

    # After fit: test the best checkpoint once and leave the run folder complete.

    def after_fit(self) -> None:
        """Evaluate the best checkpoint on all splits, once, and write the results."""
        trainer: Any = self.trainer
        if trainer.fast_dev_run:
            return
        probe = next(callback for callback in trainer.callbacks if isinstance(callback, OnlineProbe))
        best = self.config_init[self.verb].checkpoint.best_model_path  # of the run's own, whatever else keeps some
        if not self.model.pretraining:
            trainer.predict(self.model, datamodule=self.datamodule, ckpt_path=best, return_predictions=False)
        if trainer.is_global_zero:
            model = whole(trainer, self.model, model_class_of(self.config[self.verb].model.class_path), best)
            results = self.results.finish(trainer, model, self.cost.totals, probe.scores)
            log_final(trainer, results)
            print(summary(results, self.folder), flush=True)
        trainer.strategy.barrier("results written")

    def after_predict(self) -> None:
        """Write predictions.csv beside the checkpoint's run, or into the folder of this run."""
        trainer: Any = self.trainer
        if trainer.is_global_zero and not trainer.fast_dev_run:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / ("predictions.csv" if not (self.folder / "results.json").exists() else "predict.csv")
            self.results.write_predictions(self.datamodule, path)
            print(f"predictions: {path}")


def run_verb(verb: str, args: list[str], configs: Path) -> int:
    """Run fit, validate, test or predict.

    Args:
        verb: One of the four.
        args: The rest of the command line.
        configs: Folder of the shipped YAML files; its base.yaml is read first.

    Returns:
        0; mistakes are raised.
    """
    quieten()
    with ExitStack() as held:  # the lock of the run folder
        VitlabCLI(verb, args, configs, held)
    return 0


def quieten() -> None:
    """Silence what Lightning says at every start and what no user can act on."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    for message in UNHELPFUL:
        warnings.filterwarnings("ignore", message=message)


def model_class_of(class_path: str) -> type[BaseModule]:
    """Return the class of a class path; jsonargparse has already checked that it exists."""
    from importlib import import_module

    module, _, name = class_path.rpartition(".")
    found: type[BaseModule] = getattr(import_module(module), name)
    return found
