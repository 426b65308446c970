"""`python -m vitlab study`: a study file in, all its runs, their table and their report out."""

import argparse
import queue
import signal
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NoReturn

from vitlab.atomic import write_text
from vitlab.cores import cores, stated_threads
from vitlab.report.table import LineParser, positive
from vitlab.report.table import main as compare
from vitlab.shipped import find_config
from vitlab.study.checks import Checker, check
from vitlab.study.costs import Costs, in_seconds, in_words
from vitlab.study.file import load, nearest
from vitlab.study.folders import REPLACED, bring_back, changes, state_after_return, state_of
from vitlab.study.launchers import options as launchers
from vitlab.study.measure import to_measure
from vitlab.study.order import in_order
from vitlab.study.plan import Job, plan
from vitlab.study.reuse import finished_elsewhere, take_over
from vitlab.study.run import Runner
from vitlab.study.settings import get
from vitlab.study.workers import gpus

TIME_UP = 124  # as timeout(1) says it
_WORDS = {"done": "done", "stopped": "goes on", "new": "to do", "other": "to do, settings changed", "unknown": "to do"}


def main(args: list[str]) -> int:
    """Run the verb.

    Args:
        args: What stands behind `study`.

    Returns:
        0 when every job is done, 1 when one failed, 124 when --max_time was up, 130 after Ctrl-C, 143 after SIGTERM.

    Raises:
        ValueError: For a user's mistake, in one line; FileNotFoundError for a file or images that are not there.
    """
    options = _options(args)
    path = find_config(options.config)
    study = load(path)
    for approach in options.only or ():
        if approach not in study.approaches:
            known = ", ".join(study.approaches)
            near = nearest(approach, study.approaches)
            raise ValueError(f"--only {approach}: there is no such approach{near}; there are {known}")
    folder = options.root / study.name
    if files := [above for above in (folder, *folder.parents) if above.is_file()]:
        raise ValueError(f"--root {options.root}: {files[0]} is a file, give a folder")
    jobs = plan(study, options.root, options.only)
    devices, threads = _workers(options, jobs)
    local = options.launcher == "local"
    checker = Checker(devices[0], threads, () if local or gpus() else ("--trainer.accelerator=cpu",))
    try:
        check(jobs, folder, checker, adopt=not options.dry_run)
    except BaseException:
        checker.close()
        raise
    costs = Costs(options.root, folder, jobs)
    elsewhere = finished_elsewhere(jobs, options.root, folder)
    if options.dry_run:
        checker.close()
        _show_plan(jobs, folder, costs, len(devices), elsewhere)
        return 0
    if not local:
        checker.close()  # it has looked at settings here, what runs runs elsewhere
    with closing(launchers.make(options, study.name, folder, threads, len(devices))) as launcher:
        _say_what_changed(jobs, folder)
        bring_back(jobs, folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "study.yaml", path.read_text(encoding="utf-8"))  # for the report, and for who finds it
        for job in take_over(jobs, elsewhere, folder):
            print(f"{job.name}: taken over from {elsewhere[job.key]}")
        first, events = (checker.worker, checker.events) if local else (None, queue.Queue())
        runner = Runner(
            jobs, folder, costs, retries=study.retries, launcher=launcher, devices=devices,
            max_seconds=options.max_time, first=first, events=events,
        )  # fmt: skip
        return _run(runner, study.name, threads)


def _run(runner: Runner, name: str, threads: int) -> int:
    """Run the jobs, and return the exit code of `main`."""
    jobs, folder, devices = runner.all, runner.folder, runner.devices
    left = len(jobs) - runner.count("done")
    print(f"{name}: {len(jobs)} runs, {left} to do" + (
        f" on {_some(min(len(devices), left), 'worker')} of {_some(threads, 'thread')}" if left else ""
    ), flush=True)  # fmt: skip
    stopped = _Stopped()
    before = signal.signal(signal.SIGTERM, stopped)
    try:
        time_up = runner.run()
    except KeyboardInterrupt:
        _say_end(runner, "stopped")
        return stopped.code
    finally:
        signal.signal(signal.SIGTERM, before)
    if runner.count("done"):
        print(flush=True)
        _compare(folder)
    if time_up:
        _say_end(runner, "time is up")
        return TIME_UP
    if failed := runner.count("failed"):
        skipped = runner.count("skipped")
        more = f" and {skipped} skipped for it" if skipped else ""
        print(f"vitlab study: {failed} of {len(jobs)} runs failed{more}; the same command tries again", file=sys.stderr)
    return int(bool(failed))


def _some(count: int, what: str) -> str:
    return f"{count} {what}" + "s" * (count != 1)


def _say_end(runner: Runner, why: str) -> None:
    left, total = runner.count("todo", "running"), len(runner.all)
    print(f"vitlab study: {why}, {left} of {total} runs are left; the same command goes on", file=sys.stderr)


class _Stopped:
    """Lets SIGTERM end a study as Ctrl-C does."""

    code = 130

    def __call__(self, *_: object) -> NoReturn:
        self.code = 128 + signal.SIGTERM
        raise KeyboardInterrupt


def _compare(folder: Path) -> None:
    try:
        compare([str(folder), "--report", str(folder / "report.html")])
    except ValueError as error:  # e.g. only pretrainings have finished
        print(f"no table yet: {error}", file=sys.stderr)


def _workers(options: argparse.Namespace, jobs: Sequence[Job]) -> tuple[list[str | None], int]:
    """Return the device of each worker, and the threads of each: its share of the cores, or $OMP_NUM_THREADS.

    They depend on the plan and not on what is left of it: other threads may change a figure's last digit.
    """
    if options.launcher != "local":  # what is not free yet is waited for
        return [None] * (options.workers or max(1, sum(job.last for job in jobs))), options.cpus_per_run
    on_gpu = gpus() if any(get(job.settings, "trainer.accelerator", "auto") != "cpu" for job in jobs) else []
    each = options.workers_per_device
    wide = max(1, sum(job.last for job in jobs))
    count = options.workers or (len(on_gpu) * each if on_gpu else min(cores(), wide))
    devices = [on_gpu[number % len(on_gpu)] if on_gpu else None for number in range(count)]
    return devices, stated_threads() or max(1, cores() // count)


def _say_what_changed(jobs: Sequence[Job], folder: Path) -> None:
    """Say in one line which settings differ from runs that are set aside or taken back."""
    aside = [job for job in jobs if state_of(job.folder, job.key) == "other"]
    if aside:
        why = sorted({change for job in aside for change in changes(job)} - {"its pretraining"}) or ["pretraining"]
        back = sum(state_after_return(job, folder) == "done" for job in aside)
        print(
            f"changed: {', '.join(why[:5])}{' ...' * (len(why) > 5)}; {len(aside)} earlier runs are kept in "
            f"{folder / REPLACED}" + (f", {back} come back from there" if back else "")
        )


def _show_plan(jobs: Sequence[Job], folder: Path, costs: Costs, workers: int, elsewhere: dict[str, Path]) -> None:
    """Print the jobs in order, what each costs and what is done, here or in another study."""
    total, unknown, done, measured = 0.0, False, 0, 0
    width = max(len(job.name) for job in jobs)
    by_key = {job.key: job for job in jobs}
    for number, job in enumerate(in_order(jobs, costs), 1):
        state, seconds = state_after_return(job, folder), costs.seconds(job)
        word = "done" if job.key in elsewhere else _WORDS[state]
        asked = ", ".join(key.removeprefix("run.") for key in to_measure(job))
        measured += bool(asked)
        done += word == "done"
        if word != "done":
            total, unknown = total + (seconds or 0), unknown or seconds is None
        cost = "unknown" if seconds is None else in_words(seconds)
        behind = f"   after {by_key[job.needs].name}" if job.needs else ""
        behind = f"   in {elsewhere[job.key]}" if job.key in elsewhere else behind
        behind = f"   to measure: {asked}" if asked else behind
        print(f"{number:>{len(str(len(jobs)))}}  {job.name:<{width}}  {word:<8} {cost:>8}{behind}")
    left = len(jobs) - done
    least = "at least " if unknown else ""
    of = f", {least}{in_words(total / workers)} on {_some(workers, 'worker')}" if total else ""
    also = f" ({measured} of them to be measured)" if measured else ""
    print(f"{len(jobs)} runs, {done} done{also}, {left} to do{of}; nothing was written")


def _options(args: list[str]) -> argparse.Namespace:
    parser = LineParser(
        prog="vitlab study",
        allow_abbrev=False,
        description="Run what a study file lists, each run once: the same command goes on where it stopped, skips what "
        "is done, and makes a new run where a setting that matters has changed. Then print the table and write "
        "report.html.",
    )
    add = parser.add_argument
    add("--config", metavar="FILE", help="the study, e.g. configs/studies/phantom.yaml (type: path)")
    add("--dry_run", "--dry-run", action="store_true", help="print the runs, their cost and state, and write nothing")
    root = "folder of all runs (type: path, default: %(default)s)"
    add("--root", type=Path, default=Path("lightning_logs"), help=root)
    add("--only", type=lambda text: text.split(","), metavar="APPROACH[,...]", help="these approaches (default: all)")
    workers = "runs at once; cores are shared out among them (type: int, default: one a GPU, else one a core; on a "
    workers += "cluster as many as wait for nothing)"
    add("--workers", type=positive, metavar="N", help=workers)
    add("--workers_per_device", type=positive, default=1, metavar="N",
        help="runs side by side on each GPU (type: int, default: %(default)s)")  # fmt: skip
    launchers.add_arguments(parser)
    add("--max_time", type=in_seconds, metavar="TIME",
        help="stop after e.g. 90m or 1h30m, with exit code 124; the same command goes on (default: never)")  # fmt: skip
    options, unknown = parser.parse_known_args(args)
    if unknown and unknown[0].endswith((".yaml", ".yml")):
        raise ValueError(f"cannot use {unknown[0]!r}: give it as --config {unknown[0]}")
    if unknown:
        flags = [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]
        raise ValueError(f"unknown option {unknown[0]}{nearest(unknown[0].partition('=')[0], flags)}")
    if options.config is None:
        raise ValueError("no study: give --config configs/studies/phantom.yaml, or a file of your own")
    launchers.check(parser, options)
    return options
