"""The built-in data set: synthetic contrast-enhanced MR slices of synthetic patients with tumours, in real anatomy."""

from vitlab.data.phantom.dataset import CLASSES, SPLITS, VERSION, generate, phantom_folder

__all__ = ["CLASSES", "SPLITS", "VERSION", "generate", "phantom_folder"]
