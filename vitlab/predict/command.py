"""`python -m vitlab predict --ckpt_path RUN/checkpoints/best.ckpt --images DIR`: what a trained model says of files."""

import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from vitlab.atomic import check_writable, replacing_all
from vitlab.data.datamodule import ImageDataModule
from vitlab.evaluate.results import read_results
from vitlab.explain.loaded import Loaded, load_model, load_run
from vitlab.explain.ood import NAME, OutOfDistribution, ood_of, saved_ood
from vitlab.explain.saliency.maps import methods_for, saliency_maps
from vitlab.mistakes import one_line_parser
from vitlab.predict.images import Files
from vitlab.predict.overlay import write_overlay
from vitlab.predict.tables import Answers, write_images, write_volumes

TABLES = ("predictions.csv", "volumes.csv")
SALIENCY = "saliency"  # the folder of pictures beside them
_BATCH = 256
_NAMED = 10  # files that cannot be read, in a message


def main(args: list[str]) -> int:
    """Run the verb.

    Args:
        args: What stands behind `predict`.

    Returns:
        0; mistakes are raised.

    Raises:
        ValueError: For a user's mistake, in one line.
        OSError: A file is not there, or nothing can be written.
    """
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    settings = _settings(args)
    source = Files(settings.images)
    out = settings.out if settings.out is not None else Path("predictions") / source.name
    _check_out(out, settings.images)
    model, config = _model_of(settings.ckpt_path)
    folder = settings.ckpt_path.absolute().parents[1]
    with tempfile.TemporaryDirectory(prefix="vitlab-predict-") as kept:  # images of patients stay in no cache
        facts = {name: config["data"][name] for name in ("image_size", "channels", "fit") if name in config["data"]}
        data = ImageDataModule(source, **facts, on_error="skip", cache_dir=kept, checkpoint=str(settings.ckpt_path))
        _decode(data)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        run = Loaded(folder, read_results(folder) or {}, model.to(device), data, device)
        rows = data.rows("")
        answers, maps = _ask(run, rows, _detector(folder, settings.ckpt_path), explain=settings.explain)
    _write(answers, maps, out)
    _tell(answers, out, left_out=len(data.cache.failures))
    return 0


def _settings(args: list[str]) -> Any:
    parser = one_line_parser(
        prog="vitlab predict",
        description="Write what a trained model says of the images of a folder: any mix of pictures, NIfTI volumes and "
        "DICOM files. predictions.csv has a line an image, volumes.csv a line a volume. Without --images, predict "
        "takes a data set's configuration.",
    )
    parser.add_argument("--config", action="config", help="YAML file of these settings")
    parser.add_argument("--ckpt_path", type=Path, required=True, help="RUN/checkpoints/best.ckpt, in its run's folder")
    parser.add_argument("--images", type=Path, required=True, help="folder of images; folders in it are read too")
    parser.add_argument("--out", type=Path | None, default=None, help="folder to write; null is predictions/<images>")
    parser.add_argument("--explain", action="store_true", help="write a saliency picture of each image too")
    return parser.parse_args(args)


def _check_out(out: Path, images: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ValueError(f"cannot write --out {out}: it is a file, give a folder")
    if out.resolve().is_relative_to(images.resolve()):
        raise ValueError(f"--out {out} is inside --images {images}, which would be read next time: give another folder")
    check_writable(out, "--out")


def _model_of(checkpoint: Path) -> tuple[Any, dict[str, Any]]:
    """Return a run's classifier and its configuration."""
    if not checkpoint.is_file():
        raise FileNotFoundError(
            f"there is no checkpoint {checkpoint}: a run keeps its own in checkpoints/best.ckpt and last.ckpt"
        )
    file = checkpoint.absolute().parents[1] / "config.yaml"
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        model = load_model(config, checkpoint)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no {file}: leave a checkpoint in the folder of its run") from None
    except ValueError:
        raise
    except Exception as error:  # pickle, zip and key errors of every kind: all mean the same to a user
        raise ValueError(f"{checkpoint} and {file} are not of a run of vitlab ({type(error).__name__})") from None
    if model.pretraining:
        raise ValueError(f"{checkpoint} is of a pretraining, which knows no classes: give that of a fine-tuning")
    return model, config


def _decode(data: ImageDataModule) -> None:
    """Decode the images, with a line of those that cannot be.

    Raises:
        ValueError: None can.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*images cannot be read")  # its advice is for training
        try:
            failures = data.cache.failures
        except ValueError as error:
            raise ValueError(str(error).partition("; repair")[0]) from None
    if failures:
        named = ", ".join(f"{path} ({why})" for path, why in failures[:_NAMED])
        more = f" and {len(failures) - _NAMED} more" if len(failures) > _NAMED else ""
        print(f"{len(failures)} images cannot be read and are left out: {named}{more}", file=sys.stderr)


def _detector(folder: Path, checkpoint: Path) -> OutOfDistribution | None:
    """Return the run's measure of unlikeness: saved beside it, or made from its training images where they are here."""
    if checkpoint.name != "best.ckpt":
        print(f"no ood_score: it is kept for best.ckpt, and this is {checkpoint.name}", file=sys.stderr)
        return None
    if (found := saved_ood(folder)) is not None:
        return found
    try:
        return ood_of(load_run(folder))
    except (ValueError, OSError) as error:
        print(f"no ood_score: it needs the training images once ({' '.join(str(error).split())})", file=sys.stderr)
        return None


def _ask(
    run: Loaded, rows: NDArray[np.int64], detector: OutOfDistribution | None, *, explain: bool
) -> tuple[Answers, NDArray[np.float32] | None]:
    """Return what the model says of the images, and where it looks."""
    parts = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
    probs = np.concatenate([run.probabilities(run.images(part)) for part in parts])
    unlike = None if detector is None else np.concatenate([detector.scores(run, run.images(part)) for part in parts])
    maps = None
    if explain:
        maps = saliency_maps(run, rows, methods_for(run)[0])
    answers = Answers(
        manifest=run.data.manifest.where(rows),
        images=np.array(run.data.cache.images[rows]),
        classes=run.classes,
        probs=probs,
        unlike=unlike,
        threshold=np.inf if detector is None else detector.threshold,
        saliency=None if maps is None else [f"{SALIENCY}/{number:06d}.png" for number in range(len(rows))],
    )
    return answers, maps


def _write(answers: Answers, maps: NDArray[np.float32] | None, out: Path) -> None:
    """Write tables and pictures, all or none of them."""
    with replacing_all(out, TABLES, "--out") as (images, volumes):
        write_images(answers, images)
        write_volumes(answers, volumes)
        if maps is None:
            shutil.rmtree(out / SALIENCY, ignore_errors=True)  # of another time
            return
        with tempfile.TemporaryDirectory(dir=out, prefix=".saliency-") as folder:
            fresh = Path(folder) / SALIENCY
            fresh.mkdir()
            for image, saliency, name in zip(answers.images, maps, answers.saliency or (), strict=True):
                write_overlay(image, saliency, fresh / Path(name).name)
            shutil.rmtree(out / SALIENCY, ignore_errors=True)
            fresh.rename(out / SALIENCY)


def _tell(answers: Answers, out: Path, left_out: int) -> None:
    counts = np.bincount(answers.probs.argmax(1), minlength=len(answers.classes))
    said = ", ".join(f"{name} {count}" for name, count in zip(answers.classes, counts, strict=True))
    print(f"{len(answers.probs)} images: {said}" + (f"; {left_out} could not be read" if left_out else ""))
    if answers.unlike is not None:
        warned = int((answers.unlike > answers.threshold).sum())
        wrong = ": the model may be wrong about them" if warned else ""
        print(f"{warned} of them unlike the training images by the {NAME}{wrong}")
    print(f"predictions: {out / TABLES[0]}, {out / TABLES[1]}" + (f", {out / SALIENCY}" if answers.saliency else ""))
