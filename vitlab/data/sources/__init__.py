"""Sources: where a manifest and its images come from. One class a source, named by `data.source` in a configuration.

A source for another format is one more subclass of `Source`: a manifest, and how to open its paths.
"""

from vitlab.data.sources.arrays import MedMnist, Torchvision
from vitlab.data.sources.base import Source, resolve_folder, resolve_root
from vitlab.data.sources.dicom import Dicom
from vitlab.data.sources.figshare import Figshare
from vitlab.data.sources.folder import ImageFolder
from vitlab.data.sources.nifti import Nifti
from vitlab.data.sources.table import Csv, Phantom
from vitlab.data.sources.tar_shards import TarShards

__all__ = [
    "Csv",
    "Dicom",
    "Figshare",
    "ImageFolder",
    "MedMnist",
    "Nifti",
    "Phantom",
    "Source",
    "TarShards",
    "Torchvision",
    "resolve_folder",
    "resolve_root",
]
