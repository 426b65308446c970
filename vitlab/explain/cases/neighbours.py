"""What a case reminds a model of: the training patients that are nearest in the space of its pooled features.

Case-based explanation as by Caruana et al., Case-Based Explanation of Non-Case-Based Learning Methods, AMIA 1999.

Shapes: S slices of a case, N training slices, P training patients, D features, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vitlab.evaluate.predictions import Predictions
from vitlab.explain.cases.selection import Case
from vitlab.explain.features.attribute_probe import features_of
from vitlab.explain.runs.loaded import Loaded

NEAREST = 5  # training patients that are shown, and that vote
_TIE = 1e-6  # of a vote: how much more the nearer one counts, which decides between classes of as many neighbours


@dataclass(frozen=True)
class Neighbour:
    """A training patient.

    Args:
        name: Of the patient, or its image's path.
        label: Its class: the most frequent one of its slices.
        similarity: Cosine of the features, -1 to 1: the mean over the case's slices of their best one.
        row: Of the manifest: the slice of it that is most like one of the case's.
    """

    name: str
    label: str
    similarity: float
    row: int


@dataclass(frozen=True, eq=False)
class TrainingPatients:
    """The training patients of a run in its feature space.

    Args:
        rows: (N,) of the manifest, those of a patient together.
        features: (N, D), each of length 1.
        starts: (P,) first slice of each patient.
        names: (P,).
        labels: (P,).
    """

    rows: NDArray[np.int64]
    features: NDArray[np.float32] = field(repr=False)
    starts: NDArray[np.int64]
    names: list[str]
    labels: list[str]

    @classmethod
    def of(
        cls, rows: NDArray[np.int64], features: NDArray[np.float32], names: Sequence[str], labels: Sequence[str]
    ) -> "TrainingPatients":
        """Sort training slices by patient.

        Args:
            rows: (N,) of the manifest.
            features: (N, D).
            names: (N,) each slice's patient.
            labels: (N,) each slice's class.
        """
        known, patient = np.unique(np.array(names, str), return_inverse=True)
        order = np.argsort(patient, kind="stable")
        starts = np.searchsorted(patient[order], np.arange(len(known)))
        kinds, kind = np.unique(np.array(labels, str), return_inverse=True)
        counts = np.bincount(patient * len(kinds) + kind, minlength=len(known) * len(kinds)).reshape(len(known), -1)
        most = [str(kinds[at]) for at in counts.argmax(1)]
        return cls(rows[order], unit_length(features[order]), starts, known.tolist(), most)

    def nearest(self, features: NDArray[np.float32], count: int = NEAREST) -> list[Neighbour]:
        """Return the nearest training patients of a case, the nearest first.

        Args:
            features: (S, D) of the case's slices.
            count: How many; all where there are fewer.
        """
        alike = unit_length(features) @ self.features.T  # (S, N)
        by_patient = np.maximum.reduceat(alike, self.starts, axis=1).mean(0)  # (P,)
        order = np.argsort(-by_patient, kind="stable")[:count]
        ends = [*self.starts[1:].tolist(), len(self.rows)]
        found = []
        for place in order.tolist():
            own = slice(int(self.starts[place]), ends[place])
            row = int(self.rows[own][alike[:, own].max(0).argmax()])
            found.append(Neighbour(self.names[place], self.labels[place], float(by_patient[place]), row))
        return found


def training_patients(run: Loaded) -> TrainingPatients:
    """Return the training patients of a run, each slice with its features."""
    rows = run.rows("train")
    names, labels = names_of(run, rows)
    return TrainingPatients.of(rows, features_of(run, rows), names, labels)


def nearest_of(run: Loaded, cases: Sequence[Case]) -> tuple[list[list[Neighbour]], NDArray[np.float32]]:
    """Return the training patients that each case reminds a model of, and the features of all their slices.

    Args:
        run: A classifier or a pretraining.
        cases: M of them.

    Returns:
        Of each case its neighbours, the nearest first; (N, D) features, case after case.
    """
    known = training_patients(run)
    features = features_of(run, np.concatenate([case.rows for case in cases]))
    ends = np.cumsum([len(case.rows) for case in cases])[:-1]
    return [known.nearest(part) for part in np.split(features, ends)], features


def names_of(run: Loaded, rows: NDArray[np.int64]) -> tuple[list[str], list[str]]:
    """Return patient (its path, where an image has none) and label of each of the manifest's rows."""
    manifest = run.data.manifest
    patients = zip(manifest.patient_id[rows].tolist(), manifest.path[rows].tolist(), strict=True)
    return [patient or path for patient, path in patients], manifest.label[rows].tolist()


def unit_length(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divide features (N, D) by their length."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(length, 1e-12), np.float32)


def votes(cases: Sequence[Case], nearest: Sequence[Sequence[Neighbour]], labels: Mapping[str, str]) -> Predictions:
    """Return the classes of each case's neighbours as if they were a prediction, to be scored by `evaluate`.

    Args:
        cases: M of them, with different names.
        nearest: The neighbours of each.
        labels: Case's name -> what counts as right: the truth, or what the approach says.
    """
    classes = cases[0].classes
    probs = np.zeros((len(cases), len(classes)))
    for shares, neighbours in zip(probs, nearest, strict=True):
        for rank, neighbour in enumerate(neighbours):
            shares[classes.index(neighbour.label)] += 1 + _TIE * (len(neighbours) - rank)
    return Predictions(
        classes=classes,
        probs=probs / probs.sum(1, keepdims=True),
        label=np.array([labels[case.name] for case in cases], object),
        index=np.array([case.rows[0] for case in cases]),
        split=np.array(["test"] * len(cases), object),
        path=np.array([case.name for case in cases], object),
        patient_id=np.array([case.name for case in cases], object),
    )
