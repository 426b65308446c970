"""TarShards: samples by WebDataset's convention; strangers' tars are read without unpacking, following or waiting."""

import gzip
import io
import json
import struct
import tarfile
import warnings

import numpy as np
import pytest
from PIL import Image

from tests.fuzz.outcome import limited
from vitlab.cli import main
from vitlab.data.sources import TarShards, tar_index


def picture(value, size=(12, 10)):
    file = io.BytesIO()
    Image.new("L", size, value).save(file, "PNG")
    return file.getvalue()


def write_tar(path, members, form=tarfile.PAX_FORMAT):
    """Write a tar of (name, bytes), or (name, TarInfo settings) for members that are no files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            if isinstance(data, dict):
                for key, value in data.items():
                    setattr(info, key, value)
                tar.addfile(info)
            else:
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def sample(key, value, **texts):
    return [(f"{key}.png", picture(value)), *((f"{key}.{end}", text.encode()) for end, text in texts.items())]


@pytest.fixture
def shards(tmp_path):
    """Return a folder of three shards: labels in .cls, in JSON with all fields, and in .txt."""
    root = tmp_path / "shards"
    first = sample("a/1", 10, cls="2") + sample("a/2", 20, cls="10\n") + sample("./b/1", 30, cls="2")
    write_tar(root / "train-000.tar", first)
    facts = {"label": 10, "patient_id": "P1", "split": "validation", "mask_path": "x.mask.png", "fold": 3, "age": 40}
    write_tar(
        root / "more" / "test-000.tar",
        [*sample("x", 40, json=json.dumps(facts)), ("x.mask.png", picture(255)), *sample("y", 50, txt="2")],
    )
    return root


def test_samples_become_rows_in_order(shards, cached):
    source = TarShards(str(shards))
    manifest = source.manifest()
    manifest.check()
    assert manifest.path.tolist() == [
        "more/test-000.tar#x.png", "more/test-000.tar#y.png", "train-000.tar#a/1.png", "train-000.tar#a/2.png",
        "train-000.tar#b/1.png",
    ]  # fmt: skip
    assert manifest.label.tolist() == ["10", "2", "2", "10", "2"] and manifest.patient_id[0] == "P1"
    assert manifest.split.tolist() == ["val", "test", "train", "train", "train"] and source.name == "shards"
    assert manifest.column("fold").tolist() == ["3", "", "", "", ""]
    assert manifest.mask_path.tolist() == ["more/test-000.tar#x.mask.png", "", "", "", ""]
    assert cached(source).images[:, 0, 4, 4].tolist() == [40, 50, 10, 20, 30]
    assert source.read_mask(manifest.mask_path[0]).shape == (10, 12)
    source.close()
    assert np.asarray(TarShards(str(shards)).decode("train-000.tar#b/1.png")).max() == 30  # without the manifest


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_in_every_format(form, tmp_path, cached):
    name = "/".join(["folder" * 10] * 2) + "/" + "k" * 50
    write_tar(tmp_path / "x.tar", sample(name, 7, cls="a") + sample("z", 8, cls="b"), form)
    source = TarShards(str(tmp_path))
    assert source.manifest().path.tolist() == [f"x.tar#{name}.png", "x.tar#z.png"]
    assert cached(source).images[:, 0, 4, 4].tolist() == [7, 8]


def test_headers_are_read_once_until_the_file_changes(shards, monkeypatch):
    before = TarShards(str(shards)).manifest()
    scanned = []
    scan = tar_index._scan
    monkeypatch.setattr(tar_index, "_scan", lambda file, *rest: scanned.append(file.name) or scan(file, *rest))
    assert TarShards(str(shards)).manifest().sha256 == before.sha256 and scanned == []
    assert TarShards(str(shards), fields={"label": "age"}).manifest().label[0] == "40" and len(scanned) == 2
    scanned.clear()
    TarShards(str(shards)).manifest()
    scanned.clear()
    write_tar(shards / "train-000.tar", sample("new", 1, cls="2"))
    assert len(TarShards(str(shards)).manifest()) == 3 and scanned == ["train-000.tar"]


def test_patterns(shards):
    def paths(pattern):
        return [path.partition("#")[0] for path in TarShards(str(shards), pattern).manifest().path]

    assert set(paths("*.tar")) == {"train-000.tar"} and set(paths("more/*.tar")) == {"more/test-000.tar"}
    assert set(paths("{train,more/test}-{000..000}.tar")) == {"train-000.tar", "more/test-000.tar"}
    write_tar(shards / "train-010.tar", sample("n", 1, cls="2"))
    assert set(paths("train-0{0,1}0.tar")) == {"train-000.tar", "train-010.tar"}
    for wrong, error in {
        "train-{000..002}.tar": "there is no .*train-001.tar", "none-*.tar": "has no files",
        "{train,tets}-*.tar": r"has no files tets-\*\.tar", "../*.tar": "leaves",
        "/tmp/*.tar": "leaves", "{0..9999999}{0..99}.tar": "over 1,000,000",
        "more": "is not a file",
    }.items():  # fmt: skip
        with pytest.raises((ValueError, FileNotFoundError), match=error):
            paths(wrong)
    with pytest.raises(ValueError, match="give keys for some of label"):
        TarShards(str(shards), fields={"lable": "x"})


def test_several_images_a_sample(tmp_path):
    members = [("1.left.png", picture(1)), ("1.right.png", picture(2)), ("1.cls", b"a")]
    write_tar(tmp_path / "x.tar", members)
    with pytest.raises(ValueError, match=r"several images of '1' \(left.png, right.png\): say by data.source.image"):
        TarShards(str(tmp_path)).manifest()
    assert TarShards(str(tmp_path), image="right.png").manifest().path.tolist() == ["x.tar#1.right.png"]


def test_what_is_no_sample_is_left_out_and_said(tmp_path, cached):
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture(99))
    members = [
        *sample("good", 5, cls="a"), *sample("../secret", 6, cls="b"), *sample("/etc/x", 6, cls="b"), *sample("a#b", 1),
        ("link.png", {"type": tarfile.SYMTYPE, "linkname": str(secret)}), ("link.cls", b"b"),
        ("hard.png", {"type": tarfile.LNKTYPE, "linkname": "good.png"}), ("pipe.png", {"type": tarfile.FIFOTYPE}),
        ("device.png", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5}), ("README", b"hello"),
        ("run.pyd", b"cposix\nsystem\n(S'touch ran'\ntR."), ("folder", {"type": tarfile.DIRTYPE}),
    ]  # fmt: skip
    write_tar(tmp_path / "given" / "x.tar", members)
    source = TarShards(str(tmp_path / "given"))
    with pytest.warns(UserWarning, match=r"12 members that are no part of an image's sample"):
        manifest = source.manifest()
    assert manifest.path.tolist() == ["x.tar#good.png"]
    with pytest.raises(KeyError):
        source.decode("x.tar#../secret.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given", "secret.png"]


def test_labels_that_cannot_be_read_are_missing(tmp_path):
    deep, long = "[" * 50_000, "x" * 70_000
    members = sample("1", 1, cls="a") + sample("2", 1, json=deep) + sample("3", 1, cls=long) + sample("4", 1, json="[]")
    members += [*sample("5", 1, json='{"label": {"a": 1}}'), ("6.png", picture(1)), ("6.cls", b"\xff\xfe")]
    members += sample("7", 1, json='{"label": "b", "mask_path": "../../1.png"}') + sample("8", 1)
    write_tar(tmp_path / "x.tar", members)
    with pytest.warns(UserWarning, match=r"6 labels or JSON files cannot be read"):
        manifest = TarShards(str(tmp_path)).manifest()
    assert manifest.label.tolist() == ["a", "", "", "", "", "", "b", ""] and not any(manifest.mask_path)


def test_numbers_of_patients_and_labels_may_be_written_as_pandas_does(tmp_path):
    texts = ['{"label": 12.0, "patient_id": 7.0, "fold": 3}', '{"label": 12, "patient_id": 7, "fold": null}']
    write_tar(tmp_path / "x.tar", [member for key, text in enumerate(texts) for member in sample(key, 1, json=text)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        manifest = TarShards(str(tmp_path)).manifest()
    assert manifest.label.tolist() == ["12", "12"] and manifest.patient_id.tolist() == ["7", "7"]


@pytest.mark.parametrize("value", ["0.5", "NaN", "Infinity", "[7]", '{"id": 7}', r'"P\ud800"'])
def test_a_patient_that_is_no_text_and_no_whole_number_is_said(value, tmp_path):
    known = sample("1", 1, json='{"label": "a", "patient_id": "P1"}')
    write_tar(tmp_path / "x.tar", known + sample("2", 1, json=f'{{"label": "b", "patient_id": {value}}}'))
    with pytest.warns(UserWarning, match=r"1 labels or JSON files cannot be read, .* 'x.tar#2.json'"):
        manifest = TarShards(str(tmp_path)).manifest()
    assert manifest.label.tolist() == ["a", "b"] and manifest.patient_id.tolist() == ["P1", ""]
    manifest.write(tmp_path / "manifest.csv")


@pytest.mark.parametrize("value", ['""', '" "', "null", r'"\ud800"'])
def test_a_label_that_the_json_file_leaves_empty_is_that_of_cls(value, tmp_path):
    write_tar(tmp_path / "x.tar", sample("1", 1, cls="a", json=f'{{"label": {value}}}'))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert TarShards(str(tmp_path)).manifest().label.tolist() == ["a"]
    assert len(seen) == ("ud800" in value)


def test_a_key_that_no_json_file_has_is_one_line(shards):
    for _ in range(2):  # the second time from the cache folder
        with pytest.raises(ValueError, match=r"'subjct' of patient_id \(they have 'age', 'fold', .* correct data"):
            TarShards(str(shards), fields={"patient_id": "subjct"}).manifest()
    with pytest.raises(ValueError, match=r"'diagnosi' of label"):
        TarShards(str(shards), fields={"label": "diagnosi"}).manifest()
    with pytest.raises(ValueError, match=r"'subject' of patient_id \(there are none"):
        TarShards(str(shards), "train-*.tar", fields={"patient_id": "subject"}).manifest()
    write_tar(shards / "new.tar", sample("1", 1, json='{"subject": null}'))
    with pytest.warns(UserWarning, match="no JSON file .* has the key 'diagnosis' of label .they have 'subject'"):
        TarShards(str(shards), "new.tar", fields={"label": "diagnosis", "patient_id": "subject"}).manifest()


def refused(path):
    with limited(), warnings.catch_warnings(), pytest.raises(ValueError) as error:
        warnings.simplefilter("ignore")
        TarShards(str(path.parent), path.name).manifest()
    line = str(error.value)
    assert "\n" not in line and str(path) in line
    return line


def header(name, size, kind=b"0"):
    """Return a header with a sound checksum; a size below 0 as GNU writes it, in base 256."""
    text = f"{size:011o}\0".encode() if size >= 0 else b"\xff" * 4 + struct.pack(">q", size)
    block = bytearray(512)
    block[0 : len(name)], block[124:136], block[156:157], block[257:265] = name, text, kind, b"ustar  \0"
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def pax(*records):
    text = b"".join(record for record in records)
    return header(b"pax", len(text), b"x") + text + bytes(-len(text) % 512)


def test_damaged_tars_are_one_line(tmp_path):
    sound = write_tar(tmp_path / "sound.tar", sample("1", 1, cls="a") + sample("2", 2, cls="b")).read_bytes()
    path = tmp_path / "x.tar"
    tail = sound[1024:]
    for data, why in {
        b"": "empty file", b"no tar" * 200: "truncated|bad|invalid", gzip.compress(sound): "compressed",
        sound[:600]: "unexpected end", sound[:1024] + b"\1" * 512 + tail[512:]: "damaged at byte 1024",
        header(b"1.png", -512) + tail: "claims too much", header(b"1.png", 2**32) + tail: "ends within|unexpected end",
        header(b"long", 2**30, b"L") + tail: "claims too much", header(b"1.png", 512, b"S") + tail: "sparse",
        pax(b"15 size=-10240\n") + header(b"1.png", 512) + tail: "claims too much",
        pax(b"22 GNU.sparse.major=1\n", b"22 GNU.sparse.minor=0\n") + header(b"1.png", 512): "sparse",
        pax(b"9" * 5000 + b" a=b\n") + header(b"1.png", 0): "",
        pax(b"9 a=b\n") * 2000 + header(b"1.png", 0): "",
        sound: None,
    }.items():  # fmt: skip
        path.write_bytes(data)
        if why is None:
            assert len(TarShards(str(tmp_path), "x.tar").manifest()) == 2
            continue
        line = refused(path)
        assert any(part in line for part in why.split("|")), (why, line)


def test_a_tar_that_was_cut_or_goes_on_behind_its_end_is_one_line(tmp_path):
    sound = write_tar(tmp_path / "sound.tar", sample("1", 1, cls="a") + sample("2", 2, cls="b")).read_bytes()
    path, end = tmp_path / "x.tar", 4 * 1024  # of four members, each a header and a block
    for data in sound[: end + 1024], sound + bytes(2**20 + 5):
        path.write_bytes(data)
        assert len(TarShards(str(tmp_path), "x.tar").manifest()) == 2
    for data, why in {
        sound[: end // 2]: "was cut", sound[:end]: "was cut", sound[: end + 512]: "was cut",
        sound * 2: f"more follows its end at byte {end}", sound + bytes(2**21) + b"1": "more follows its end",
    }.items():  # fmt: skip
        path.write_bytes(data)
        assert why in refused(path)


@pytest.mark.parametrize("again", ["1.cls", "./1.cls", "1.png"])
def test_a_name_that_comes_twice_is_one_line(again, tmp_path):
    path = write_tar(tmp_path / "x.tar", [*sample("1", 1, cls="a"), *sample("2", 1, cls="b"), (again, b"b")])
    assert f"it holds {again.removeprefix('./')!r} twice" in refused(path)


def test_a_picture_that_claims_too_much_is_listed(tmp_path, cached, monkeypatch):
    bomb = picture(1)
    bomb = bomb[:16] + struct.pack(">II", 100_000, 100_000) + bomb[24:]
    write_tar(tmp_path / "x.tar", [("1.png", bomb), ("1.cls", b"a"), *sample("2", 2, cls="b"), ("3.png", b"none")])
    source = TarShards(str(tmp_path))
    with pytest.warns(UserWarning, match=r"2 of 3 images .* left out: x.tar#1.png .* x.tar#3.png \(not an image"):
        cached(source, on_error="skip")
    monkeypatch.setattr(tar_index, "_PICTURE", 10)
    with pytest.raises(ValueError, match="images up to"):
        source.decode("x.tar#2.png")


def test_fit_on_shards_through_the_command(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for split, count in {"train": 3, "val": 1, "test": 1}.items():
        for shard in range(count):
            members = []
            for number in range(12):
                label, patient = "ab"[number % 2], f"{split}{shard}-{number // 4}"
                pixels = rng.normal(60 + 100 * (label == "b"), 20, (20, 20)).clip(0, 255).astype(np.uint8)
                file = io.BytesIO()
                Image.fromarray(pixels).save(file, "JPEG")
                facts = json.dumps({"label": label, "subject": patient}).encode()
                members += [(f"{number:03d}.jpg", file.getvalue()), (f"{number:03d}.json", facts)]
            write_tar(tmp_path / "data" / f"{split}-{shard:06d}.tar", members)
    args = [
        "fit", "--config", "configs/cnn.yaml", "--data.source=TarShards", f"--data.source.root={tmp_path}/data",
        "--data.source.shards={train,val,test}-*.tar", "--data.source.fields={patient_id: subject}",
        "--trainer.max_epochs=2", "--trainer.accelerator=cpu", "--data.batch_size=8", "--data.image_size=16",
        "--model.backbone_kwargs={channels: [4, 4, 4, 4]}", f"--run.root={tmp_path}/runs",
    ]  # fmt: skip
    assert main(args) == 0, capsys.readouterr().err
    (results,) = (tmp_path / "runs").rglob("results.json")
    found = json.loads(results.read_text())
    assert found["classes"] == ["a", "b"] and set(found["metrics"]) == {"train", "val", "test"}
    lines = (results.parent / "predictions.csv").read_text().splitlines()
    assert len(lines) == 61 and "train-000000.tar#000.jpg" in lines[1] and "train0-0" in lines[1]
    facts = json.dumps({"subject": "P9"}).encode()
    write_tar(tmp_path / "new" / "x.tar", [("1.png", picture(60)), ("1.json", facts), ("2.png", picture(160))])
    run = results.parent
    predict = ["predict", "--config", str(run / "config.yaml"), f"--ckpt_path={run}/checkpoints/best.ckpt"]
    new = [f"--data.source.root={tmp_path}/new", "--data.source.shards=x.tar", "--run.study=new"]
    assert main([*predict, *new]) == 0, capsys.readouterr().err
    (predicted,) = (tmp_path / "runs" / "new").rglob("predictions.csv")
    assert len(predicted.read_text().splitlines()) == 3
    (tmp_path / "data" / "val-000000.tar").write_bytes(b"no tar" * 200)
    assert main([*args, "--run.overwrite=true"]) == 2
    assert "val-000000.tar is no tar file, or damaged" in capsys.readouterr().err


def test_a_key_that_is_nowhere_says_which_files_cannot_be_read_and_how_to_go_without(tmp_path):
    broken = b'{"label": glio'
    write_tar(tmp_path / "x.tar", [("1.png", picture(60)), ("1.json", broken), ("2.png", picture(90))])
    source = TarShards(str(tmp_path), fields={"label": "diagnosis", "patient_id": "subject"})
    with pytest.warns(UserWarning, match="'diagnosis' of label"), pytest.raises(ValueError) as caught:
        source.manifest()
    line = str(caught.value)
    assert "of patient_id (there are none" in line and "1 cannot be read, e.g. 'x.tar#1.json')" in line
    flag = "--data.source.fields="
    assert line.endswith(f"or go without by {flag}'{json.dumps({'label': 'diagnosis'})}'")
    with pytest.warns(UserWarning):
        assert len(TarShards(str(tmp_path), fields=json.loads(line.split(flag)[1].strip("'"))).manifest()) == 2
