import itertools
from dataclasses import replace

import pytest

from vitlab.evaluate.paired import Pair
from vitlab.evaluate.resampling import Resampling
from vitlab.report.rows import Row, Stat
from vitlab.report.runs import read_run
from vitlab.report.summary import NAMES, Table, build_tables
from vitlab.report.verdict import verdict

FOUR = ("cnn", "cnn_simclr", "vit", "vit_mae")


@pytest.fixture
def table(make_run):
    """Four approaches of three runs whose pairs are given by hand: (a, b) -> difference, low, high, differs."""
    number = itertools.count()

    def make(pairs, approaches=FOUR, axes=("",)):
        rows = []
        for approach in approaches:
            for axis in axes:
                run = read_run(make_run(approach, axes=axis, root=f"logs{next(number)}"))
                stats = {"patient": {"test": {"balanced_accuracy": Stat(0.8, 0.01, 3, 0.7, 0.9, 40, 400)}}}
                name = NAMES.get(approach, approach) + (f" {axis}" if axis else "")
                rows.append(Row(approach, name, "net", axis, [run] * 3, {}, stats))
        found = [
            Pair(a, b, "balanced_accuracy", "patient", difference, low, high, 0.01, 0.01 if differs else 0.2, 0.9,
                 (high - low) * 0.71, True, 40)
            for (a, b), (difference, low, high, differs) in pairs.items()
        ]  # fmt: skip
        return Table("phantom", "phantom", "ab" * 32, 1.0, rows, found, [], Resampling(500))

    return make


CHANCE = (0.008, -0.035, 0.06, False)
PAIRS = {
    ("CNN + SimCLR", "CNN"): CHANCE,
    ("ViT", "CNN"): (-0.065, -0.109, -0.021, True),
    ("ViT + MAE", "CNN"): CHANCE,
    ("ViT", "CNN + SimCLR"): CHANCE,
    ("ViT + MAE", "CNN + SimCLR"): (-0.02, -0.06, 0.02, False),
    ("ViT + MAE", "ViT"): (0.041, 0.012, 0.07, True),
}


def test_a_study_does_not_claim_to_find_what_it_has_not_found(table):
    """The interval of few patients leaves out 0, and their exchange is no rare event."""
    few = {**PAIRS, ("ViT", "CNN"): (0.3, 0.209, 0.334, False)}
    (_, second) = verdict(table(few))
    assert "ViT against CNN +30.0 points [20.9, 33.4]" in second and "could have found" not in second
    assert "may be chance (p = .20 at the least, after Holm's correction)" in second


def test_two_sentences_answer_the_two_questions(table):
    assert verdict(table(PAIRS)) == [
        "Self-supervised pretraining helps: ViT + MAE is better than ViT by 4.1 points [1.2, 7.0] of balanced accuracy "
        "per patient; CNN + SimCLR against CNN +0.8 points [-3.5, 6.0] may be chance (this study could have found "
        "differences of 7 points and more).",
        "The CNN generalises better: CNN is better than ViT by 6.5 points [2.1, 10.9] of balanced accuracy per "
        "patient; ViT + MAE against CNN + SimCLR -2.0 points [-6.0, 2.0] may be chance (this study could have "
        "found differences of 6 points and more); no other difference is larger than chance.",
    ]


def test_where_nothing_differs_the_size_of_the_study_is_said(table):
    pretraining, architecture = verdict(table(dict.fromkeys(PAIRS, CHANCE)))
    assert pretraining == (
        "Whether self-supervised pretraining helps, this study cannot tell: CNN + SimCLR against CNN +0.8 points "
        "[-3.5, 6.0] and ViT + MAE against ViT +0.8 points [-3.5, 6.0] of balanced accuracy per patient may be chance "
        "(this study could have found differences of 7 points and more)."
    )
    assert architecture.startswith("Which architecture generalises better, this study cannot tell: ViT against CNN")
    assert architecture.endswith("; no other difference is larger than chance.")


def test_pretraining_that_hurts_is_said_to(table):
    pairs = {("CNN + SimCLR", "CNN"): (-0.05, -0.08, -0.02, True)}
    (said,) = verdict(table(pairs, FOUR[:2]))
    assert said == (
        "Self-supervised pretraining hurts: CNN + SimCLR is worse than CNN by 5.0 points [2.0, 8.0] of balanced "
        "accuracy per patient."
    )
    both = pairs | {("ViT + MAE", "ViT"): (0.041, 0.012, 0.07, True)}
    assert verdict(table(both))[0].startswith("Self-supervised pretraining helps one and hurts another: CNN + SimCLR")


def test_architectures_that_disagree_are_no_winner(table):
    pairs = PAIRS | {("ViT + MAE", "CNN + SimCLR"): (0.03, 0.01, 0.05, True)}
    said = verdict(table(pairs))[1]
    assert said.startswith("Neither architecture generalises better throughout: CNN is better than ViT by 6.5 points")
    assert "ViT + MAE is better than CNN + SimCLR by 3.0 points [1.0, 5.0]" in said


def test_settings_of_one_approach_are_told_apart(table):
    axes = ("data.group_by=image", "data.group_by=patient")
    pairs = {("CNN data.group_by=patient", "CNN data.group_by=image"): (-0.06, -0.09, -0.03, True)}
    (said,) = verdict(table(pairs, FOUR[:1], axes))
    assert said == (
        "Settings matter: CNN data.group_by=image is better than CNN data.group_by=patient by 6.0 points [3.0, 9.0] of "
        "balanced accuracy per patient."
    )


def test_approaches_of_ones_own_are_compared_too(table):
    pairs = {("mine", "cnn2"): (0.06, 0.03, 0.09, True)}
    assert verdict(table(pairs, ("cnn2", "mine"))) == [
        "mine is better than cnn2 by 6.0 points [3.0, 9.0] of balanced accuracy per patient."
    ]
    assert verdict(table({("mine", "cnn2"): CHANCE}, ("cnn2", "mine")))[0].startswith("No difference is larger than")


def test_more_than_three_pairs_are_counted(table):
    names = ("a", "b", "c", "d")
    pairs = {(x, y): (0.01 * i, 0.001, 0.2, True) for i, (x, y) in enumerate(
        [("b", "a"), ("c", "a"), ("d", "a"), ("c", "b"), ("d", "b")], 1)}  # fmt: skip
    (said,) = verdict(table(pairs, names))
    assert said.startswith("d is better than b by 5.0 points") and "and 2 more of balanced accuracy" in said


def test_one_row_has_nothing_to_compare(make_scored):
    (alone,) = build_tables([read_run(make_scored(test=[0.9] * 15 + [0.2] * 5))], resamples=200)
    (said,) = verdict(alone)
    assert said.startswith("CNN has a test balanced accuracy of 0.750 [0.") and "per image in one run" in said
    assert said.endswith("another seed may move that; there is nothing to compare it with.")


def test_without_tests_nothing_is_called_a_difference(make_run):
    runs = [read_run(make_run("cnn", test_balanced_accuracy=0.9)), read_run(make_run("vit"))]
    (table,) = build_tables(runs, resamples=0)
    assert verdict(table) == [
        "CNN has a test balanced accuracy of 0.900 per image, down to 0.750 of ViT; without tests, nothing says "
        "whether that is chance."
    ]
    (table,) = build_tables([read_run(make_run("cnn", root="b", metrics={}))], resamples=0)
    assert verdict(table) == ["No run has a balanced accuracy on test: there is nothing to compare."]


def test_single_runs_are_said_to_be_so(make_scored):
    runs = [read_run(make_scored(a, test=[0.9] * n + [0.2] * (40 - n))) for a, n in (("cnn", 39), ("vit", 20))]
    (table,) = build_tables(runs, resamples=200)
    said = verdict(table)
    assert said[0].startswith("In single runs, the CNN generalised better: CNN was better than ViT by 47.5 points [")
    assert said[1].startswith("Each was run once")
    three = [read_run(make_scored(a, test=[0.9] * n + [0.2] * (40 - n), root="b"))
             for a, n in (("cnn", 39), ("cnn_simclr", 20), ("vit", 39), ("vit_mae", 39))]  # fmt: skip
    (table,) = build_tables(three, resamples=200)
    assert verdict(table)[0].startswith(
        "In single runs, self-supervised pretraining hurt: CNN + SimCLR was worse than CNN by 47.5 points ["
    )
    own = [read_run(make_scored(a, test=[0.9] * n + [0.2] * (40 - n), root="c")) for a, n in (("a", 20), ("b", 39))]
    (table,) = build_tables(own, resamples=200)
    assert verdict(table)[0].startswith("In single runs, b was better than a by 47.5 points [")


def test_identical_predictions_are_no_difference(make_scored):
    runs = [read_run(make_scored(a, seed, test=[0.9] * 40)) for a in ("cnn", "vit") for seed in range(2)]
    (table,) = build_tables(runs, resamples=200)
    assert verdict(table) == [
        "Which architecture generalises better, this study cannot tell: ViT against CNN +0.0 points of balanced "
        "accuracy per image may be chance."
    ]
    assert not any(pair.differs for pair in table.pairs)


def test_a_pair_without_a_figure_is_passed_over(table):
    made = table({("ViT", "CNN"): CHANCE}, ("cnn", "vit"))
    unknown = replace(made, pairs=[replace(made.pairs[0], difference=None, low=None, high=None)])
    assert verdict(unknown) == verdict(replace(made, pairs=[]))
