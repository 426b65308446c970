"""What pretraining is worth by share of the labels, from run folders to words, records and the page."""

import json

import pytest
from statsmodels.stats.multitest import multipletests

from vitlab.report.labels import efficiencies, grid, sentences
from vitlab.report.runs import read_run
from vitlab.report.summary import build_tables
from vitlab.report.table import main

GOOD, POOR, FAIR = [0.9] * 56 + [0.2] * 4, [0.9, 0.2] * 30, [0.9] * 50 + [0.2] * 10
SCORES = {0.1: (POOR, GOOD), 1.0: (FAIR, FAIR)}  # without and with pretraining


@pytest.fixture
def folders(make_scored):
    return [
        make_scored(approach, seed, label_fraction=share, root=f"logs{share}", test=[*scores[seed:], *scores[:seed]])
        for share, both in SCORES.items()
        for approach, scores in zip(("cnn", "cnn_simclr"), both, strict=True)
        for seed in range(2)
    ]


def tables_of(folders):
    return build_tables([read_run(folder) for folder in folders], resamples=400)


def test_it_says_where_pretraining_is_worth_something_and_where_not(folders):
    (found,) = efficiencies(tables_of(folders))
    assert [share.labels for share in found.shares] == ["10 %", "100 %"]
    assert [share.pair.difference for share in found.shares] == pytest.approx([26 / 60, 0], abs=0.02)
    (said,) = sentences(found)
    assert said.startswith("CNN + SimCLR against CNN scores, of balanced accuracy per image, 4")
    assert "with 10 % of the labels more; +0.0 points" in said and "with 100 % of the labels may be chance" in said


def test_what_it_costs_is_said_as_less(make_scored):
    folders = [
        make_scored(a, label_fraction=share, root=f"logs{share}", test=scores)
        for share in (0.1, 1.0) for a, scores in (("vit", GOOD), ("vit_mae", POOR))
    ]  # fmt: skip
    (said,) = sentences(*efficiencies(tables_of(folders)))
    assert said.startswith("ViT + MAE against ViT scores") and said.endswith("with 100 % of the labels less.")


def test_where_none_differs_it_cannot_tell(make_scored):
    folders = [
        make_scored(a, label_fraction=share, root=f"logs{share}", test=FAIR)
        for share in (0.1, 1.0) for a in ("cnn", "cnn_simclr")
    ]  # fmt: skip
    (said,) = sentences(*efficiencies(tables_of(folders)))
    assert said.startswith("Whether CNN + SimCLR is better than CNN at any share of the labels, this study cannot tell")


def test_holm_is_over_all_shares(folders):
    (found,) = efficiencies(tables_of(folders))
    raw = [share.pair.p_permutation for share in found.shares]
    expected = multipletests(raw, method="holm")[1]
    assert [share.pair.p_holm for share in found.shares] == pytest.approx(list(expected))
    assert found.shares[0].pair.p_holm == pytest.approx(2 * raw[0])


def test_tables_of_other_data_or_one_share_alone_are_no_group(folders, make_scored):
    assert efficiencies(tables_of(folders[:4])) == []
    other = make_scored("cnn", label_fraction=0.5, manifest_sha256="cd" * 32, test=FAIR)
    assert len(efficiencies(tables_of([*folders, other]))) == 1
    assert len(efficiencies(tables_of([*folders, other]))[0].tables) == 2


def test_every_format_and_the_page_have_it(folders, tmp_path, capsys):
    roots = [str(tmp_path / f"logs{share}") for share in SCORES]
    (found,) = efficiencies(build_tables([read_run(folder) for folder in folders]))
    (said,) = sentences(found)
    difference = grid(found)[1][0][4]
    for form in ("terminal", "markdown", "latex"):
        assert main([*roots, "--format", form]) == 0
        printed = " ".join(capsys.readouterr().out.replace("\\%", "%").replace("% ", "").split())
        assert " ".join(said.replace("% ", "").split()) in printed and difference in printed, form
    assert main([*roots, "--format", "json"]) == 0
    (labels,) = json.loads(capsys.readouterr().out)["labels"]
    assert labels["verdict"] == [said] and [share["label_fraction"] for share in labels["shares"]] == [0.1, 1.0]
    page = tmp_path / "report.html"
    assert main([*roots, "--report", str(page)]) == 0
    text = page.read_text()
    assert said in text and "What pretraining adds at each share" in text


def test_brief_is_the_answer_alone(folders, make_scored, tmp_path, capsys):
    roots = [str(tmp_path / f"logs{share}") for share in SCORES]
    assert main([*roots, "--brief", "--format", "markdown"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("**phantom") and printed.count("\n| ") == 1 + len(SCORES) and "AUROC" not in printed
    make_scored("cnn", root="one", test=FAIR, dataset="alone")
    page = tmp_path / "page.md"
    page.write_text("<!-- compare -->\n<!-- /compare -->\n")
    assert main([str(tmp_path / "one"), "--brief", "--into", str(page)]) == 0
    assert page.read_text().count("\n") == 3 and "there is nothing to compare it with" in page.read_text()
    with pytest.raises(ValueError, match="--brief is words, which csv has no place for"):
        main([*roots, "--brief", "--format", "csv"])
