"""A study of seconds: a few discs, a network of a few channels."""

import copy
import json
import os
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import pytest
import yaml

from vitlab.cli import main
from vitlab.report import page
from vitlab.study import workers

CNNS = "cnn,simclr_pretrain,cnn_simclr"
TINY = {
    "name": "tiny",
    "approaches": {"cnn": ["cnn"]},
    "seeds": [0],
    "settings": {
        "*:trainer.max_epochs": 2,
        "*:probe.every_n_epochs": 0,
        f"{CNNS}:model": {"backbone": "resnet18", "backbone_kwargs": {"channels": [8, 8, 16, 16]}},
    },
}
CHAIN = {"cnn": ["cnn"], "cnn_simclr": ["simclr_pretrain", "cnn_simclr"]}
WITHOUT_COMPARISON = """
import sys
from vitlab.cli import main
from vitlab.study import command

command._compare = lambda folder: None
sys.exit(main())
"""


class Study:
    """A study file and where it runs."""

    def __init__(self, folder, images, nursery):
        self.nursery = nursery
        self.folder, self.path, self.root = folder, folder / "tiny.yaml", folder / "logs"
        self.data = folder / "discs.yaml"
        source = {"class_path": "ImageFolder", "init_args": {"root": str(images)}}
        data = {"name": "discs", "source": source, "image_size": 32, "channels": 1, "batch_size": 8}
        self.data.write_text(yaml.safe_dump({"data": data, "trainer": {"accelerator": "cpu"}}))
        self.content = {**copy.deepcopy(TINY), "data": str(self.data)}
        self.write()

    def write(self, settings=(), **changes):
        """Change keys of the study, or single settings, and write the file."""
        self.content.update(changes)
        self.content["settings"].update(settings)
        self.path.write_text(yaml.safe_dump(self.content, sort_keys=False))
        return self

    @property
    def args(self):
        return ["study", "--config", str(self.path), "--root", str(self.root)]

    def run(self, *flags):
        """Run it in this process, its workers as processes of their own; return the exit code."""
        return main([*self.args, *flags])

    def start(self, *flags, forked=True, **environment):
        """Start it as a process of its own, which leaves the comparison at its end out.

        Args:
            flags: More of the command line.
            forked: Whether it and its first three workers are forked, or are started as users' are.
            environment: More of it.
        """
        command = [sys.executable, "-c", WITHOUT_COMPARISON, *self.args, *flags]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        popen = partial(self.nursery.popen, spares=3) if forked else subprocess.Popen
        return popen(command, **pipes, env={**os.environ, **environment})

    def results(self):
        """Return run folder below the study -> its results, those set aside left out."""
        found = self.root / "tiny"
        return {
            str(path.parent.relative_to(found)): json.loads(path.read_text())
            for path in sorted(found.rglob("results.json"))
            if ".replaced" not in path.parts
        }

    def written(self):
        """Return when each file of results was written, to see that nothing ran again."""
        return {path: path.stat().st_mtime_ns for path in self.root.rglob("results.json")}


@pytest.fixture
def study(tmp_path, image_folder, nursery):
    """Return a study of one CNN and one seed, to be changed by `write`."""
    return Study(tmp_path, image_folder, nursery)


@pytest.fixture(autouse=True)
def _workers_are_forked(nursery, monkeypatch):
    """Let the studies that a test runs in this process fork their workers."""
    known = SimpleNamespace(PIPE=subprocess.PIPE, SubprocessError=subprocess.SubprocessError, run=subprocess.run)
    known.Popen = nursery.popen
    monkeypatch.setattr(workers, "subprocess", known)


@pytest.fixture(autouse=True)
def _pages_are_not_drawn(request, monkeypatch):
    """Leave the pictures of the page out, which take longer than a study of seconds, save where a test looks at it."""
    if "draws_pages" not in request.keywords:
        monkeypatch.setattr(page, "write_page", lambda tables, path: path)
