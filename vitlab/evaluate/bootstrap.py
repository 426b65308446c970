"""95 % intervals from resampled patients and runs.

What an interval covers: the figure that the same training procedure would reach with other seeds, on other test
patients of the same kind and the same mix of classes, for the training patients of these folds.

- Patients are resampled within fold and class, all images of a patient together; n - 1 of n are drawn and weighted by
  n / (n - 1), which gives the variance of a mean its right size also where a class has few patients (Rao & Wu 1988;
  Rao, Wu & Yue 1992). Folds that share patients are resampled as one.
- Runs are resampled within their fold in the same way; n - 1 of n repairs what a bootstrap of few seeds lacks,
  (n - 1) / n of their variance. The spread between runs that chance of the test images explains already is taken out,
  for it is in the patients' part, and the part of few runs is widened as Student's t is. With one run in each fold,
  the folds' runs stand in for seeds. With one run in all there is no such part, and `Estimate.covers` says so.
- Ends are the 2.5 and 97.5 % points of the draws (percentile method), after the bias of the resampled metric, which
  matters for the calibration error alone, is taken out.

Shapes: B resamples, P patients, R runs, K classes.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vitlab.evaluate.metrics import CLASS_METRICS, METRICS, RANGE, class_metrics, compute_metrics, confusion_matrix
from vitlab.evaluate.scored import Level, Scored, Split, components, splits_of
from vitlab.evaluate.tally import tally

ENDS = (0.025, 0.975)  # of a 95 % interval
FEW_PATIENTS = 10  # of a class: below, the ends of an interval are rough


@dataclass(frozen=True, eq=False)
class Estimate:
    """A figure with its interval.

    Args:
        mean: over runs; None where a run does not have it.
        sd: sample deviation over runs, None below two.
        low: lower end of the 95 % interval; None where there is none: one patient, or no draw differs from another.
        high: upper end.
        n_runs: R.
        n_patients: different patients; images without one count as one each.
        n_images: different images.
        covers: what the interval accounts for: other patients and runs, or patients only.
        draws: (B,) the resampled figures, from the same patients and runs for all who share a `Resampling`.
        values: (R,) of the runs, in the order given; nan where a run does not have it.
    """

    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    n_runs: int
    n_patients: int
    n_images: int
    covers: Literal["patients and runs", "patients"]
    draws: NDArray[np.float64] = field(repr=False)
    values: NDArray[np.float64] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Resampling:
    """Which patients and runs each resample has: the same for all who were tested on the same ones.

    Two approaches that share one are compared on the same draws; those of other patients are drawn independently.

    Args:
        resamples: B.
        seed: of the draws.
    """

    resamples: int = 2000
    seed: int = 0
    _patients: dict[bytes, NDArray[np.float32]] = field(default_factory=dict, init=False, repr=False)

    def patients(self, splits: Sequence[Split]) -> list[NDArray[np.float32] | None]:
        """Draw the weight of each patient.

        Args:
            splits: of one component, see `scored.components`.

        Returns:
            (B, P) for each split; None where all have one patient.
        """
        label = {name: int(c) for split in splits for name, c in zip(split.patients, split.main_label, strict=True)}
        names = sorted(label)
        if len(names) < 2:
            return [None] * len(splits)
        stratum = _merged(np.array([label[name] for name in names]))
        key = hashlib.blake2b("\n".join(names).encode("utf-8", "surrogateescape") + stratum.tobytes()).digest()
        if key not in self._patients:
            rng = self._rng(key)
            weights = np.empty((self.resamples, len(names)), np.float32)
            for one in np.unique(stratum):
                columns = np.flatnonzero(stratum == one)
                weights[:, columns] = _drawn(rng, self.resamples, len(columns))
            self._patients[key] = weights
        if len(splits) == 1:
            return [self._patients[key]]
        place = {name: i for i, name in enumerate(names)}
        return [self._patients[key][:, [place[name] for name in split.patients]] for split in splits]

    def runs(self, members: Sequence[tuple[int, int | None]]) -> NDArray[np.float64]:
        """Draw the weight of each run of a fold, less its share: (B, n), rows sum to 0."""
        rng = self._rng(repr(members).encode())
        return (_drawn(rng, self.resamples, len(members)) - 1) / len(members)

    def widening(self, freedom: int) -> NDArray[np.float64]:
        """Draw (B,) factors that make Student's t of a normal deviate."""
        return np.sqrt(freedom / self._rng(f"t{freedom}".encode()).chisquare(freedom, self.resamples))

    def _rng(self, key: bytes) -> np.random.Generator:
        return np.random.default_rng([self.seed, *hashlib.blake2b(key, digest_size=16).digest()])


def estimate(
    runs: Sequence[Scored], resampling: Resampling, *, level: Level = "slice", metrics: Sequence[str] = METRICS
) -> dict[str, Estimate]:
    """Estimate metrics with 95 % intervals.

    Args:
        runs: of one approach on one split (train, val or test), all seeds and folds.
        resampling: shared by all approaches that are compared.
        level: a unit is an image ("slice") or a patient with the mean of its images' probabilities ("patient").
        metrics: which.

    Raises:
        ValueError: as `scored.splits_of`.
    """
    splits = splits_of(runs, level)
    values, draws = scores(runs, splits, resampling, metrics)
    return {
        name: summary(runs, splits, resampling, values[name], draws[name], limits=RANGE.get(name, (0.0, 1.0)))
        for name in metrics
    }


def estimate_classes(
    runs: Sequence[Scored], resampling: Resampling, *, level: Level = "slice"
) -> dict[str, dict[str, Estimate]]:
    """Estimate sensitivity, specificity and precision of each class: class -> metric -> estimate."""
    splits = splits_of(runs, level)
    values, draws = scores(runs, splits, resampling, CLASS_METRICS)
    return {
        name: {
            metric: summary(runs, splits, resampling, values[metric][:, c], draws[metric][:, :, c], limits=(0.0, 1.0))
            for metric in CLASS_METRICS
        }
        for c, name in enumerate(runs[0].predictions.classes)
    }


def notes(runs: Sequence[Scored]) -> list[str]:
    """Say what a reader has to know of the intervals of these runs."""
    splits, classes = splits_of(runs, "slice"), runs[0].predictions.classes
    label = {name: c for split in splits for name, c in zip(split.patients, split.main_label, strict=True)}
    found = []
    if all(name.startswith("\0") for name in label):
        found.append("no patient ids: each image counts as a patient of its own, and intervals are too narrow where "
                     "images of one patient repeat")  # fmt: skip
    counts = np.bincount(np.array(list(label.values()), np.int64), minlength=len(classes))
    few = [f"{classes[c]} {n}" for c, n in enumerate(counts) if 0 < n < FEW_PATIENTS]
    if few:
        found.append(f"few patients ({', '.join(few)}): the ends of intervals are rough")
    if len(runs) == 1:
        found.append("one run: intervals do not hold what another seed would change")
    elif all(len(split.runs) == 1 for split in splits):
        found.append("one run per fold: what another seed would change is judged from how the folds differ")
    return found


def scores(
    runs: Sequence[Scored], splits: Sequence[Split], resampling: Resampling, metrics: Sequence[str]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """Score every run, and every resample of patients of it.

    Returns:
        Metric -> (R,) values, and metric -> (R, B) values with other patients; (R, K) and (R, B, K) for the metrics
        of classes; nan where there is none.
    """
    values: list[dict[str, Any]] = [{} for _ in runs]
    draws: list[dict[str, Any]] = [{} for _ in runs]
    ordinary = [name for name in metrics if name in METRICS]
    for together in components(splits):
        for split, weights in zip(together, resampling.patients(together), strict=True):
            for run, probs in zip(split.runs, split.probs, strict=True):
                values[run] = {**compute_metrics(probs, split.targets, ordinary)}
                if len(ordinary) < len(metrics):
                    values[run] |= class_metrics(confusion_matrix(probs, split.targets))
                values[run] = {name: np.asarray(values[run][name], np.float64) for name in metrics}
                sums = tally(split.patient, split.targets, probs, len(split.patients), metrics)
                if weights is None:
                    draws[run] = {name: np.repeat(values[run][name][None], resampling.resamples, 0) for name in metrics}
                    continue
                whole = sums.figures(np.ones((1, len(split.patients))), metrics)
                drawn = sums.figures(weights, metrics)
                # What bins lose, the whole sample's figure lost too: only the difference counts.
                draws[run] = {name: drawn[name] - whole[name] + values[run][name] for name in metrics}
    return tuple({name: np.stack([of[name] for of in table]) for name in metrics} for table in (values, draws))  # type: ignore[return-value]


def summary(
    runs: Sequence[Scored],
    splits: Sequence[Split],
    resampling: Resampling,
    values: NDArray[np.float64],
    draws: NDArray[np.float64],
    *,
    limits: tuple[float, float],
) -> Estimate:
    """Put the parts of patients and runs together.

    Args:
        runs: R.
        splits: of the runs.
        resampling: of the draws.
        values: (R,) of one metric.
        draws: (R, B) with other patients.
        limits: that the metric cannot pass.
    """
    mean = values.mean()
    part, covers = _between_runs(runs, splits, resampling, values, draws)
    together = draws.mean(0)
    together = together - together.mean() + mean + part
    low, high = np.quantile(together, ENDS).clip(*limits)
    flat = not np.isfinite(mean) or np.ptp(together) < 1e-12
    return Estimate(
        mean=float(mean) if np.isfinite(mean) else None,
        sd=float(values.std(ddof=1)) if len(values) > 1 and np.isfinite(mean) else None,
        low=None if flat else float(low),
        high=None if flat else float(high),
        n_runs=len(runs),
        n_patients=len({name for split in splits for name in split.patients}),
        n_images=len({row for split in splits for row in split.index.tolist()}),
        covers=covers,
        draws=together,
        values=values,
    )


def _between_runs(
    runs: Sequence[Scored],
    splits: Sequence[Split],
    resampling: Resampling,
    values: NDArray[np.float64],
    draws: NDArray[np.float64],
) -> tuple[NDArray[np.float64], Literal["patients and runs", "patients"]]:
    """Draw (B,) deviations of the mean over runs that other runs would bring."""
    groups = [split.runs for split in splits]
    if all(len(group) == 1 for group in groups):
        groups = [[run for group in groups for run in group]]
    freedom = sum(len(group) - 1 for group in groups)
    if not freedom:
        return np.zeros(resampling.resamples), "patients"
    seen = sum(len(group) * values[group].var() for group in groups) / freedom
    # What patients alone make runs of one fold differ by: they are not all wrong about the same images.
    chance = sum((draws[group] - draws[group].mean(0)).var(1).sum() for group in groups) / freedom
    part = np.zeros(resampling.resamples)
    for group in groups:
        if len(group) > 1:
            order = sorted(group, key=lambda run: (repr(runs[run].fold), runs[run].seed))
            weights = resampling.runs([(runs[run].seed, runs[run].fold) for run in order])
            part += len(group) / len(runs) * weights @ values[order]
    kept = np.sqrt(max(0.0, 1 - chance / seen)) if seen > 0 else 0.0
    return kept * part * resampling.widening(freedom), "patients and runs"


def _drawn(rng: np.random.Generator, resamples: int, n: int) -> NDArray[np.float64]:
    """Draw n - 1 of n with replacement and weight them to n in all: (B, n)."""
    found: NDArray[np.float64] = rng.multinomial(n - 1, np.full(n, 1 / n), size=resamples) * np.float64(n / (n - 1))
    return found


def _merged(stratum: NDArray[np.int64]) -> NDArray[np.int64]:
    """Put strata of one patient together, or with the smallest other one: one of one cannot be resampled."""
    names, counts = np.unique(stratum, return_counts=True)
    single = np.isin(stratum, names[counts < 2])
    if single.sum() == 1 and len(names) > 1:
        others = names[counts > 1]
        single |= stratum == others[np.argmin(counts[counts > 1])]
    return np.where(single, -1, stratum)
