import pytest

from vitlab.evaluate.paired import Pair
from vitlab.report.rows import Stat
from vitlab.report.words import at_least, figure, p_value, pair_line, points

PAIR = Pair("ViT + MAE", "ViT", "accuracy", "patient", 0.041, 0.012, 0.07, 0.0123, 0.036, 0.99, 0.04, True, 40)


@pytest.mark.parametrize(
    ("stat", "text"),
    [
        (Stat(0.869, 0.01, 3, 0.8361, 0.9049), "0.869 [0.84, 0.90]"),
        (Stat(0.9712, 0.01, 3, 0.962, 0.9807), "0.971 [0.962, 0.981]"),
        (Stat(1.0, 0.0, 3), "1.000"),
        (Stat(None, None, 0), "-"),
    ],
)
def test_a_figure_has_its_interval(stat, text):
    assert figure(stat) == text


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0004, "< .001"), (0.001, ".001"), (0.0123, ".012"), (0.049, ".049"), (0.24, ".24"), (1.0, "1.00"), (None, "-")],
)
def test_p_values(p, text):
    assert p_value(p) == text


def test_a_pair_is_a_line():
    assert pair_line(PAIR) == "ViT + MAE vs ViT: +4.1 points [1.2, 7.0], p = .012 (Holm .036)"


def test_differences_are_in_points_without_a_negative_nought():
    assert points(-0.0001, -0.0002, 0.01) == "+0.0 points [0.0, 1.0]"
    assert points(0.04, None, None) == "+4.0 points" and points(None, None, None) == "-"


def test_what_a_study_could_find_is_rounded_up():
    assert (at_least(0.0412), at_least(0.05), at_least(0.0031)) == ("5 points", "5 points", "0.4 points")
