"""Nothing leaves the machine, and nothing that is read is executed."""

import ast
import json
import os
import re
import signal
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml

from tests.conftest import REPO
from tests.fuzz.test_hostile import UNFOLDS
from tests.test_chain import TINY_CNN, data_flags
from vitlab.cli import main

SOURCES = sorted((REPO / "vitlab").rglob("*.py"))


@pytest.fixture
def asked(monkeypatch):
    """Return where connections were wanted to; each fails, as on a machine without a network."""
    wanted = []

    def refuse(*args, **settings):
        wanted.append(args)
        raise OSError("there is no network")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    return wanted


def test_no_verb_asks_the_network(asked, tmp_path, image_folder, capsys):
    flags = ["--trainer.accelerator=cpu", "--trainer.max_epochs=1", f"--run.root={tmp_path}/runs"]
    assert main(["fit", "--config", "configs/cnn.yaml", *data_flags(image_folder), *TINY_CNN, *flags]) == 0
    run = tmp_path / "runs" / "discs" / "cnn" / "seed0"
    checkpoint = ["--ckpt_path", str(run / "checkpoints" / "best.ckpt")]
    assert main(["test", "--config", str(run / "config.yaml"), *checkpoint]) == 0
    assert main(["predict", "--config", str(run / "config.yaml"), *checkpoint, "--run.study=again"]) == 0
    cases = ["--patients=2", "--worst=1", "--scores=none", f"--out={tmp_path}/explained"]
    assert main(["explain", str(run.parents[1]), *cases]) == 0 and (tmp_path / "explained" / "index.html").exists()
    assert main(["predict", *checkpoint, f"--images={image_folder}/test", f"--out={tmp_path}/answers"]) == 0
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "runs"), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["n"] == 1
    audit = ["--data.source=ImageFolder", f"--data.source.root={image_folder}", f"--out={tmp_path}/audit"]
    assert main(["audit", *audit]) in (0, 1)
    assert asked == []


def test_weights_are_downloaded_only_where_that_is_asked_for(asked, tmp_path, image_folder, capsys):
    flags = ["--trainer.accelerator=cpu", "--trainer.max_epochs=1", f"--run.root={tmp_path}/runs"]
    code = main(["fit", "--config", "configs/cnn.yaml", *data_flags(image_folder), *flags, "--model.backbone=resnet18",
                 "--model.pretrained=true"])  # fmt: skip
    assert asked and code == 2 and "Traceback" not in capsys.readouterr().err


@pytest.fixture(scope="module")
def served():
    """Return the address of a YAML file, and the list of what was asked of its server."""
    requests = []

    class Served(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"seed_everything: 3\n")

        do_HEAD = do_GET

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Served)
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/x.yaml", requests
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def at_most(seconds):
    """Raise where what waits for ever would wait."""

    def late(*args):
        raise AssertionError(f"it waits longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# where settings or a class stand, of which the libraries would take the name of a file
GROUPS = ("data", "data.augment", "trainer", "run", "checkpoint", "probe", "reconstructions", "model.optim")
CLASSES = ("model", "data.source", "trainer.logger", "trainer.callbacks", "trainer.strategy", "trainer.profiler")
FIT = ["fit", "--config=configs/cnn.yaml", "--data.image_size=0"]  # so that nothing begins where a name is taken
AS_FILE = [
    *((FIT, key) for key in (*GROUPS, *CLASSES, "config", "config+", "c")),
    (["test", "--config=configs/cnn.yaml", "--ckpt_path=x.ckpt"], "data"),
    *((["audit"], key) for key in ("data", "data.source", "data.augment", "config")),
    *((["bench"], key) for key in ("data", "data.source", "data.augment", "config")),
    *((["data", "phantom"], key) for key in ("config", "seed")),
    (["predict", "--images=.", "--ckpt_path=x.ckpt"], "config"),
    (["compare"], "config"),
    (["study"], "config"),
]


def setting(key, value):
    for part in reversed(key.split(".")):
        value = {part: [value] if part == "callbacks" else value}
    return value


def refused(args, key, capfd):
    """Run a command that is to be refused in one line, at once."""
    with at_most(10):
        assert main(args) == 2, key
    said = capfd.readouterr().err
    lines = [line for line in said.splitlines() if line.startswith("vitlab")]
    assert len(lines) == 1 and "Traceback" not in said and len(said) < 1000, said
    assert key != "config" or "give each by a --config of its own" in said or args[0] in ("compare", "study")
    if key in GROUPS and args[0] in ("fit", "test"):
        assert f"{key}: is a group of settings, got '" in lines[0] and "takes a --config of its own" in lines[0]


@pytest.mark.parametrize(
    ("kind", "args", "key"),
    [
        *((kind, *case) for kind in ("address", "pipe") for case in AS_FILE),
        *(("bomb", FIT, key) for key in ("data", "model", "config")),
    ],
)
def test_no_file_stands_in_the_place_of_settings(kind, args, key, served, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    named, requests = served
    if kind != "address":
        named = "x.yaml"
    if kind == "bomb":
        (tmp_path / named).write_text(UNFOLDS)
    elif kind == "pipe":
        os.mkfifo(tmp_path / named)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(setting(key, named)))
    refused([*args, "--config", "mine.yaml"], key, capfd)
    if kind == "address" and not key.startswith("c"):
        refused([*args, f"--{key}={named}"], key, capfd)
    assert requests == [] and not (tmp_path / "lightning_logs").exists()


@pytest.mark.parametrize("logger", ["CSVLogger", "TensorBoardLogger"])
def test_no_logger_writes_to_an_address(logger, served, image_folder, capfd):
    named, requests = served
    data = ["--data.source=ImageFolder", f"--data.source.root={image_folder}"]
    flags = [f"--trainer.logger={logger}", f"--trainer.logger.save_dir={named}"]
    assert main(["fit", "--config=configs/cnn.yaml", *data, *flags]) == 2
    assert f"trainer.logger has an address as save_dir, {named}: give a folder" in capfd.readouterr().err
    assert requests == []


def calls(tree):
    """Yield the written-out name of what is called, and the call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def imports(tree):
    """Yield the full names of the modules that are imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)


def dangers(text):
    """Yield what of a module's text would execute what is read, or ask the network."""
    tree = ast.parse(text)
    for name in imports(tree):
        if name.partition(".")[0] in ("pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "socket"):
            yield name
        if name in ("urllib.request", "http.client"):
            yield name
    for name, call in calls(tree):
        settings = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name in ("eval", "exec", "os.system", "os.popen", "yaml.unsafe_load", "yaml.full_load", "yaml.safe_load"):
            yield name
        if settings.get("shell", "False") != "False" or settings.get("allow_pickle", "False") != "False":
            yield ast.unparse(call)
        if name == "torch.load" and settings.get("weights_only") != "True":
            yield ast.unparse(call)
        if re.fullmatch(r"(PIL\.)?Image\.open", name) and "formats" not in settings:
            yield ast.unparse(call)  # for some formats Pillow starts a program on what the file holds


@pytest.mark.parametrize(
    "text",
    ["import pickle", "from urllib.request import urlopen", "eval(x)", "torch.load(x)", "np.load(x, allow_pickle=True)",
     "torch.load(x, weights_only=False)", "subprocess.run(x, shell=True)", "yaml.safe_load(x)", "Image.open(x)"],
)  # fmt: skip
def test_a_danger_is_found(text):
    assert list(dangers(text))


def test_nothing_that_is_read_is_executed():
    assert len(SOURCES) > 200
    found = {str(path.relative_to(REPO)): list(dangers(path.read_text(encoding="utf-8"))) for path in SOURCES}
    assert {path: names for path, names in found.items() if names} == {
        "vitlab/models/backbones.py": ["urllib.request"],  # for `pretrained: true` alone, as tested above
        "vitlab/bench/plain.py": ["Image.open(path)"],  # what a user would write, on files that the bench has written
        "vitlab/study/launchers/ray.py": ["socket"],  # whether the cluster that was named is there
        "vitlab/study/worker.py": ["yaml.safe_load"],  # of what it has printed itself
    }
