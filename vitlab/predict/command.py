"""`python -m vitlab predict --ckpt_path RUN/checkpoints/best.ckpt --images DIR`: what a trained model says of files."""

import re
import sys
import tempfile
import warnings
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vitlab.atomic import check_writable, replacing_all
from vitlab.checkpoint import read_checkpoint
from vitlab.data.datamodule import ImageDataModule
from vitlab.data.sources.volumes import MIN_HEAD, head_shares
from vitlab.evaluate.results import read_results
from vitlab.explain.features.ood import NAME, OutOfDistribution, ood_of, saved_ood
from vitlab.explain.page.pictures import draw_image, overlay
from vitlab.explain.runs.loaded import Loaded, load_model, load_run
from vitlab.explain.saliency.maps import saliency_maps, shown_method
from vitlab.mistakes import one_line_parser
from vitlab.predict.images import Files, as_trained
from vitlab.predict.tables import (
    IMAGE_FACTS,
    SKIPPED,
    VOLUME_FACTS,
    Answers,
    columns_of,
    write_images,
    write_skipped,
    write_volumes,
)
from vitlab.yaml_text import parse

TABLES = {"predictions.csv": IMAGE_FACTS, "volumes.csv": VOLUME_FACTS, "skipped.csv": SKIPPED}  # and how each begins
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
    out = settings.out if settings.out is not None else Path("predictions") / settings.images.resolve().name
    _check_out(out, settings)
    model, config = _model_of(settings.ckpt_path)
    source = Files(settings.images, **as_trained(config["data"]["source"]))
    folder = settings.ckpt_path.absolute().parent.parent
    with tempfile.TemporaryDirectory(prefix="vitlab-predict-") as kept:  # images of patients stay in no cache
        facts = {name: config["data"][name] for name in ("image_size", "channels", "fit") if name in config["data"]}
        data = ImageDataModule(source, **facts, on_error="skip", cache_dir=kept, checkpoint=str(settings.ckpt_path))
        _decode(data)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        run = Loaded(folder, read_results(folder) or {}, model.to(device), data, device)
        rows = data.rows("")
        answers = _ask(run, rows, _detector(folder, settings.ckpt_path), explain=settings.explain)
        _write(answers, run, rows, out)
    _tell(answers, out, left_out=len(data.cache.failures))
    return 0


def _settings(args: list[str]) -> Any:
    parser = one_line_parser(
        prog="vitlab predict",
        description="Write what a trained model says of the images of a folder: any mix of pictures, NIfTI volumes and "
        "DICOM files. predictions.csv has a line an image, volumes.csv a line a volume, skipped.csv one for each "
        "image that cannot be read. Without --images, predict takes a data set's configuration.",
    )
    parser.add_argument("--config", action="config", help="YAML file of these settings")
    parser.add_argument("--ckpt_path", type=Path, required=True, help="RUN/checkpoints/best.ckpt, in its run's folder")
    parser.add_argument("--images", type=Path, required=True, help="folder of images; folders in it are read too")
    parser.add_argument("--out", type=Path | None, default=None, help="folder to write; null is predictions/<images>")
    parser.add_argument("--explain", action="store_true", help="write a saliency picture of each image too")
    return parser.parse_args(args)


def _check_out(out: Path, settings: Any) -> None:
    images: Path = settings.images
    if out.exists() and not out.is_dir():
        raise ValueError(f"cannot write --out {out}: it is a file, give a folder")
    if out.resolve().is_relative_to(images.resolve()):
        raise ValueError(f"--out {out} is inside --images {images}, which would be read next time: give another folder")
    own = settings.ckpt_path.absolute().parent.resolve() == (out / "checkpoints").resolve()
    if own or (out / "results.json").exists():
        raise ValueError(f"--out {out} is the folder of a run, which has its own predictions: give another folder")
    theirs = [name for name, begin in TABLES.items() if (out / name).exists() and not _is_ours(out / name, begin)]
    pictures = out / SALIENCY
    if settings.explain and ((pictures.exists() and not pictures.is_dir()) or _pictures(out) != _old_pictures(out)):
        theirs.append(SALIENCY)
    if theirs:
        raise ValueError(f"--out {out} has a {theirs[0]} that predict has not written: give another folder, or move it")
    check_writable(out, "--out")


def _is_ours(table: Path, begin: tuple[str, ...]) -> bool:
    return tuple(columns_of(table)[: len(begin)]) == begin


def _pictures(out: Path) -> list[Path]:
    """Return the files in the folder of pictures that are named as predict names them."""
    return sorted(path for path in (out / SALIENCY).glob("*.png") if re.fullmatch(r"\d{6,}\.png", path.name))


def _old_pictures(out: Path) -> list[Path]:
    """Return the pictures of another time; others in that folder, which no table has a column for, are the user's."""
    return _pictures(out) if SALIENCY in columns_of(out / next(iter(TABLES))) else []


def _replace_pictures(out: Path, fresh: Iterable[Path]) -> None:
    """Put pictures in the place of those of another time."""
    stale = set(_old_pictures(out))
    for picture in fresh:
        (out / SALIENCY).mkdir(exist_ok=True)
        stale.discard(picture.replace(out / SALIENCY / picture.name))
    for picture in stale:
        picture.unlink()
    with suppress(OSError):  # there are pictures or files of the user, or no such folder
        (out / SALIENCY).rmdir()


def _model_of(checkpoint: Path) -> tuple[Any, dict[str, Any]]:
    """Return a run's classifier and its configuration."""
    read_checkpoint(checkpoint)
    file = checkpoint.absolute().parent.parent / "config.yaml"
    try:
        config = parse(file.read_text(encoding="utf-8"))
        model = load_model(config, checkpoint)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no {file}: leave a checkpoint in the folder of its run") from None
    except ValueError:
        raise
    except Exception as error:  # key, type and YAML errors of every kind: all mean the same to a user
        raise ValueError(f"{file} is not that of {checkpoint} ({type(error).__name__}): restore it") from None
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


def _ask(run: Loaded, rows: NDArray[np.int64], detector: OutOfDistribution | None, *, explain: bool) -> Answers:
    """Return what the model says of the images."""
    probs, unlike, heads = [], [], []
    for start in range(0, len(rows), _BATCH):
        images = run.images(rows[start : start + _BATCH])
        probs.append(run.probabilities(images))
        heads.append(head_shares(images.amax(1).cpu().numpy()) >= MIN_HEAD)
        if detector is not None:
            unlike.append(detector.scores(run, images))
    return Answers(
        manifest=run.data.manifest.where(rows),
        heads=np.concatenate(heads),
        classes=run.classes,
        probs=np.concatenate(probs),
        unlike=np.concatenate(unlike) if unlike else None,
        threshold=np.inf if detector is None else detector.threshold,
        saliency=[f"{SALIENCY}/{number:06d}.png" for number in range(len(rows))] if explain else None,
    )


def _write(answers: Answers, run: Loaded, rows: NDArray[np.int64], out: Path) -> None:
    """Write tables and pictures, all or none of them."""
    with replacing_all(out, TABLES, "--out") as (images, volumes, skipped):
        write_images(answers, images)
        write_volumes(answers, volumes)
        write_skipped(run.data.cache.failures, skipped)
        if answers.saliency is None:
            _replace_pictures(out, ())
            return
        with tempfile.TemporaryDirectory(dir=out, prefix=".saliency-") as fresh:
            method = shown_method(run)
            for start in range(0, len(rows), _BATCH):
                part = slice(start, start + _BATCH)
                maps = saliency_maps(run, rows[part], method)
                for row, saliency, name in zip(rows[part], maps, answers.saliency[part], strict=True):
                    write_overlay(run.data.cache.images[row], saliency, Path(fresh) / Path(name).name)
            _replace_pictures(out, sorted(Path(fresh).iterdir()))


def write_overlay(image: NDArray[np.uint8], saliency: NDArray[np.float32], path: Path) -> None:
    """Write an image, and beside it the same image under its saliency, as the pages of `explain` draw them.

    Args:
        image: uint8 (C, H, W).
        saliency: (H, W), at least 0.
        path: The PNG.
    """
    picture = draw_image(image)
    Image.fromarray(np.concatenate([picture, overlay(picture, saliency)], axis=1)).save(path, "PNG")


def _tell(answers: Answers, out: Path, left_out: int) -> None:
    counts = np.bincount(answers.probs.argmax(1), minlength=len(answers.classes))
    said = ", ".join(f"{name} {count}" for name, count in zip(answers.classes, counts, strict=True))
    print(f"{len(answers.probs)} images: {said}" + (f"; {left_out} could not be read" if left_out else ""))
    if answers.unlike is not None:
        warned = int((answers.unlike > answers.threshold).sum())
        wrong = ": the model may be wrong about them" if warned else ""
        print(f"{warned} of them unlike the training images by the {NAME}{wrong}")
    written = [*list(TABLES)[:2], *([SALIENCY] if answers.saliency else [])]
    print(f"predictions: {', '.join(str(out / name) for name in written)}")
