"""Some four hundred malformed files of every kind: each is read, listed as damaged, or refused in one line."""

import warnings

import pytest

from tests.fuzz.kinds import KINDS
from tests.fuzz.mutate import mutants
from tests.fuzz.outcome import outcome

EACH = 16


def fuzz(kind, folder, seed=0, each=EACH):
    """Read malformed files of a kind; return how many were refused, with the lines that say so.

    Raises:
        AssertionError: One took too long, or wrote elsewhere.
        Exception: One ended in what would be a traceback.
    """
    sound = KINDS[kind]
    home = folder / "sound" / "in"
    home.mkdir(parents=True)
    sound.write(home / sound.name)
    assert outcome(sound.read, home / sound.name) == "", "the sound file is refused"
    lines = []
    for number, data in enumerate(mutants((home / sound.name).read_bytes(), kind, seed, each)):
        place = folder / str(number) / "in"
        place.mkdir(parents=True)
        (place / sound.name).write_bytes(data)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                lines.append(outcome(sound.read, place / sound.name))
        except BaseException as error:
            error.args = (f"{place / sound.name} (seed {seed}): {type(error).__name__} {error}",)
            raise
    assert {path.name for path in folder.iterdir()} == {"sound", *map(str, range(each))}, "it wrote elsewhere"
    return [line for line in lines if line]


@pytest.mark.parametrize("kind", KINDS)
def test_a_malformed_file_ends_in_a_line(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "files").mkdir()
    refused = fuzz(kind, tmp_path / "files")
    assert [path.name for path in tmp_path.iterdir()] == ["files"]
    tolerant = ("history", "robustness", "features")  # a picture of a report is left out
    assert refused or kind in tolerant


@pytest.mark.soak
def test_many_seeds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in range(1, 101):
        for kind in KINDS:
            fuzz(kind, tmp_path / f"{seed} {kind}", seed)
