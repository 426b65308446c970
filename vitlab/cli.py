"""The command line: finds the verb, imports what it needs and nothing more, and turns mistakes into one line.

`--help` and `compare` must answer at once, so nothing here imports torch before the verb is known.
"""

import difflib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from vitlab import __version__
from vitlab.collector import paused
from vitlab.config_files import check_kinds, find_configs
from vitlab.shipped import configs_folder

VERBS = {
    "fit": "train one approach, then test its best checkpoint once",
    "validate": "evaluate a checkpoint on the validation split",
    "test": "evaluate a checkpoint on the test split",
    "predict": "write the class probabilities of every image of a data set, or of a folder given as --images",
    "study": "run a whole study: approaches x seeds x folds, each run once, and its table",
    "audit": "find copies, leaks, shortcuts and doubtful labels in a data set, and repair its splits",
    "explain": "show the patients of a study: what its models say of them, look at, and are reminded of",
    "compare": "put finished runs into one table",
    "bench": "measure vitlab against plain references on this machine",
    "data": "write the built-in phantom images to a folder",
}


def main(argv: list[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: Arguments after the program's name; sys.argv's where None.

    Returns:
        0 when it went well, 1 when a run failed, 2 for a user's mistake, 130 after Ctrl-C.
    """
    args = sys.argv[1:] if argv is None else argv
    if not args or args[0] in ("-h", "--help"):
        print(_usage())
        return 0
    if args[0] == "--version":
        print(f"vitlab {__version__}")
        return 0
    verb, rest = args[0], args[1:]
    if verb not in VERBS:
        nearest = difflib.get_close_matches(verb, VERBS, n=1)
        return _complain("", f"unknown verb '{verb}'{_or(nearest)}; the verbs are {', '.join(VERBS)}")
    try:
        with paused():
            run = _runner(verb, rest)
        return run()
    except KeyboardInterrupt:
        return 130
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 2 * bool(exit_.code)
    except Exception as error:
        if os.environ.get("VITLAB_DEBUG") or not _is_mistake(error):
            raise
        return _complain(verb, str(error) or type(error).__name__)


def _usage() -> str:
    verbs = "\n".join(f"  {verb:<10}{text}" for verb, text in VERBS.items())
    return (
        "usage: python -m vitlab VERB [--help] [options]\n\n"
        f"Compare CNN, CNN + SimCLR, ViT and ViT + MAE on your own images.\n\nverbs:\n{verbs}\n\n"
        "example: python -m vitlab fit --config configs/cnn.yaml --config configs/data/phantom.yaml\n"
        "VITLAB_DATA names the folder of your images, VITLAB_DEBUG=1 shows where an error comes from."
    )


def _runner(verb: str, rest: list[str]) -> Callable[[], int]:
    """Look at the files that are named, import what the verb needs, and return what runs it."""
    if verb in ("fit", "validate", "test", "predict", "study", "bench"):
        from vitlab.allocator import allocate_cheaply

        allocate_cheaply()  # before torch is imported
    files = verb == "predict" and any(arg.partition("=")[0] == "--images" for arg in rest)
    if verb in ("fit", "validate", "test", "predict", "audit", "bench") and not files:
        rest = find_configs(verb, rest)
    else:
        check_kinds("predict --images" if files else verb, rest)
    if verb == "compare":
        from vitlab.report.table import main as compare

        return lambda: compare(rest)
    if verb == "study":
        from vitlab.study.command import main as study

        return lambda: study(rest)
    if verb == "explain":
        from vitlab.explain.command import main as explain

        return lambda: explain(rest)
    if verb == "bench":
        from vitlab.bench.command import main as bench

        return lambda: bench(rest)
    if verb == "data":
        return lambda: _data(rest)
    if files:
        from vitlab.predict.command import main as predict

        return lambda: predict(rest)
    if verb == "audit":
        # It has threads of its own: those of OpenMP inside them, set when numpy is imported, make it 4 times slower.
        for library in ("OMP", "OPENBLAS", "MKL"):
            os.environ.setdefault(f"{library}_NUM_THREADS", "1")
        from vitlab.audit.command import main as audit

        return lambda: audit(rest)
    from vitlab.lightning_cli import run_verb

    return lambda: run_verb(verb, rest, configs_folder())


def _data(args: list[str]) -> int:
    from vitlab.mistakes import one_line_parser

    parser = one_line_parser(prog="vitlab data", description="Write a built-in data set as PNG, masks and a manifest.")
    parser.add_argument("name", type=Literal["phantom"], help="which data set")
    parser.add_argument("--config", action="config", help="YAML file of these settings")
    parser.add_argument("--out", type=Path | None, help="folder to write, new or empty; null is the cache of fit")
    parser.add_argument("--seed", type=int, default=0, help="seed of the patients")
    settings = parser.parse_args(args)
    from vitlab.data.phantom import generate, phantom_folder

    folder: Path = settings.out or phantom_folder(settings.seed)
    if settings.out is not None:
        generate(folder, seed=settings.seed)
    print(f"phantom: {folder / 'manifest.csv'}")
    return 0


def _is_mistake(error: Exception) -> bool:
    """Tell a user's mistake from a programmer's: the former ends in one line, the latter in a traceback."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return isinstance(error, (ValueError, OSError)) or bool(names & {"MisconfigurationException", "ArgumentError"})


def _or(nearest: list[str]) -> str:
    return f", did you mean {nearest[0]}?" if nearest else ""


def _complain(verb: str, message: str) -> int:
    print(f"vitlab {verb}".rstrip() + ": " + " ".join(message.split()), file=sys.stderr)
    return 2
