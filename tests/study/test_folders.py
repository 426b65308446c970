"""A job.json that no study has written: one of the study's own is named, one of another study is passed by."""

import pytest

ODD = ["{}", "[]", '"words"', "null", '{"key": 1}', '{"key": "a", "settings": []}', "{", "[" * 100_000]


def odd_record(folder, content):
    """Write a finished run with a job.json of such content, and return its path."""
    folder.mkdir(parents=True)
    (folder / "results.json").write_text("{}")
    (folder / "job.json").write_text(content)
    return folder / "job.json"


@pytest.mark.parametrize("content", ODD, ids=range(len(ODD)))
def test_a_record_that_no_study_has_written_is_named_in_one_line(study, capsys, content):
    path = odd_record(study.root / "tiny" / "cnn" / "seed0", content)
    assert study.run() == 2
    err = capsys.readouterr().err
    assert err.startswith(f"vitlab study: {path} is not ") and err.endswith(": delete the folder and go on\n")
    assert err.count("\n") == 1 and not (study.root / "tiny" / "study.yaml").exists()


def test_such_records_of_other_studies_are_passed_by(study, capsys):
    for number, content in enumerate(ODD):
        odd_record(study.root / "other" / f"seed{number}", content)
    odd_record(study.root / "other" / "folder", "").unlink()
    (study.root / "other" / "folder" / "job.json").mkdir()
    assert study.run("--dry_run") == 0
    assert "1 runs, 0 done, 1 to do" in capsys.readouterr().out
