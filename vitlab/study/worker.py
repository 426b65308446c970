"""`python -m vitlab.study`, a worker: imports torch once and runs one job after another, as `fit` would.

Orders come as JSON lines on standard input, answers leave as JSON lines on standard output. What a run prints goes to
`train.log` in its folder. When the study is gone, standard input ends, and so does the worker, at once: the run goes on
from its last epoch when the same study is started again.
"""

import contextlib
import gc
import io
import json
import os
import queue
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from vitlab.lightning_cli import model_class_of, quieten, run_verb
from vitlab.lock import InUse, hold
from vitlab.shipped import configs_folder
from vitlab.study.build import build
from vitlab.study.folders import LOG, best_checkpoint, last_checkpoint, make_room, write_record


def main() -> int:
    """Work off orders until there are no more."""
    orders: queue.Queue[dict[str, Any]] = queue.Queue()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    source = os.fdopen(os.dup(0))
    os.dup2(2, 1)  # who prints outside a run must not garble the answers
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    threading.Thread(target=_listen, args=(source, orders), daemon=True).start()
    answers.write("\n")  # ends what has been printed at an import without a line's end
    _say(answers, {"event": "ready"})
    while True:
        order = orders.get()
        try:
            _say(answers, {"check": check, "build": try_to_build, "run": run}[order["do"]](order))
        except SystemExit as exit_:  # SIGTERM: the study is stopping
            _say(answers, {"event": "stopped"})
            return int(exit_.code or 0)


def _listen(source: Any, orders: "queue.Queue[dict[str, Any]]") -> None:
    for line in source:
        orders.put(json.loads(line))
    os._exit(0)  # no clean-up: the run may be anywhere, and what is on disk is whole at every moment


def _say(answers: Any, message: dict[str, Any]) -> None:
    try:
        answers.write(json.dumps(message) + "\n")
    except BrokenPipeError:
        os._exit(0)


def check(order: dict[str, Any]) -> dict[str, Any]:
    """Parse settings without running anything.

    Args:
        order: `settings`, and `flags` to be laid over them as on the command line.

    Returns:
        The settings with every default, and whether the model is a pretraining; or the error, in one line.
    """
    text = io.StringIO()
    try:
        with contextlib.redirect_stdout(text), warnings.catch_warnings():
            args = [f"--config={json.dumps(order['settings'])}", *order["flags"], "--print_config"]
            run_verb("fit", args, configs_folder())
    except SystemExit:
        resolved = yaml.safe_load(text.getvalue())
        pretraining = model_class_of(resolved["model"]["class_path"]).pretraining
        return {"event": "checked", "resolved": resolved, "pretraining": pretraining}
    except Exception as error:
        return {"event": "checked", "error": _line(error)}
    raise AssertionError("--print_config ends the parser")


def try_to_build(order: dict[str, Any]) -> dict[str, Any]:
    """Build what settings speak of, data, model and trainer, and train nothing.

    Args:
        order: As for `check`, with `weights` to start from and `backbone` to write, see `vitlab.study.build`.

    Returns:
        Nothing but the event, or the error in one line.
    """
    args = [f"--config={json.dumps(order['settings'])}", *order["flags"]]
    if order["weights"] is not None:
        args.append(f"--model.weights={order['weights']}")
    try:
        with _as_if_new(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the run says it
            quieten()
            build(args, Path(order["backbone"]) if order["backbone"] else None)
    except Exception as error:
        return {"event": "checked", "error": _line(error)}
    return {"event": "checked"}


def run(order: dict[str, Any]) -> dict[str, Any]:
    """Run a job, or go on with it.

    Args:
        order: `folder`, `study` (its folder), `key`, `record` for job.json, `settings`, `weights`, `measure` (settings
            that ask something of a finished run).

    Returns:
        The event: done, failed with the error's last line, or in_use where another process has the folder.
    """
    folder, start = Path(order["folder"]), time.perf_counter()
    try:
        with hold(folder):
            state = make_room(folder, order["key"], Path(order["study"]))
            if order["measure"]:
                if (error := _measure(folder, order["measure"])) is not None:
                    return {"event": "failed", "error": error}
            elif state != "done":
                write_record(folder, order["key"], order["record"])
                error = _fit(folder, order, resume=state == "stopped")
                if error is None and not (folder / "results.json").exists():  # e.g. trainer.fast_dev_run
                    error = "fit ended without a results.json: what it trained is no run to compare"
                if error is not None:
                    return {"event": "failed", "error": error}
        return {"event": "done", "seconds": time.perf_counter() - start, "found": state == "done"}
    except InUse:
        return {"event": "in_use"}
    except (ValueError, OSError) as error:
        return {"event": "failed", "error": _line(error)}


def _fit(folder: Path, order: dict[str, Any], *, resume: bool) -> str | None:
    """Train; return the last line of the error, None where there was none."""
    args = [f"--config={json.dumps(order['settings'])}"]
    if order["weights"]:
        args.append(f"--model.weights={order['weights']}")
    # what a run that was killed within its first epoch has left is cleared away
    args.append(f"--ckpt_path={last_checkpoint(folder)}" if resume else "--run.overwrite=true")
    return _run_verb("fit", args, folder, "goes on" if resume else "starts")


def _measure(folder: Path, asked: Sequence[str]) -> str | None:
    """Test a finished run's best checkpoint for what is asked of it yet; return the last line of the error, or None."""
    args = [f"--config={folder / 'config.yaml'}", f"--ckpt_path={best_checkpoint(folder)}"]
    return _run_verb("test", [*args, *(f"--{key}=true" for key in asked)], folder, "is measured")


def _run_verb(verb: str, args: list[str], folder: Path, what: str) -> str | None:
    """Run a verb of the command line, its output in the run's log; return the last line of the error, or None."""
    with _as_if_new(), _printing_to(folder / LOG):
        print(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {what}", flush=True)
        try:
            run_verb(verb, args, configs_folder())
            return None
        except Exception as error:
            traceback.print_exc()
            return _line(error)


@contextlib.contextmanager
def _as_if_new() -> Iterator[None]:
    """Leave nothing of a run behind that the next one in this process could see."""
    environment, benchmark = dict(os.environ), torch.backends.cudnn.benchmark
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak of memory counts from here
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        with warnings.catch_warnings():  # each run warns anew, into its own log
            yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        torch.backends.cudnn.benchmark = benchmark
        torch.use_deterministic_algorithms(False)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


@contextlib.contextmanager
def _printing_to(log: Path) -> Iterator[None]:
    """Let all that is printed, by C libraries and child processes too, go to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, old in enumerate(kept, 1):
            os.dup2(old, number)
            os.close(old)


def _line(error: BaseException) -> str:
    """Return the error as one line: a mistake's message speaks for itself, others need their kind."""
    lines = str(error).strip().splitlines()
    message = " ".join(" ".join(lines).split()) if isinstance(error, ValueError) else (lines or [""])[-1]
    return message if isinstance(error, ValueError | OSError) and message else f"{type(error).__name__}: {message}"
