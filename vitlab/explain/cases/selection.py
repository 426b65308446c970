"""Which patients are looked at: some drawn by a seed, and three lists, each of which says what it is.

Reads predictions alone. With folds, what is known of a patient is what the runs said in whose test it was.

Shapes: S slices (images) of a case, R runs of an approach, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from vitlab.evaluate.scored import Scored


@dataclass(frozen=True, eq=False)
class Case:
    """A patient of the test set, or an image that has none, and what each approach said of it.

    Args:
        name: Of the patient, or the image's path.
        label: The most frequent class of its images.
        classes: (K) names.
        rows: (S,) of the manifest, sorted.
        labels: (S,) class name of each slice.
        probs: Approach -> (R, S, K); nan where a slice was not in a run's test.
    """

    name: str
    label: str
    classes: list[str]
    rows: NDArray[np.int64]
    labels: NDArray[np.object_]
    probs: Mapping[str, NDArray[np.float64]] = field(repr=False)

    @property
    def approaches(self) -> list[str]:
        """Those that were tested on it."""
        return [name for name, probs in self.probs.items() if np.isfinite(probs[:, :, 0]).any()]

    def by_run(self, approach: str) -> NDArray[np.float64]:
        """Return the mean of its slices' probabilities in each run that was tested on it, (runs, K)."""
        probs = self.probs[approach]
        tested = np.isfinite(probs[:, :, 0]).any(1)
        return np.asarray(np.nanmean(probs[tested], axis=1), np.float64)

    def mean(self, approach: str) -> NDArray[np.float64]:
        """Return the mean probabilities over slices and runs, (K,)."""
        return np.asarray(self.by_run(approach).mean(0), np.float64)

    def spread(self, approach: str) -> NDArray[np.float64] | None:
        """Return the sample deviation of the runs' probabilities, (K,); None below two runs."""
        runs = self.by_run(approach)
        return np.asarray(runs.std(0, ddof=1), np.float64) if len(runs) > 1 else None

    def said(self, approach: str) -> str:
        """Return the class with the largest mean probability."""
        return self.classes[int(self.mean(approach).argmax())]

    def right(self, approach: str) -> bool:
        """Say whether that is the truth."""
        return self.said(approach) == self.label


@dataclass(frozen=True)
class Listed:
    """A case on a list, with the reason.

    Args:
        case: Its place among all cases.
        value: That the list is sorted by.
        reason: In words, with the approach or approaches that it is about.
    """

    case: int
    value: float
    reason: str


@dataclass(frozen=True)
class CaseList:
    """A list of cases that says what it is.

    Args:
        identity: A word for it.
        title: Its name.
        meaning: How its cases were found.
        listed: The cases.
    """

    identity: str
    title: str
    meaning: str
    listed: list[Listed]


def cases_of(runs: Mapping[str, Sequence[Scored]]) -> list[Case]:
    """Put together what the runs said of each test patient.

    Args:
        runs: Approach -> its runs on the test split; all with the same classes, of the same manifest.

    Returns:
        All patients, sorted by name; images without a patient are one case each.

    Raises:
        ValueError: The runs do not have the same classes.
    """
    tables = [run.predictions for members in runs.values() for run in members]
    classes = tables[0].classes
    if any(table.classes != classes for table in tables):
        raise ValueError("the runs of this folder know different classes: explain a study on one data set")
    facts: dict[int, tuple[str, str, str]] = {}
    for table in tables:
        columns = (table.index.tolist(), table.patient_id, table.path, table.label)
        facts |= {
            row: (patient, "" if patient else path, label)
            for row, patient, path, label in zip(*columns, strict=True)
            if label
        }
    rows = np.array(sorted(facts), np.int64)
    said = {}
    for approach, members in runs.items():
        said[approach] = np.full((len(members), len(rows), len(classes)), np.nan)
        for probs, run in zip(said[approach], members, strict=True):
            table = run.predictions.where(run.predictions.targets >= 0)
            probs[np.searchsorted(rows, table.index)] = table.probs
    members_of: dict[tuple[str, str], list[int]] = {}
    for place, row in enumerate(rows.tolist()):
        members_of.setdefault(facts[row][:2], []).append(place)
    found = []
    for (patient, path), places in sorted(members_of.items()):
        labels = np.array([facts[int(row)][2] for row in rows[places]], object)
        names, counts = np.unique(labels.astype(str), return_counts=True)
        own = {approach: every[:, places] for approach, every in said.items()}
        found.append(Case(patient or path, str(names[counts.argmax()]), classes, rows[places], labels, own))
    return found


def choose(cases: Sequence[Case], count: int, seed: int, worst: int) -> list[CaseList]:
    """Return the draw and the three lists.

    Args:
        cases: All of the test set.
        count: How many to draw.
        seed: Of the draw.
        worst: How many of each list.
    """
    drawn = [Listed(place, 0, f"drawn by seed {seed}") for place in draw_cases(cases, count, seed)]
    total = f"of the {len(cases):,} in the test set"
    return [
        CaseList(
            "random", f"Drawn by seed {seed}", f"{len(drawn)} {total}, the classes in turn. What any model said played "
            "no part, and nobody has chosen: this is what an ordinary case looks like.", drawn,
        ),
        CaseList(
            "errors", "Most confident errors", f"The worst {total}: the largest mean probability that an approach "
            "gives to a wrong class. No picture of how often that happens.", confident_errors(cases, worst),
        ),
        CaseList(
            "disagreement", "Largest disagreement between approaches", f"The most disputed {total}: half the sum of "
            "differences between the mean probabilities of two approaches (total variation, 0 to 1).",
            disagreements(cases, worst),
        ),
        CaseList(
            "spread", "Largest spread between runs", f"The least settled {total}: the deviation of the true class's "
            "probability over the runs (seeds, folds) of one approach.", spreads(cases, worst),
        ),
    ]  # fmt: skip


def draw_cases(cases: Sequence[Case], count: int, seed: int) -> list[int]:
    """Draw cases by a seed, stratified by class: each class in its turn gives one, until there are enough.

    What the models said plays no part in it, nor does the order of the cases.

    Args:
        cases: All of the test set.
        count: How many to draw; all, where there are fewer.
        seed: Of the draw.

    Returns:
        Places among the cases, in the order in which they were drawn.
    """
    rng = np.random.default_rng(seed)
    waiting: dict[str, list[int]] = {}
    for place in sorted(range(len(cases)), key=lambda place: cases[place].name):
        waiting.setdefault(cases[place].label, []).append(place)
    queues = [rng.permutation(waiting[label]).tolist() for label in sorted(waiting)]
    order = rng.permutation(len(queues))
    drawn: list[int] = []
    while len(drawn) < min(count, len(cases)):
        drawn += [queues[turn].pop() for turn in order if queues[turn]]
    return drawn[:count]


def confident_errors(cases: Sequence[Case], count: int) -> list[Listed]:
    """List the cases where an approach gives a wrong class the largest probability, in the mean over its runs."""
    found = []
    for place, case in enumerate(cases):
        wrong = [(float(case.mean(name).max()), name) for name in case.approaches if not case.right(name)]
        if wrong:
            value, name = max(wrong)
            reason = f"{name} says {case.said(name)} with {value:.2f}; it is {case.label}"
            found.append(Listed(place, value, reason))
    return _first(found, count)


def disagreements(cases: Sequence[Case], count: int) -> list[Listed]:
    """List the cases where two approaches differ most: half the sum of differences of probabilities, 0 to 1.

    That is the total variation distance of the two means over runs.
    """
    found = []
    for place, case in enumerate(cases):
        pairs = [
            (float(np.abs(case.mean(a) - case.mean(b)).sum() / 2), a, b) for a, b in combinations(case.approaches, 2)
        ]
        if pairs:
            value, a, b = max(pairs)
            reason = f"{a} ({case.said(a)}) and {b} ({case.said(b)}) are {value:.2f} apart"
            found.append(Listed(place, value, reason))
    return _first(found, count)


def spreads(cases: Sequence[Case], count: int) -> list[Listed]:
    """List the cases where the runs of one approach differ most: the deviation of the true class's probability."""
    found = []
    for place, case in enumerate(cases):
        truth = case.classes.index(case.label)
        apart = [
            (float(deviation[truth]), name) for name in case.approaches if (deviation := case.spread(name)) is not None
        ]
        if apart:
            value, name = max(apart)
            runs = case.by_run(name)[:, truth]
            reason = (
                f"{len(runs)} runs of {name} give {case.label} from {runs.min():.2f} to {runs.max():.2f}, "
                f"deviation {value:.2f}"
            )
            found.append(Listed(place, value, reason))
    return _first(found, count)


def _first(found: Sequence[Listed], count: int) -> list[Listed]:
    """Return those of the largest values; the case's place decides between equal ones."""
    return sorted((one for one in found if one.value > 0), key=lambda one: (-one.value, one.case))[:count]
