import time

import numpy as np
import pytest

from vitlab.evaluate.metrics import compute_metrics
from vitlab.evaluate.predictions import COLUMNS, Predictions, read_predictions, write_predictions

CLASSES = ["glioma", "no, tumour", '=cmd|"x"']


def example(n=9, dtype=np.float32, seed=0, classes=CLASSES):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(len(classes), 0.1), n).astype(dtype)
    paths = [f'a b/ü,{i}\n"quoted".png' for i in range(n - 1)] + ["not-utf8-\udcff.png"]
    return {
        "classes": classes,
        "probs": probs,
        "label": np.array(classes)[rng.integers(len(classes), size=n)],
        "index": rng.permutation(n),
        "split": np.array(["train", "val", "test"])[np.arange(n) % 3],
        "path_column": paths,
        "patient_id": ["", *[f"p{i}" for i in range(1, n)]],
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_written_is_read(tmp_path, dtype):
    table = example(dtype=dtype)
    write_predictions(tmp_path / "predictions.csv", **table)
    read = read_predictions(tmp_path / "predictions.csv")
    assert read.classes == CLASSES and list(read.path) == table["path_column"]
    assert np.array_equal(read.probs.astype(dtype), table["probs"])
    for name in ("label", "index", "split", "patient_id"):
        assert list(getattr(read, name)) == list(table[name])
    assert [CLASSES[target] for target in read.targets] == list(table["label"])
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.csv"]


def test_the_header_is_the_contract(tmp_path):
    write_predictions(tmp_path / "p.csv", **example(3, classes=["a", "b"]))
    assert (tmp_path / "p.csv").read_bytes().startswith(b"split,index,path,patient_id,label,prob_a,prob_b\n")


def test_metrics_survive_the_file(tmp_path):
    table = example(300)
    write_predictions(tmp_path / "p.csv", **table)
    read = read_predictions(tmp_path / "p.csv")
    before = compute_metrics(table["probs"], [CLASSES.index(label) for label in table["label"]])
    assert compute_metrics(read.probs, read.targets) == pytest.approx(before, abs=1e-7)


def test_where_takes_a_split_and_unlabelled_images_are_minus_one():
    table = example()
    table["label"] = np.where(np.arange(9) == 0, "", table["label"])
    table["path"] = table.pop("path_column")
    predictions = Predictions(**table)
    test = predictions.where(predictions.split == "test")
    assert len(test) == 3 and set(test.split) == {"test"} and np.array_equal(test.probs, table["probs"][2::3])
    assert predictions.targets[0] == -1


def test_a_failed_write_leaves_the_old_file(tmp_path):
    write_predictions(tmp_path / "p.csv", **example())
    before = (tmp_path / "p.csv").read_bytes()
    table = example(seed=1)
    table["probs"][4] = np.nan
    with pytest.raises(ValueError, match="row 5: probabilities nan"):
        write_predictions(tmp_path / "p.csv", **table)
    assert (tmp_path / "p.csv").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


HEADER = "split,index,path,patient_id,label,prob_a,prob_b\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "'split' is missing"),
        (HEADER, "there are no predictions"),
        ("split,index,path,patient_id,label\ntest,0,x,,a\n", "there is no prob_<class> column"),
        ("split,index,path,patient_id,label,prob_a,prob_a\ntest,0,x,,a,1,0\n", "a column stands there twice"),
        (HEADER + "test,0,x,,a,1,0\ntest,1,x\n", "row 2 has 3 cells where the header has 7"),
        (HEADER + "test,0,x,,a,one,0\n", "could not convert string to float: 'one'"),
        (HEADER + "test,0.5,x,,a,1,0\n", "'0.5'"),
        (HEADER + "tset,0,x,,a,1,0\n", "row 1: split is 'tset', not one of 'train', 'val', 'test'"),
        (HEADER + "test,0,x,,0,1,0\n", "row 1: label is '0', not one of 'a', 'b'"),
        (HEADER + "test,3,x,,a,1,0\nval,3,y,,a,1,0\n", "index 3 is negative or there twice"),
        (HEADER + "test,-1,x,,a,1,0\n", "index -1"),
        (HEADER + f"test,{10**30},x,,a,1,0\n", "is not a predictions file"),
        (HEADER + "test,0,x,,a,0.5,0.5\ntest,1,x,,a,2.1,-1.1\n", "row 2: probabilities 2.1, -1.1"),
        (HEADER + "test,0,x,,a,0.3,0.3\n", "row 1: probabilities 0.3, 0.3 are not between 0 and 1 with sum 1"),
        (HEADER + "test,0,x,,a,nan,0.3\n", "row 1: probabilities nan"),
        (HEADER + 'test,0,"x,,a,1,0\n' + "y" * 200_000, "is not a predictions file"),
    ],
)
def test_a_wrong_file_is_named_in_one_line(tmp_path, text, reason):
    (tmp_path / "wrong.csv").write_text(text)
    with pytest.raises(ValueError, match=r"wrong\.csv") as caught:
        read_predictions(tmp_path / "wrong.csv")
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no predictions at .*predictions\.csv"):
        read_predictions(tmp_path / "predictions.csv")


def test_a_hundred_thousand_images_take_seconds(tmp_path):
    table = example(100_000, classes=["a", "b", "c", "d"])
    start = time.process_time()
    write_predictions(tmp_path / "p.csv", **table)
    assert len(read_predictions(tmp_path / "p.csv")) == 100_000
    assert time.process_time() - start < 10  # 1 s on a quiet machine


def plain(seed=0):
    """Names without commas, quotes or line ends, as most are."""
    table = example(seed=seed, dtype=np.float64, classes=["glioma", "ü", "c"])
    return table | {"path_column": [f"{i} ü.png" for i in range(8)] + ["not-utf8-\udcff.png"]}


def test_files_of_the_same_images_share_their_columns_and_no_others_do(tmp_path):
    """Names are read and checked once; a file that differs by one of them, or by a class, has its own."""
    table = plain()
    changes = [{"probs": plain(seed=1)["probs"]}, {"path_column": ["other.png", *table["path_column"][1:]]}]
    renamed = {"classes": [f"{name}x" for name in table["classes"]], "label": [f"{name}x" for name in table["label"]]}
    found = []
    for number, change in enumerate([{}, *changes, renamed]):
        write_predictions(tmp_path / f"{number}.csv", **table | change)
        found.append(read_predictions(tmp_path / f"{number}.csv"))
        assert np.array_equal(found[-1].probs, (table | change)["probs"])
        assert found[-1].path.tolist() == list((table | change)["path_column"])
        assert found[-1].classes == (table | change)["classes"]
    first, same, other, another = found
    assert first.path is same.path and not {id(other.path), id(another.path)} & {id(first.path)}
    with pytest.raises(ValueError, match="read-only"):
        first.label[0] = "a"


def test_probabilities_are_checked_in_every_file_of_the_same_images(tmp_path):
    write_predictions(tmp_path / "p.csv", **plain())
    read_predictions(tmp_path / "p.csv")
    lines = (tmp_path / "p.csv").read_text("utf-8", "surrogateescape").splitlines()
    lines[2] = ",".join([*lines[2].split(",")[:5], *["0.9"] * (lines[2].count(",") - 4)])
    (tmp_path / "p.csv").write_text("\n".join(lines) + "\n", "utf-8", "surrogateescape")
    with pytest.raises(ValueError, match=r"row 2: probabilities 0\.9, 0\.9"):
        read_predictions(tmp_path / "p.csv")


@pytest.mark.parametrize("order", ["probabilities first", "quoted", "no line end"])
def test_a_file_of_another_form_is_read_the_same(tmp_path, order):
    write_predictions(tmp_path / "p.csv", **plain())
    expected = read_predictions(tmp_path / "p.csv")
    rows = [line.split(",") for line in (tmp_path / "p.csv").read_text("utf-8", "surrogateescape").splitlines()]
    if order == "probabilities first":
        rows = [[*row[5:], *row[:5]] for row in rows]
    elif order == "quoted":
        rows = [[f'"{cell}"' for cell in row] for row in rows]
    text = "\n".join(map(",".join, rows)) + "\n" * (order != "no line end")
    (tmp_path / "p.csv").write_text(text, "utf-8", "surrogateescape")
    found = read_predictions(tmp_path / "p.csv")
    assert all(np.array_equal(getattr(found, n), getattr(expected, n)) for n in (*COLUMNS, "probs"))
