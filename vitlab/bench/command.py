"""`python -m vitlab bench`: a table of ratios against plain references that are measured in the same run."""

import io
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from vitlab.atomic import check_writable
from vitlab.bench.output import markdown, read
from vitlab.bench.rows import chosen, planned, training_size
from vitlab.cores import cores, stated_threads
from vitlab.mistakes import one_line_parser
from vitlab.report.insert import check_marks, insert


def main(args: list[str]) -> int:
    """Run the verb.

    Args:
        args: What stands behind `bench`.

    Returns:
        0, also where a target was missed: the table says so.

    Raises:
        ValueError: For a user's mistake, in one line.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    settings = _settings(args)
    _check(settings)
    if settings.findings is not None:
        _tell(read(settings.findings), settings)
        return 0
    # Before torch is imported: its threads are counted once.
    os.environ["OMP_NUM_THREADS"] = str(settings.threads or stated_threads() or cores())
    import torch

    from vitlab.bench.output import write
    from vitlab.lightning_cli import quieten

    if settings.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch finds no GPU here; use --device cpu")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    quieten()
    warnings.filterwarnings("ignore", message="no patient ids")  # speed does not depend on them
    for found in _measured(settings):  # row by row: what is measured is kept, whatever ends the bench
        write(found, settings.out)
    _tell(found, settings)
    print(f"every sample is in {settings.out / 'bench.json'}, the picture in {settings.out / 'bench.svg'}")
    return 0


def _tell(found: dict[str, Any], settings: Any) -> None:
    print(markdown(found))
    if settings.into is not None:
        insert(markdown(found), settings.into, settings.mark)


def _settings(args: list[str]) -> Any:
    from vitlab.models.compiled import CompileMode

    parser = one_line_parser(
        prog="vitlab bench",
        description="Measure vitlab against plain references, written as a user would write them: both do the same "
        "work on the same images in turn. Writes bench.json, bench.md and bench.svg.",
    )
    parser.add_argument("--config", action="config", help="YAML file such as configs/data/cheng.yaml")
    parser.add_argument("--data", type=dict[str, Any] | None, default=None,
                        help="images, as in configs/data; null is the built-in ones at 256 px")  # fmt: skip
    parser.add_argument("--rows", type=list[str] | str, default=[],
                        help="rows or patterns such as 'step-*', several as [a,b] or a,b; none is all")  # fmt: skip
    parser.add_argument("--size", type=list[int] | int, default=[64, 224], help="sides of the images in pixels")
    parser.add_argument("--repeats", type=int, default=5, help="pairs a row")
    parser.add_argument("--images", type=int, default=480, help="most training images; others in proportion")
    parser.add_argument("--steps", type=int, default=8, help="training steps a sample")
    parser.add_argument("--epochs", type=int, default=8, help="epochs of the supervised runs that are compared")
    parser.add_argument("--seconds", type=float, default=1.0, help="least length of a sample of an input pipeline")
    parser.add_argument("--run_seconds", type=float, default=20.0, help="length of the runs whose overhead is measured")
    parser.add_argument("--device", type=Literal["cpu", "cuda"], default="cpu", help="where to train")
    parser.add_argument("--compile", type=bool | CompileMode, default=False,
                        help="as fit takes it; references that are as fast as ours are compiled as well")  # fmt: skip
    parser.add_argument("--threads", type=int | None, default=None,
                        help="OpenMP threads; null is $OMP_NUM_THREADS or one a core")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("lightning_logs/bench"), help="folder to write")
    parser.add_argument("--findings", type=Path | None, default=None,
                        help="measure nothing: print and insert what this folder of a bench holds")  # fmt: skip
    parser.add_argument("--into", type=Path | None, default=None, help="page to put the table into, as compare does")
    parser.add_argument("--mark", type=str, default="bench", help="between <!-- MARK --> and <!-- /MARK --> of it")
    settings = parser.parse_args(args)
    settings.rows = settings.rows.split(",") if isinstance(settings.rows, str) else settings.rows
    settings.size = [settings.size] if isinstance(settings.size, int) else settings.size
    return settings


def _check(settings: Any) -> None:
    from vitlab.bench.measure import FEWEST

    least = {"repeats": FEWEST, "images": 8, "steps": 1, "epochs": 1, "threads": 1}
    for name, bound in least.items():
        if settings[name] is not None and settings[name] < bound:
            raise ValueError(f"--{name} is {settings[name]}; give at least {bound}")
    if not settings.size or any(size < 16 or size % 16 for size in settings.size):
        raise ValueError(f"--size is {settings.size}; give multiples of 16, such as [64,224]")
    for name in ("seconds", "run_seconds"):
        if not 0 < settings[name] < 3600:
            raise ValueError(f"--{name} is {settings[name]}; give seconds above 0, up to an hour")
    if settings.findings is None:
        list(chosen(planned(settings.device, sorted(settings.size)), settings.rows))
        check_writable(settings.out, "--out")
    if settings.into is not None:
        check_marks(settings.into, settings.mark)


def _measured(settings: Any) -> Iterator[dict[str, Any]]:
    """Measure all rows and yield the record after each, and at last with all that is no row."""
    from vitlab.bench.conditions import Conditions, built_in, image_folder, say
    from vitlab.bench.measure import Measured, measure
    from vitlab.bench.output import record
    from vitlab.bench.rows import all_rows

    rows = all_rows(settings.device, sorted(settings.size))
    source, splits, data = _images(settings.data) if settings.data else (built_in(), None, "phantom")
    with image_folder(source, splits=splits or source.manifest(), most=settings.images) as (images, work):
        kept = {name: settings[name] for name in ("steps", "epochs", "seconds", "run_seconds", "compile")}
        threads = int(os.environ["OMP_NUM_THREADS"])
        conditions = Conditions(images=images, work=work, device=settings.device, threads=threads, **kept)
        measured: list[Measured] = []
        count = sum(path.is_file() for path in (images / "train").rglob("*"))
        about = {"device": _device(settings.device), "threads": threads, "images": count, "data": data,
                 "repeats": settings.repeats, "settings": kept | {"size": settings.size}}  # fmt: skip
        for name in chosen(rows, settings.rows):
            measured.append(measure(rows[name](conditions), settings.repeats, say))
            yield record(measured, about, {})
        yield record(measured, about, _sections(settings, conditions, measured))


def _sections(settings: Any, conditions: Any, measured: list[Any]) -> dict[str, Any]:
    """Return what is no row: the peak and its shares, where steps were measured; the breakdown, where epochs were."""
    from vitlab.bench.conditions import say
    from vitlab.bench.peak import peak, shares_of_peak
    from vitlab.bench.runs import breakdown

    sections: dict[str, Any] = {}
    steps = [row for row in measured if "flops_per_image" in row.facts]
    if steps:
        say("peak of the device")
        sections["peak"] = peak(settings.device, steps[0].facts["precision"])
        sections["mfu"] = shares_of_peak(steps, sections["peak"])
    if any(row.name.startswith("epoch-") for row in measured):
        say("where the time of an epoch goes")
        sections["breakdown"] = breakdown(conditions, training_size(settings.device, settings.size))
    return sections


def _images(data: dict[str, Any]) -> tuple[Any, Any, str]:
    """Return the source, the manifest with splits and the name of a `data` configuration."""
    from vitlab.data.datamodule import ImageDataModule
    from vitlab.data.sources import Source

    parser = one_line_parser({"data.source": Source.__subclasses__()}, prog="vitlab bench")
    parser.add_class_arguments(ImageDataModule, "data")
    made: ImageDataModule = parser.instantiate_classes(parser.parse_object({"data": data})).data
    return made.source, made.manifest, str(made.name)


def _device(device: str) -> str:
    import torch

    if device == "cuda":
        return torch.cuda.get_device_name()
    name = next((line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")), "CPU")
    return f"{name}, {cores()} cores"


def _cpu_lines() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not on Linux
        return []
