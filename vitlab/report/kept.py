"""What each row of a table keeps of its score under corruption, from the robustness.csv of its runs."""

from collections.abc import Mapping
from contextlib import suppress

from vitlab.evaluate.corrupted import FILE, read_robustness
from vitlab.evaluate.robustness import Measured, estimate_robustness
from vitlab.report.rows import Row, Stat
from vitlab.report.summary import Table

OVERALL = ("clean", "corrupted", "relative", "mce")  # figures; the others are corruptions


def read_kept(table: Table) -> dict[str, Mapping[str, Stat]]:
    """Estimate robustness in balanced accuracy per test image, with 95 % intervals.

    Returns:
        Row's name -> `clean`, `corrupted`, `relative`, `mce` and each corruption's name -> figure, as
        `estimate_robustness` has them; the error `mce` is relative to the first row here. A row is not here where not
        every run of it has the counts of patients, nor is any without resampling.
    """
    measured = {row.name: runs for row in table.rows if (runs := _measured(row))}
    if table.resampling is None or not measured:
        return {}
    reference = next(iter(measured.values()))
    found: dict[str, Mapping[str, Stat]] = {}
    for name, runs in measured.items():
        with suppress(ValueError):  # not corrupted alike
            estimates = estimate_robustness(runs, table.resampling)
            with suppress(ValueError):  # tested on other images than the first row
                estimates = estimate_robustness(runs, table.resampling, reference=reference)
            found[name] = {figure: Stat.of_estimate(estimate) for figure, estimate in estimates.items()}
    return found


def _measured(row: Row) -> list[Measured]:
    try:
        return [Measured(run.seed, run.fold, read_robustness(run.folder / FILE)) for run in row.runs]
    except (OSError, ValueError):
        return []
