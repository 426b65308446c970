"""What the models look at in the cases, and what the cases remind them of: one run of each approach is asked.

Shapes: S slices of a case, H = W = image_size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vitlab.evaluate.predictions import Predictions
from vitlab.evaluate.scored import Scored
from vitlab.explain.cases.neighbours import Neighbour, nearest_of, votes
from vitlab.explain.cases.selection import Case
from vitlab.explain.runs.loaded import Loaded, load_run
from vitlab.explain.runs.study_runs import StudyRuns
from vitlab.explain.saliency.maps import Method, saliency_maps, shown_method
from vitlab.report.runs import Run


@dataclass(frozen=True, eq=False)
class Look:
    """What one run makes of a case.

    Args:
        run: Which.
        method: Of the maps.
        maps: Saliency (S, H, W) of the class that the run has said of each slice, or says of one that was no test.
        said: That class, of each slice; "" for a slice that was not in the run's test.
        neighbours: The training patients that are nearest.
    """

    run: Run
    method: Method
    maps: NDArray[np.float32] = field(repr=False)
    said: list[str]
    neighbours: list[Neighbour]


@dataclass(frozen=True, eq=False)
class Space:
    """The test patients of a run in its feature space.

    Args:
        run: Which.
        places: Of the cases.
        features: (N, D) of all their slices, case after case.
    """

    run: Run
    places: list[int]
    features: NDArray[np.float32] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Looks:
    """What one approach makes of the cases.

    Args:
        cases: Place of a case -> its look; a case that no run with weights was tested on is not here.
        votes: The classes of the nearest training patients of every test patient, scored against the truth.
        said: The same against what the runs say themselves.
        spaces: Of each run that was asked.
    """

    cases: dict[int, Look]
    votes: list[Scored]
    said: list[Scored]
    spaces: list[Space]


def look(
    study: StudyRuns, approach: str, cases: Sequence[Case], chosen: Sequence[int], device: str,
    tell: Callable[[str], None],
) -> Looks:  # fmt: skip
    """Ask the runs of an approach about the chosen cases.

    Args:
        study: The runs.
        approach: One of them.
        cases: All of the test set; the agreement of neighbours is counted over all.
        chosen: Places of those that are shown.
        device: Where the models shall be.
        tell: Told of each run before it is asked.
    """
    looks = Looks({}, [], [], [])
    wanted = set(chosen)
    for run, places in study.shown_by(approach, cases):
        if wanted.isdisjoint(places):
            continue
        tell(f"{run.folder}: {sum(place in wanted for place in places)} cases")
        model = load_run(run.folder, device)
        said = study.scored[approach][study.runs[approach].index(run)].predictions
        nearest, features = nearest_of(model, [cases[place] for place in places])
        looks.spaces.append(Space(run, places, features))
        looks.votes.append(Scored(run.seed, run.fold, _votes(cases, places, nearest)))
        own = {cases[place].name: _own_words(cases[place], said) for place in places}
        looks.said.append(Scored(run.seed, run.fold, _votes(cases, places, nearest, own)))
        method, some = shown_method(model), [place for place in places if place in wanted]
        maps = dict(zip(some, _maps(model, [cases[place] for place in some], said, method), strict=True))
        for place, neighbours in zip(places, nearest, strict=True):
            if place in wanted:
                looks.cases[place] = Look(run, method, maps[place], _by_slice(cases[place], said), neighbours)
    return looks


def _maps(run: Loaded, cases: Sequence[Case], said: Predictions, method: Method) -> list[NDArray[np.float32]]:
    """Return the maps of each case's slices, (S, H, W), of the class that predictions.csv says.

    A run in half precision may have said another one than it does here; of other slices it is what it says here.
    """
    rows = np.concatenate([case.rows for case in cases])
    known = dict(zip(said.index.tolist(), said.probs.argmax(1).tolist(), strict=True))
    here = run.probabilities(run.images(rows)).argmax(1).tolist()
    targets = [known.get(row, own) for row, own in zip(rows.tolist(), here, strict=True)]
    maps = saliency_maps(run, rows, method, targets)
    return np.split(maps, np.cumsum([len(case.rows) for case in cases])[:-1])


def _votes(
    cases: Sequence[Case],
    places: Sequence[int],
    nearest: Sequence[Sequence[Neighbour]],
    labels: dict[str, str] | None = None,
) -> Predictions:
    some = [cases[place] for place in places]
    return votes(some, nearest, labels or {case.name: case.label for case in some})


def _by_slice(case: Case, said: Predictions) -> list[str]:
    """Return the class that a run says of each slice."""
    found = dict(zip(said.index.tolist(), said.probs.argmax(1).tolist(), strict=True))
    return [said.classes[found[row]] if row in found else "" for row in case.rows.tolist()]


def _own_words(case: Case, said: Predictions) -> str:
    """Return the class that a run says of a case."""
    return said.classes[int(said.probs[np.isin(said.index, case.rows)].mean(0).argmax())]
