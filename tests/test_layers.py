"""Who imports whom: the arrows of the design, read from the source of every module."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]

# Module or package -> what it may import of vitlab. The longest matching name decides; an entry stands for itself and
# all that is in it. Arrows point down only, and one that is not here needs a reason.
ARROWS = {
    "": [],
    "__main__": ["cli"],
    "cli": ["allocator", "collector", "config_files", "lightning_cli", "mistakes", "shipped", "audit", "models", "data",
            "callbacks", "study", "evaluate", "explain", "report", "bench", "predict"],
    "lightning_cli": ["mistakes", "preflight", "precision", "run_folder", "models", "data", "callbacks", "cost",
                      "checkpoint_io", "devices", "evaluate", "extra_outputs", "stops", "resumed"],
    "resumed": ["yaml_text"],
    "devices": ["checkpoint", "checkpoint_io", "models"],
    "checkpoint_io": [],
    "allocator": [],
    "collector": [],
    "stops": [],
    "extra_outputs": ["data.corruptions", "evaluate"],
    "preflight": ["checkpoint", "devices", "mistakes", "monitored", "precision", "models", "data", "resumed"],
    "monitored": ["callbacks", "models"],  # who logs what
    "precision": [],
    "config_files": ["shipped"],
    "run_folder": ["checkpoint", "lock"],
    "atomic": [],
    "checkpoint": [],
    "cores": [],
    "csv_text": [],
    "npz": [],
    "spreadsheet": [],
    "yaml_text": [],
    "lock": [],
    "shipped": [],
    "cost": ["memory"],
    "memory": [],
    "mistakes": [],
    "callbacks": ["cost", "models.backbones", "evaluate", "explain"],
    "models": ["models.base", "models.backbones", "models.optim"],
    "models.mae": ["models.base", "models.backbones", "models.masked", "models.optim"],
    "models.masked": [],
    "models.base": ["models.optim", "models.backbones", "models.compiled", "models.norms", "models.sharding"],
    "models.compiled": [],
    "models.norms": [],
    "models.sharding": [],
    "models.backbones": [],
    "models.optim": [],
    "data.batches": ["data.cache", "data.shards", "data.shuffle"],
    "data.shuffle": [],
    "data.resident": ["data.batches", "data.shards"],
    "data.copy_ahead": ["data.batches"],
    "data.datamodule": ["data.split_images", "data.batches", "data.resident", "data.copy_ahead", "data.sources",
                        "data.cache", "data.augment", "data.manifest"],
    "data.split_images": ["checkpoint", "data.sources", "data.splits", "data.shuffled_labels", "data.manifest"],
    "data.shuffled_labels": ["data.names", "data.manifest"],
    # csv_file and patients: labels of volumes come from a table of another shape than a manifest's
    "data.sources": ["data.sources", "data.manifest", "data.phantom", "data.decode", "data.cache", "data.csv_file",
                     "data.patients"],
    "data.phantom": ["data.phantom", "data.manifest"],
    "data.splits": ["data.manifest", "data.names"],
    "data.names": [],
    "data.cache": ["data.manifest", "data.decode", "data.reserved", "data.shards"],
    "data.shards": ["data.reserved"],
    "data.reserved": [],
    "data.decode": [],
    "data.augment": ["data.augment_parameters", "data.image_ops"],
    "data.augment_parameters": ["data.image_ops"],
    "data.image_ops": [],
    "data.corruptions": ["data.augment", "data.augment_parameters", "data.image_ops"],
    "data.manifest": ["data.csv_file", "data.patients"],
    "data.csv_file": [],
    "data.patients": [],
    "audit": ["audit", "data", "evaluate", "report.insert", "report.look", "report.markup", "mistakes"],
    "study": ["study", "evaluate", "report", "lock", "shipped"],
    "study.images": ["study", "data.manifest", "data.sources", "data.splits", "mistakes"],  # which images a job sees
    "study.build": ["study", "shipped", "lightning_cli", "models.backbones"],
    "study.__main__": ["study.worker", "allocator", "collector"],
    "study.worker": ["study", "lock", "shipped", "lightning_cli"],  # runs `fit` in its own process
    "evaluate": ["evaluate"],
    "explain": ["checkpoint", "explain", "data", "evaluate", "lock", "mistakes", "models", "report"],
    # on files, with what explain knows of a run: how unlike its training an image is, and where it looks
    "predict": ["checkpoint", "predict", "data", "evaluate", "explain", "mistakes"],
    "report": ["report", "evaluate"],
    # it measures what a user runs: `fit` whole, its parts, and the files that `compare` reads
    "bench": ["bench", "cost", "models", "data", "evaluate", "lightning_cli", "memory", "mistakes",
              "precision", "report", "shipped"],
}
# What everyone may take from vitlab itself.
ROOT = ["__version__", "atomic", "cores", "csv_text", "npz", "spreadsheet", "yaml_text"]
HEAVY = {"torch", "torchvision", "lightning", "timm", "lightly", "torchmetrics", "sklearn", "pandas"}
# No heavy import at module level.
LIGHT = ("", "__main__", "cli", "collector", "config_files", "atomic", "cores", "csv_text", "npz", "yaml_text", "lock",
         "shipped", "evaluate", "report", "study.command", "study.plan", "data.manifest", "data.csv_file",
         "data.patients")  # fmt: skip


def modules():
    """Return module name below vitlab ("" for vitlab itself) -> its syntax tree."""
    found = {}
    for path in sorted((REPO / "vitlab").rglob("*.py")):
        parts = path.relative_to(REPO / "vitlab").with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = modules()


def inside(name, package):
    return name == package or name.startswith(package + ".")


def imports(name, nodes):
    """Yield the full dotted name of everything that the nodes import, relative imports resolved."""
    is_package = (REPO / "vitlab" / name.replace(".", "/") / "__init__.py").exists()
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = f"vitlab.{name}".rstrip(".").split(".")
                package = package[: len(package) - node.level + is_package]
                base = ".".join([*package, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def internal(name):
    """Return the vitlab modules that a module imports anywhere, in functions too, and what else it takes of vitlab."""
    found = set()
    for full in imports(name, ast.walk(MODULES[name])):
        if inside(full, "vitlab"):
            target = full.removeprefix("vitlab").removeprefix(".")
            found.add(target if target in MODULES or target in ROOT else target.rpartition(".")[0])  # or a name in it
    return found - set(ROOT)


def at_module_level(tree):
    """Yield the statements that importing the module runs: not those in functions, nor under TYPE_CHECKING."""
    pending = list(tree.body)
    while pending:
        node = pending.pop()
        yield node
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not typing_only:
            pending += ast.iter_child_nodes(node)


def forbidden(name, target):
    """Say whether ARROWS has no arrow from a module to another."""
    known = [key for key in ARROWS if key == name or (key and inside(name, key))]
    if not known:
        return True
    if name in ("data", "models", "evaluate", "explain", "report", "study"):  # a package may offer what is in it
        return not inside(target, name)
    return not any(inside(target, allowed) for allowed in ARROWS[max(known, key=len)])


@pytest.mark.parametrize("name", MODULES, ids=lambda name: name or "vitlab")
def test_arrows_point_down(name):
    wrong = sorted(target for target in internal(name) if forbidden(name, target))
    assert not wrong, f"vitlab.{name} imports {wrong}: the design has no such arrow (ARROWS in {Path(__file__).name})"


def test_every_module_has_a_place():
    lost = [name for name in MODULES if not any(key == name or (key and inside(name, key)) for key in ARROWS)]
    packages = {"data", "models", "evaluate", "explain", "report", "study"}
    assert set(lost) <= packages, f"{lost} have no place in the design: add them to ARROWS with a reason"


def test_no_circle():
    def visit(name, path):
        assert name not in path, f"imports go in a circle: {' -> '.join([*path[path.index(name) :], name])}"
        if name not in done:
            for target in internal(name) - {name} if name in MODULES else ():
                visit(target, [*path, name])
            done.add(name)

    done = set()
    for name in MODULES:
        visit(name, [])


def test_data_and_models_do_not_know_each_other():
    crossing = [
        (name, target)
        for name in MODULES
        for target in internal(name)
        if (inside(name, "data") and inside(target, "models")) or (inside(name, "models") and inside(target, "data"))
    ]
    assert crossing == []


@pytest.mark.parametrize("name", [n for n in MODULES if n == "" or any(p and inside(n, p) for p in LIGHT)])
def test_light_modules_load_nothing_heavy(name):
    loaded = {full.partition(".")[0] for full in imports(name, at_module_level(MODULES[name]))}
    assert not loaded & HEAVY, f"vitlab.{name} imports {sorted(loaded & HEAVY)} when it is imported"


@pytest.mark.parametrize(
    "module", ["report.table", "__main__", "cli", "evaluate.metrics", "evaluate.probe", "study.command"]
)
def test_importing_it_loads_no_torch(module):
    code = f"import sys, vitlab.{module}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_the_reader_of_imports_sees_what_it_should():
    tree = ast.parse(
        "import torch.nn\nfrom ..data import manifest\nfrom . import table\n"
        "if TYPE_CHECKING:\n    import timm\ntry:\n    import lightly\nexcept ImportError:\n    pass\n"
        "def f():\n    import sklearn\n"
    )
    assert set(imports("report.runs", at_module_level(tree))) == {
        "torch.nn", "vitlab.data.manifest", "vitlab.report.table", "lightly",
    }  # fmt: skip
    assert {"timm", "sklearn"} < set(imports("report.runs", ast.walk(tree)))
    assert forbidden("data.cache", "models.optim") and forbidden("models.mae", "data.manifest")
    assert forbidden("models.optim", "models.base") and not forbidden("models.mae", "models.base")
    assert forbidden("models.mae", "models.simclr") and forbidden("utils", "data")
    assert not forbidden("models", "models.mae") and not forbidden("data.phantom.waves", "data.phantom.anatomy")
