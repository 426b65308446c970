"""The settings of the data that an audit takes are those of `fit`, without what `fit` imports for them."""

import inspect
import subprocess
import sys

import pytest

from vitlab.audit.data import UNUSED, AuditedData
from vitlab.data.datamodule import ImageDataModule
from vitlab.data.sources import Phantom


def test_an_audit_takes_the_settings_of_fit_with_the_same_types_and_defaults():
    of_fit, of_audit = (inspect.signature(kind.__init__).parameters for kind in (ImageDataModule, AuditedData))
    assert list(of_fit) == list(of_audit)
    for name in set(of_fit) - {"augment"}:  # its class needs torch
        assert of_fit[name] == of_audit[name]
    fit_help, audit_help = (inspect.getdoc(kind) for kind in (ImageDataModule, AuditedData))
    for name in set(of_audit) - {"self", *UNUSED}:
        (line,) = (line for line in audit_help.splitlines() if line.strip().startswith(f"{name}:"))
        assert line in fit_help.splitlines()


def test_the_verb_loads_neither_torch_nor_lightning_before_it_needs_them():
    heavy = "torch", "lightning", "torchvision", "torchmetrics", "timm", "lightly", "sklearn", "pandas"
    code = f"import sys, vitlab.audit.command; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


@pytest.mark.parametrize(
    ("augment", "line"),
    [
        ({"crp": 0.5}, "no setting data.augment.crp"),
        ({"rotation": "much"}, "data.augment.rotation.*much"),
        ({"rotation": -1}, "rotation"),
    ],
)
def test_an_audit_refuses_the_augmentation_that_fit_refuses(augment, line):
    with pytest.raises(ValueError, match=line):
        AuditedData(Phantom(), augment=augment)
    assert AuditedData(Phantom(), augment={"rotation": 5}).name == "phantom"
