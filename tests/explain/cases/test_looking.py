"""What is shown of a run is of the class that the run has said, also where it would say another one here."""

from dataclasses import replace

import numpy as np

from vitlab.explain.cases.looking import look
from vitlab.explain.cases.selection import cases_of
from vitlab.explain.runs.loaded import load_run
from vitlab.explain.runs.study_runs import study_runs
from vitlab.explain.saliency.maps import saliency_maps, shown_method


def test_maps_are_of_the_class_that_was_said(runs):
    study = study_runs(runs["cnn"].parents[1], ["cnn"])
    (scored,) = study.scored["CNN"]
    turned = replace(scored.predictions, probs=scored.predictions.probs[:, ::-1])
    study.scored["CNN"] = [replace(scored, predictions=turned)]
    cases = cases_of(study.scored)
    looks = look(study, "CNN", cases, [0, 2], "cpu", lambda line: None)
    assert list(looks.cases) == [0, 2]
    run = load_run(runs["cnn"])
    for place, found in looks.cases.items():
        targets = [run.classes.index(name) for name in found.said]
        here = run.probabilities(run.images(cases[place].rows)).argmax(1)
        assert (np.array(targets) == 1 - here).all()
        expected = saliency_maps(run, cases[place].rows, shown_method(run), targets)
        np.testing.assert_allclose(found.maps, expected, rtol=1e-4, atol=1e-7)
