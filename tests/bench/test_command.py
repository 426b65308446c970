import json
import subprocess
import sys

import pytest

from vitlab.cli import main


@pytest.fixture(scope="module")
def done(tmp_path_factory, image_folder):
    """Run the command on the discs and return its folder and the page it wrote into."""
    out = tmp_path_factory.mktemp("bench")
    page = out / "page.md"
    page.write_text("# Page\n\n<!-- bench -->\n<!-- /bench -->\n\nafter\n")
    config = out / "data.yaml"
    source = f"{{class_path: ImageFolder, init_args: {{root: {image_folder}}}}}"
    config.write_text(f"data:\n  name: discs\n  source: {source}\n")
    args = ["--rows", "pipeline-supervised-32,step-mae-32", "--size", "32", "--repeats", "3", "--steps", "1"]
    args += ["--images", "16", "--seconds", "0.01", "--config", str(config), "--out", str(out / "found")]
    assert main(["bench", *args, "--into", str(page)]) == 0
    return out / "found", page


def test_every_sample_is_in_the_json(done):
    found = json.loads((done[0] / "bench.json").read_text())
    assert [row["name"] for row in found["rows"]] == ["pipeline-supervised-32", "step-mae-32"]
    assert found["threads"] == 1 and found["data"] == "discs" and found["images"] == 16 and found["versions"]["torch"]
    for row in found["rows"]:
        assert len(row["samples"]) == 3
        for sample in row["samples"]:
            each = {side: sample[side]["amount"] / sample[side]["count"] for side in ("ours", "plain")}
            assert sample["ratio"] == pytest.approx(each["plain"] / each["ours"])


def test_the_table_says_what_the_json_says(done):
    found, page = json.loads((done[0] / "bench.json").read_text()), (done[0] / "bench.md").read_text()
    lines = [line for line in page.splitlines() if line.startswith("| ")][1:]
    assert len(lines) == len(found["rows"])
    for line, row in zip(lines, found["rows"], strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[0] == row["name"] and cells[6] == row["against"]
        assert float(cells[1].split()[0].replace(",", "")) == pytest.approx(row["ours"]["median"], rel=0.05)
        assert cells[3] == f"{row['ratio']['median']:.2f} [{row['ratio']['low']:.2f}, {row['ratio']['high']:.2f}]"
        assert cells[5] == {None: "-", True: "yes", False: "**no**"}[row["reached"]]
    assert page in done[1].read_text() and done[1].read_text().endswith("<!-- /bench -->\n\nafter\n")


def test_what_is_measured_is_kept_when_a_row_fails(done, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("no")

    monkeypatch.setattr("vitlab.bench.steps.Step.__init__", fails)
    args = ["--rows", "pipeline-supervised-32,step-mae-32", "--size", "32", "--repeats", "3", "--images", "16"]
    args += ["--seconds", "0.01", "--config", str(done[0].parent / "data.yaml"), "--out", str(tmp_path / "out")]
    with pytest.raises(RuntimeError, match="no"):
        main(["bench", *args])
    found = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert [row["name"] for row in found["rows"]] == ["pipeline-supervised-32"]


@pytest.mark.parametrize("text", ["", "[]", '{"rows": [{}]}', '{"rows": 3}'])
def test_a_file_that_is_no_record_is_named(text, tmp_path, capsys):
    (tmp_path / "bench.json").write_text(text)
    assert main(["bench", "--findings", str(tmp_path)]) == 2
    told = capsys.readouterr().err.strip()
    assert told.endswith("is no record of a bench: give the folder that --out named") and len(told.splitlines()) == 1


def test_a_page_is_made_from_what_was_measured_before(done, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("<!-- mine -->\n<!-- /mine -->\n")
    assert main(["bench", "--findings", str(done[0]), "--into", str(page), "--mark", "mine"]) == 0
    table = (done[0] / "bench.md").read_text()
    assert table in capsys.readouterr().out and page.read_text() == f"<!-- mine -->\n{table}<!-- /mine -->\n"


def test_the_picture_names_every_row(done):
    picture = (done[0] / "bench.svg").read_text()
    assert picture.lstrip().startswith("<?xml") and "step-mae-32" in picture and "pipeline-supervised-32" in picture


@pytest.mark.parametrize(("args", "line"), [
    (["--rows", "nothing"], "there is no row nothing"),
    (["--repeats", "1"], "--repeats is 1; give at least 3"),
    (["--size", "60"], "give multiples of 16"),
    (["--device", "cuda"], "use --device cpu"),
    (["--into", "nowhere.md"], "there is no page nowhere.md"),
    (["--config", "configs/cnn.yaml"], "bench takes the data alone"),
    (["--repeat", "5"], "did you mean repeats"),
    (["--findings", "nowhere"], "is no record of a bench"),
])  # fmt: skip
def test_mistakes_are_one_line(args, line, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert main(["bench", *args, "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err.strip()
    assert line in told and len(told.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_wrong_name_of_a_row_is_told_before_torch_is_imported():
    code = "import sys; from vitlab.cli import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    command = [sys.executable, "-c", code, "bench", "--rows", "nothing"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["2", "False"]
