"""Where a source looks for its folder."""

import pytest

from vitlab.data.sources import resolve_root


def line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def test_root_is_sought_in_vitlab_data_then_here(tmp_path, monkeypatch):
    data, here = tmp_path / "data", tmp_path / "here"
    for folder in (data / "both", here / "both", here / "local"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("VITLAB_DATA", str(data))
    assert resolve_root("both") == data / "both"
    assert resolve_root("local") == here / "local"
    assert resolve_root(data) == data
    with pytest.raises(FileNotFoundError) as error:
        resolve_root("lost")
    assert str(data / "lost") in line(error) and str(here / "lost") in line(error) and "VITLAB_DATA" in line(error)
    monkeypatch.delenv("VITLAB_DATA")
    assert resolve_root("both") == here / "both"
    with pytest.raises(FileNotFoundError, match="not set"):
        resolve_root("lost")
