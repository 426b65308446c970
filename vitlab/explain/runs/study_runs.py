"""The runs of a study that are looked at: which approaches there are, what each said, whose weights are still there."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vitlab.evaluate.predictions import read_predictions
from vitlab.evaluate.scored import Scored
from vitlab.explain.cases.selection import Case
from vitlab.explain.runs.loaded import checkpoint_of
from vitlab.report.figures.palette import OWN
from vitlab.report.rows import PREDICTIONS
from vitlab.report.runs import Run
from vitlab.report.summary import NAMES
from vitlab.report.table import collect


@dataclass(frozen=True, eq=False)
class StudyRuns:
    """What a folder of runs holds.

    Args:
        folder: Of the study.
        runs: Approach -> its finished classifiers, by fold and seed.
        scored: Approach -> what each of them said of its test split, in the same order.
        pretrainings: Finished pretrainings with weights.
        notes: What was left out, and why.
        shuffled: Approach -> a run of it with weights, of the first fold, that was trained on shuffled labels.
    """

    folder: Path
    runs: dict[str, list[Run]]
    scored: dict[str, list[Scored]]
    pretrainings: list[Run]
    notes: list[str]
    shuffled: dict[str, Run] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The study, or its data set."""
        first = next(iter(self.runs.values()))[0]
        return first.study or first.dataset or self.folder.name

    def shown_by(self, approach: str, cases: Sequence[Case]) -> list[tuple[Run, list[int]]]:
        """Say which run shows what an approach looks at in each case.

        It is the first with weights, by fold and seed, that was tested on all of the case's images that any was.

        Args:
            approach: One of `runs`.
            cases: All cases.

        Returns:
            Runs, each with the places of its cases; cases that no run with weights was tested on are in none.
        """
        weighted = [(run, scored) for run, scored in zip(self.runs[approach], self.scored[approach], strict=True)
                    if has_weights(run)]  # fmt: skip
        tested = [(run, set(scored.predictions.index.tolist())) for run, scored in weighted]
        found: dict[Path, tuple[Run, list[int]]] = {}
        for place, case in enumerate(cases):
            rows = set(case.rows.tolist())
            best = max(tested, key=lambda one: len(rows & one[1]), default=None)  # the first of equal ones
            if best is not None and rows & best[1]:
                found.setdefault(best[0].folder, (best[0], []))[1].append(place)
        return list(found.values())

    def pretraining_of(self, run: Run) -> Run | None:
        """Return a pretraining of the kind that a run's approach starts with, which saw none of the run's test images.

        That is one of the same fold and test split; of the same settings and seed, if there is one.
        """
        kind = run.approach.rpartition("_")[2]
        same = [other for other in self.pretrainings
                if (other.approach, other.fold, other.test_sha256) == (kind, run.fold, run.test_sha256)]  # fmt: skip
        return min(same, key=lambda other: (other.axes != run.axes, other.seed != run.seed, other.seed), default=None)


def has_weights(run: Run) -> bool:
    """Say whether a run's checkpoint is there."""
    return checkpoint_of(run.folder, run.task).is_file()


def study_runs(folder: Path, only: Sequence[str] | None = None, shuffled: Path | None = None) -> StudyRuns:
    """Find the runs of a study and read what they said.

    Runs on fewer labels or on shuffled ones are left out: they are no candidates for use.

    Args:
        folder: Searched at any depth.
        only: These approaches; all where None.
        shuffled: Another folder to find runs on shuffled labels in, at any depth.

    Raises:
        ValueError: There is nothing to look at, an approach is not there, or runs are of different images.
        FileNotFoundError: There is no such folder, or a run has no predictions.csv.
    """
    every, unfinished = collect([folder])
    notes = [f"{len(unfinished)} runs have not finished and are left out"] if unfinished else []
    plain = [run for run in every if run.label_fraction == 1 and not run.shuffle_labels]
    if len(plain) < len(every):
        notes.append(f"{len(every) - len(plain)} runs on fewer labels or shuffled ones are left out")
    classifiers = [run for run in plain if run.task != "pretrain"]
    if not classifiers:
        raise ValueError(f"{folder} has no finished run of a classifier: name the folder of a study, such as "
                         "lightning_logs/phantom")  # fmt: skip
    if len({run.manifest_sha256 for run in classifiers}) > 1:
        raise ValueError(f"{folder} has runs on different images: name the folder of one study in it")
    known = sorted({run.approach for run in classifiers})
    for name in only or ():
        if name not in known:
            raise ValueError(f"--only {name}: no run of it has finished; there are {', '.join(known)}")
    ranks = {approach: rank for rank, approach in enumerate(OWN)}
    runs: dict[str, list[Run]] = {}
    for run in sorted(classifiers, key=lambda run: (ranks.get(run.approach, len(ranks)), run.approach, run.axes,
                                                    -1 if run.fold is None else run.fold, run.seed)):  # fmt: skip
        if only is None or run.approach in only:
            runs.setdefault(_name(run), []).append(run)
    for name, members in runs.items():
        bare = sum(not has_weights(run) for run in members)
        if bare:
            notes.append(f"{bare} of {len(members)} runs of {name} have no checkpoint: their predictions count, what "
                         "they look at cannot be shown")  # fmt: skip
    scored = {name: [_scored(run) for run in members] for name, members in runs.items()}
    pretrainings = [run for run in plain if run.task == "pretrain" and has_weights(run)]
    dealt: dict[str, Run] = {}
    for run in (*every, *(collect([shuffled])[0] if shuffled is not None else ())):
        alike = _name(run) in runs and run.manifest_sha256 == classifiers[0].manifest_sha256
        # Of the fold that is looked at first, so that its images are no training images of this one.
        if run.shuffle_labels and alike and run.fold == runs[_name(run)][0].fold and has_weights(run):
            dealt.setdefault(_name(run), run)
    if shuffled is not None and not dealt:
        raise ValueError(f"--shuffled {shuffled} has no run with weights on shuffled labels of these images and "
                         "approaches, in the first fold: train one with --data.shuffle_labels true")  # fmt: skip
    return StudyRuns(folder, runs, scored, sorted(pretrainings, key=lambda run: run.seed), notes, dealt)


def _name(run: Run) -> str:
    """Return what a run's approach is called on pages and in tables."""
    return " ".join(filter(None, (NAMES.get(run.approach, run.approach), run.axes)))


def _scored(run: Run) -> Scored:
    predictions = read_predictions(run.folder / PREDICTIONS)
    tested = predictions.split == "test"
    if not tested.any():
        raise ValueError(f"{run.folder} was tested on nothing: there is no image of the test split to look at")
    return Scored(run.seed, run.fold, predictions.where(tested))
