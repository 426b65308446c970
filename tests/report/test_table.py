import csv
import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vitlab.evaluate.metrics import METRICS
from vitlab.report.table import main

PUBLISHED = Path(__file__).parents[2] / "lightning_logs" / "published"

# Known figures: mean 0.8, 0.9, 0.85 and sample deviations 0.1, none, 0.0141421...
TEST_ACCURACY = {"cnn": [0.7, 0.8, 0.9], "cnn_simclr": [0.9], "vit_mae": [0.84, 0.86]}


@pytest.fixture
def logs(make_run, tmp_path):
    for approach, values in TEST_ACCURACY.items():
        pretrain = {"wall_seconds": 100.0, "images_seen": 50_000} if "_" in approach else None
        for seed, value in enumerate(values):
            seconds = 10.0 + 2 * seed
            make_run(
                approach, seed, test_accuracy=value, train_loss=0.01 * seed, pretrain=pretrain, wall_seconds=seconds
            )
    return tmp_path / "logs"


@pytest.fixture
def scored(make_scored, tmp_path):
    """Two runs each of a CNN that is right about 16 of 20 patients and a ViT that is right about 12."""
    for seed in range(2):
        for approach, right in (("cnn", 16), ("vit", 12)):
            test = [0.9 if i // 2 < right else 0.2 for i in range(40)]
            make_scored(approach, seed, per_patient=2, train=[0.9] * 20, test=test)
    return tmp_path / "logs"


def compare(capsys, *argv):
    assert main([str(arg) for arg in argv]) == 0
    return capsys.readouterr().out


def test_json_has_the_fixed_form_and_the_known_figures(logs, capsys):
    table = json.loads(compare(capsys, logs, "--format", "json"))
    assert table["pairs"] == []
    assert [(row["approach"], row["n"]) for row in table["rows"]] == [("cnn", 3), ("cnn_simclr", 1), ("vit_mae", 2)]
    cnn, simclr, mae = table["rows"]
    unknown = {"low": None, "high": None, "n_patients": None, "n_images": None}
    assert cnn["test"]["accuracy"] == {"mean": pytest.approx(0.8), "sd": pytest.approx(0.1), "n_runs": 3} | unknown
    assert simclr["test"]["accuracy"] == {"mean": 0.9, "sd": None, "n_runs": 1} | unknown
    assert mae["test"]["accuracy"]["sd"] == pytest.approx(0.0002**0.5)
    assert cnn["train"]["loss"]["mean"] == pytest.approx(0.01) and cnn["val"]["mcc"]["mean"] == pytest.approx(0.6)
    assert set(cnn["val"]) == set(METRICS) and cnn["patient"] is None and cnn["gap"] is None
    assert (cnn["name"], cnn["dataset"], cnn["manifest_sha256"]) == ("CNN", "phantom", "ab" * 32)
    assert cnn["cost"]["seconds"] == {"mean": 12, "sd": 2} and mae["cost"]["seconds"]["mean"] == 111
    assert mae["cost"]["images_seen"]["mean"] == 51_000


def test_json_has_intervals_patients_gaps_and_pairs_of_predictions(scored, capsys):
    table = json.loads(compare(capsys, scored, "--format", "json"))
    cnn, vit = table["rows"]
    assert set(cnn["test"]["auroc"]) == {"mean", "sd", "low", "high", "n_runs", "n_patients", "n_images"}
    figure = cnn["test"]["accuracy"]
    assert (figure["mean"], figure["n_runs"], figure["n_patients"], figure["n_images"]) == (0.8, 2, 20, 40)
    assert figure["low"] < 0.8 < figure["high"]
    patient = vit["patient"]["test"]["accuracy"]
    assert (patient["mean"], patient["n_patients"], patient["n_images"]) == (0.6, 20, 40)
    gap = cnn["gap"]["train"]["accuracy"]
    assert gap["mean"] == pytest.approx(0.2) and gap["low"] < 0.2 < gap["high"]
    assert cnn["gap"]["val"]["accuracy"]["mean"] is None and cnn["val"]["accuracy"]["mean"] is None
    keys = {"a", "b", "metric", "level", "difference", "low", "high", "p_permutation", "p_holm", "p_better",
            "detectable", "paired"}  # fmt: skip
    assert all(keys < set(pair) for pair in table["pairs"])
    what = [(pair["a"], pair["b"], pair["metric"], pair["level"]) for pair in table["pairs"]]
    assert len(what) == len(set(what)) == 6 and ("ViT", "CNN", "auroc", "patient") in what
    pair = next(pair for pair in table["pairs"] if (pair["metric"], pair["level"]) == ("accuracy", "slice"))
    assert pair["difference"] == pytest.approx(-0.2) and pair["low"] < -0.2 < pair["high"] and pair["paired"]
    (said,) = table["tables"]
    assert said["verdict"] and said["resamples"] == 2000 and pair["manifest_sha256"] == said["manifest_sha256"]


def test_the_same_runs_give_the_same_text(scored, capsys):
    for form in ("json", "terminal"):
        assert compare(capsys, scored, "--format", form) == compare(capsys, scored, "--format", form)


def test_without_resamples_there_are_the_means_alone(scored, capsys):
    table = json.loads(compare(capsys, scored, "--format", "json", "--resamples", "0"))
    assert table["pairs"] == [] and table["rows"][0]["test"]["accuracy"]["mean"] == 0.8
    assert table["rows"][0]["test"]["accuracy"]["low"] is None
    assert "[" not in compare(capsys, scored, "--resamples", "0")


def test_csv_has_the_same_figures_in_full(scored, capsys):
    expected = json.loads(compare(capsys, scored, "--format", "json"))["rows"]
    rows = list(csv.DictReader(io.StringIO(compare(capsys, scored, "--format", "csv"))))
    assert len(rows) == len(expected)
    for row, truth in zip(rows, expected, strict=True):
        parts = {f"{prefix}{split}": figures[split] for prefix, figures in (("", truth), ("patient_", truth["patient"]))
                 for split in ("train", "val", "test")}  # fmt: skip
        parts |= {f"gap_{split}": truth["gap"][split] for split in ("train", "val")}
        for part, figures in parts.items():
            for metric, figure in figures.items():
                for kind in ("mean", "sd", "low", "high"):
                    value = row[f"{part}_{metric}_{kind}"]
                    assert (float(value) if value else None) == figure[kind]
        assert (row["approach"], int(row["n"])) == (truth["approach"], truth["n"])
        assert (row["test_n_patients"], row["test_n_images"]) == ("20", "40")
        assert float(row["seconds_mean"]) == truth["cost"]["seconds"]["mean"]


def test_terminal_fits_120_columns_and_is_aligned(scored, make_run, capsys):
    make_run("an_approach_of_my_own_name", wall_seconds=123_456.0, images_seen=12_345_678)
    text = compare(capsys, scored)
    assert max(map(len, text.splitlines())) <= 120 and text.startswith("phantom (manifest abababab)\n")
    head = next(line for line in text.splitlines() if "balanced acc." in line)
    cnn = next(line for line in text.splitlines() if re.match(r"CNN +2 ", line))
    assert re.match(r"0\.800 \[0\.\d\d, 0\.\d\d\] +0\.800 \[", cnn[head.index("accuracy") :])
    (patients,) = [block for block in text.split("\n\n") if "test per patient" in block]
    assert re.search(r"^ViT +2  0\.600 \[", patients, re.M) and re.search(r"^an_approach\w+ +1  - ", patients, re.M)
    costs = [line for line in text.splitlines() if line.endswith(("images seen", "1,000", "12,345,678"))]
    assert len(costs) == 4 and len(set(map(len, costs))) == 1 and "123,456" in costs[3]
    assert "note: unequal runs: CNN has seed 0-1; ViT has seed 0-1; an_approach" in text
    assert "no intervals for an_approach_of_my_own_name" in text and "has no predictions.csv" in " ".join(text.split())
    assert re.search(r"^ViT vs CNN: -20\.0 points \[-\d+\.\d, -?\d+\.\d\], p = \.\d+ \(Holm \.\d+\)$", text, re.M)
    assert "generalises better" in text and "2,000 resamples" in text


def test_a_grid_fits_the_terminal_too(make_scored, tmp_path, capsys):
    """Seven settings of a long name: columns go on below, and of 91 pairs those that answer a question are shown."""
    for approach in ("cnn_simclr", "vit"):
        for rate in range(7):
            make_scored(approach, axes=f"model.optim.weight_decay=0.{rate}", test=[0.9] * (20 - rate) + [0.2] * 20)
    text = compare(capsys, tmp_path / "logs", "--resamples", "100")
    assert max(map(len, text.splitlines())) <= 120
    (head,) = [line for line in text.splitlines() if "AUROC" in line]
    assert "loss" not in head and text.count("CNN + SimCLR model.optim.weight_decay=0.6  ") == 3
    pairs = [line for line in text.splitlines() if " vs " in line]
    assert len(pairs) == 15 and "and 76 more pairs, which are in --format json" in text
    assert sum(line.startswith("ViT") and " vs CNN" in line for line in pairs) == 0
    assert len(json.loads(compare(capsys, tmp_path / "logs", "--resamples", "100", "--format", "json"))["pairs"]) == 273


def test_markdown_is_one_table_of_equal_rows(scored, make_run, capsys):
    make_run("a|b")
    text = compare(capsys, scored, "--format", "markdown")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1 and len(lines) == 5
    assert re.match(r"\| CNN \| 2 \| 0\.800 \[0\.\d\d, 0\.\d\d\] \|", lines[2]) and lines[4].startswith(r"| a\|b |")
    assert "test accuracy per patient" in lines[0] and "\n- ViT vs CNN: -20.0 points [" in text
    assert re.fullmatch(r"\|---(\|---:)+\|", lines[1])


def test_latex_is_booktabs_and_escaped(scored, make_run, capsys):
    make_run("100%_best & #1 {x}")
    text = compare(capsys, scored, "--format", "latex")
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    assert "CNN & 2 & 0.800 [0." in text and r"100\%\_best \& \#1 \{x\} & 1" in text
    rows, pairs = text.split(r"\end{tabular}")[:2]
    assert "ViT vs CNN & -20.0 points [" in pairs
    for part in (rows, pairs):
        body = [line for line in part.splitlines() if line.endswith(r"\\")]
        assert len({len(re.findall(r"(?<!\\)&", line)) for line in body}) == 1 and len(body) > 1


def test_undefined_metrics_are_shown_as_missing_in_every_format(make_run, tmp_path, capsys):
    make_run(test_auroc=None, metrics={"test": {"accuracy": 0.5}, "train": None})
    for form in ("terminal", "markdown", "csv", "latex", "json"):
        text = compare(capsys, tmp_path / "logs", "--format", form)
        assert "nan" not in text.lower() and "None" not in text
    assert json.loads(text)["rows"][0]["test"]["auroc"]["mean"] is None


def test_tables_of_different_images_stay_apart(make_run, tmp_path, capsys):
    make_run(test_accuracy=0.2)
    make_run(dataset="cheng", manifest_sha256="cd" * 32, test_accuracy=0.4)
    rows = json.loads(compare(capsys, tmp_path / "logs", "--format", "json"))["rows"]
    found = [(row["dataset"], row["n"], row["test"]["accuracy"]["mean"]) for row in rows]
    assert found == [("cheng", 1, 0.4), ("phantom", 1, 0.2)]
    assert compare(capsys, tmp_path / "logs").count("approach  ") == 4
    assert "cheng" not in compare(capsys, tmp_path / "logs", "--data", "phantom")


def test_out_is_written_whole_in_the_format_of_its_ending(logs, tmp_path, capsys):
    (tmp_path / "table.json").write_text("old")
    assert compare(capsys, logs, "--out", tmp_path / "table.json") == ""
    assert len(json.loads((tmp_path / "table.json").read_text())["rows"]) == 3
    compare(capsys, "--out", tmp_path / "t.md", logs, "--format", "latex")
    assert "booktabs" not in (tmp_path / "t.md").read_text() and r"\toprule" in (tmp_path / "t.md").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "t.md", "table.json"]


def test_config_gives_options_and_the_command_line_wins(logs, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(f"dirs: [{logs}]\nformat: json\n")
    assert len(json.loads(compare(capsys, "--config", tmp_path / "c.yaml"))["rows"]) == 3
    assert compare(capsys, "--config", tmp_path / "c.yaml", "--format", "csv").startswith("approach,name")


def test_unfinished_runs_are_named_and_left_out(logs, make_run, capsys):
    stopped = make_run("vit")
    (stopped / "results.json").unlink()
    failed = make_run("vit", seed=1, status="failed")
    assert main([str(logs)]) == 0
    output = capsys.readouterr()
    assert str(stopped) in output.err and str(failed) in output.err and "ViT  " not in output.out


def test_notes_reach_stderr_where_the_format_has_no_place_for_them(logs, capsys):
    main([str(logs), "--format", "json"])
    assert "unequal runs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--formt", "json"], "unknown option --formt, did you mean --format?"),
        (["--format", "markdwon"], "unknown --format markdwon, did you mean markdown?"),
        (["--format"], "expected one argument"),
        (["--out", "t.html"], "--out t.html would be a table in text: write the page with --report t.html"),
        (["--data", "phantm"], "no run on 'phantm', did you mean phantom?"),
        (["nowhere"], "nowhere is not a folder"),
        (["--out", "no/such/folder/t.md"], "there is no folder no/such/folder"),
        (["--out", "."], "it is a folder"),
        (["--report", "no/such/folder/r.html"], "cannot write --report no/such/folder/r.html: there is no folder"),
        (["--resamples", "5"], "--resamples must be 0 or a number from 100 on, not 5"),
        (["--resamples", "many"], "--resamples must be 0 or a number from 100 on, not many"),
        (["--config", "draws.yaml"], "--resamples must be 0 or a number from 100 on, not [1]"),
        (["--config", "nowhere.yaml"], "there is no config file nowhere.yaml"),
        (["--config", "bad.yaml"], "unknown option 'fromat', did you mean format?"),
        (["--config", "worse.yaml"], "worse.yaml is not YAML"),
        (["--config", "dirs.yaml"], "dirs must be a list of folders"),
    ],
)
def test_mistakes_are_one_line(logs, tmp_path, monkeypatch, argv, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("fromat: json")
    (tmp_path / "worse.yaml").write_text("a: [")
    (tmp_path / "dirs.yaml").write_text("dirs: logs")
    (tmp_path / "draws.yaml").write_text("resamples: [1]")
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)) as caught:
        main([*argv, str(logs)] if argv != ["--format"] else argv)
    assert "\n" not in str(caught.value)


def test_no_runs_says_what_to_do(make_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder lightning_logs here: train first"):
        main([])
    (tmp_path / "lightning_logs").mkdir()
    with pytest.raises(ValueError, match="no finished run in lightning_logs: train first"):
        main([])
    make_run("simclr_pretrain", task="pretrain", root="lightning_logs")
    with pytest.raises(ValueError, match="only pretraining"):
        main([])
    make_run(root="lightning_logs")
    assert main([]) == 0 and "CNN" in capsys.readouterr().out


def test_help_has_types_and_defaults(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert caught.value.code == 0
    assert "default: lightning_logs" in text and "terminal|markdown|csv|latex|json" in text and text.count("type:") > 9


def vitlab(*argv, **env):
    command = [sys.executable, "-m", "vitlab", "compare", *map(str, argv)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | env, encoding="utf-8")


def test_the_verb_by_the_shell(logs, make_run):
    done = vitlab(logs, "--format", "json")
    assert done.returncode == 0 and json.loads(done.stdout)["rows"][0]["test"]["accuracy"]["mean"] == pytest.approx(0.8)
    wrong = vitlab("--formt", "json", logs)
    assert wrong.returncode == 2 and wrong.stdout == ""
    assert wrong.stderr == "vitlab compare: unknown option --formt, did you mean --format?\n"
    (make_run("vit") / "results.json").write_text('{"approach": "v')
    corrupt = vitlab(logs)
    assert corrupt.returncode == 2 and "results.json" in corrupt.stderr and corrupt.stderr.count("\n") == 1


def test_a_terminal_without_unicode_gets_escapes(make_run, tmp_path):
    make_run("größe")
    done = vitlab(tmp_path / "logs", PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and r"gr\xf6\xdfe" in done.stdout


def test_a_hundred_runs_are_read_at_once(make_run, tmp_path):
    for seed in range(25):
        for approach in ("cnn", "cnn_simclr", "vit", "vit_mae"):
            make_run(approach, seed)
    start = time.perf_counter()
    assert vitlab(tmp_path / "logs", "--resamples", "0").returncode == 0
    assert time.perf_counter() - start < 3  # 0.3 s on a quiet machine


def test_intervals_of_twenty_runs_take_seconds():
    """Processor seconds, 3.4 on a quiet machine: others on it do not count."""
    before = os.times().children_user
    done = vitlab(PUBLISHED / "cheng", "--format", "json", OMP_NUM_THREADS="1")
    assert done.returncode == 0 and len(json.loads(done.stdout)["pairs"]) == 36
    assert os.times().children_user - before < 14


def test_a_help_text_needs_no_statistics():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "vitlab", "compare", "--help"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not {"torch", "lightning", "scipy", "sklearn", "pandas"} & loaded


def test_the_table_goes_between_the_marks_of_a_page(make_run, tmp_path):
    make_run("cnn")
    page = tmp_path / "README.md"
    page.write_text("# Title\n<!-- demo -->\nold figures\n<!-- /demo -->\nThe end.\n")
    assert main([str(tmp_path / "logs"), "--into", str(page), "--mark", "demo"]) == 0
    text = page.read_text()
    assert text.startswith("# Title\n<!-- demo -->\n") and text.endswith("<!-- /demo -->\nThe end.\n")
    assert "old figures" not in text and "| CNN" in text
    with pytest.raises(ValueError, match="has no lines <!-- other -->"):
        main([str(tmp_path / "logs"), "--into", str(page), "--mark", "other"])


def test_groups_of_a_column_are_scored_in_every_format(make_scored, tmp_path, capsys):
    """Ten patients of each hospital; the CNN is right about 9 of those of MR and 5 of the others."""
    right = [i < 9 for i in range(10)] + [i < 5 for i in range(10)]
    folder = make_scored(per_patient=2, test=[0.9 if right[i // 2] else 0.2 for i in range(40)])
    text = (folder / "predictions.csv").read_text()
    for number in range(20):
        text = text.replace(f",test{number},", f",{'MR' if number < 10 else ''}{number},")
    (folder / "predictions.csv").write_text(text)
    logs = tmp_path / "logs"
    record = json.loads(compare(capsys, logs, "--by", "patient_prefix", "--format", "json"))
    groups = {score["group"]: score for score in record["tables"][0]["groups"]}
    assert {name: score["accuracy"]["mean"] for name, score in groups.items()} == {"(no letters)": 0.5, "MR": 0.9}
    assert groups["MR"]["accuracy"]["n_patients"] == 10 and groups["MR"]["accuracy"]["n_images"] == 20
    # classes take turns: patient 9, who is missed, is of class b
    assert {name: stat["mean"] for name, stat in groups["MR"]["sensitivity"].items()} == {"a": 1.0, "b": 0.8}
    assert groups["MR"]["accuracy"]["low"] < 0.9 < groups["MR"]["accuracy"]["high"]
    assert re.search(r"^MR +CNN +20 +10 +0\.900 \[", compare(capsys, logs, "--by", "patient_prefix"), re.M)
    markdown = compare(capsys, logs, "--by", "patient_prefix", "--format", "markdown")
    assert "\n| MR | CNN | 20 | 10 | 0.900 [" in markdown and "\n|---|---|---:|" in markdown
    assert "\nMR & CNN & 20 & 10 & 0.900" in compare(capsys, logs, "--by", "patient_prefix", "--format", "latex")
    assert json.loads(compare(capsys, logs, "--format", "json"))["tables"][0]["groups"] == []
    for by, message in (("hospital", "no column 'hospital' parts the test images of phantom"),
                        ("patient_prefx", "did you mean patient_prefix?")):  # fmt: skip
        with pytest.raises(ValueError, match=re.escape(message)):
            main([str(logs), "--by", by])
    with pytest.raises(ValueError, match="--by needs resamples"):
        main([str(logs), "--by", "patient_prefix", "--resamples", "0"])


def test_a_class_that_one_fold_has_none_of_in_a_group_is_scored_on_the_others(make_scored, tmp_path, capsys):
    """In the first fold MR has patients of both classes, in the second of class b alone."""
    for fold in (1, 2):
        folder = make_scored(fold=fold, first=40 * (fold - 1), test=[0.9] * 15 + [0.2] * 5)
        text = (folder / "predictions.csv").read_text()
        for number in range(20):
            if number % 2 or fold == 1:
                text = text.replace(f",test{40 * (fold - 1) + number},", f",MR{40 * (fold - 1) + number},")
        (folder / "predictions.csv").write_text(text)
    record = json.loads(compare(capsys, tmp_path / "logs", "--by", "patient_prefix", "--format", "json"))
    groups = {score["group"]: score["sensitivity"] for score in record["tables"][0]["groups"]}
    assert (groups["MR"]["a"]["mean"], groups["MR"]["a"]["n_runs"]) == (0.8, 1)
    assert (groups["MR"]["b"]["mean"], groups["MR"]["b"]["n_runs"]) == (0.7, 2)
    assert groups["test"]["b"]["mean"] is None  # nobody has any
