"""The settings of the data that an audit takes are those of `fit`, without what `fit` imports for them."""

import inspect
import subprocess
import sys

from vitlab.audit.data import UNUSED, AuditedData
from vitlab.data.datamodule import ImageDataModule


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
