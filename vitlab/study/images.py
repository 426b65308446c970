"""Which images a job trains on: the manifest of its data, and the digest of its training split. No pixel is read."""

import inspect
import json
import warnings
from dataclasses import dataclass
from functools import cache

from vitlab.data.manifest import Manifest, split_sha256
from vitlab.data.sources import Source
from vitlab.data.splits import assign_splits
from vitlab.mistakes import explain, one_line_parser
from vitlab.study.settings import Settings, get

_PARAMETERS = {name: of for name, of in inspect.signature(assign_splits).parameters.items() if name != "manifest"}
SPLIT_KEYS = tuple(_PARAMETERS)
SPLIT_DEFAULTS = {name: of.default for name, of in _PARAMETERS.items() if of.default is not of.empty}


@dataclass(frozen=True)
class Images:
    """What a job's data section says of its images.

    Args:
        manifest_sha256: Of the data set.
        train_sha256: Of the training split's images.
        train: Number of them.
        name: Of the data set.
    """

    manifest_sha256: str
    train_sha256: str
    train: int
    name: str


def images_of(data: Settings) -> Images:
    """Return the images of a job.

    Args:
        data: The `data` section of its settings.

    Raises:
        ValueError: The source or the split cannot be made.
        FileNotFoundError: The images are not there.
    """
    split = {key: data[key] for key in SPLIT_KEYS if key in data}
    return _images(json.dumps(data["source"], sort_keys=True), json.dumps(split, sort_keys=True), get(data, "name"))


@cache
def _images(source: str, split: str, name: str | None) -> Images:
    manifest, own_name = _manifest(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # each run says it in its own log
        divided = assign_splits(manifest, **json.loads(split))
    train = int((divided.split == "train").sum())
    return Images(manifest.sha256, split_sha256(divided, "train"), train, name or own_name)


@cache
def _manifest(source: str) -> tuple[Manifest, str]:
    parser = one_line_parser({"data.source": Source.__subclasses__()}, exit_on_error=False)
    parser.add_subclass_arguments(Source, "data.source")
    parsed = parser.parse_object({"data": {"source": json.loads(source)}})
    try:
        made: Source = parser.instantiate_classes(parsed).data.source
    except ValueError as error:  # of the source itself, within all that jsonargparse says around it
        raise ValueError(explain(str(error), parser, parser.named)) from error
    manifest = made.manifest()
    manifest.check()
    return manifest, made.name
