"""TarShards: images in tar files, as WebDataset writes them, on a file system or in a bucket that is mounted."""

import io
import itertools
import json
import math
import re
import threading
import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitlab.data.decode import FORMATS, Decoded, to_mask
from vitlab.data.manifest import Manifest
from vitlab.data.patients import read_ids
from vitlab.data.sources.base import Source, resolve_folder
from vitlab.data.sources.folder import SPLIT_NAMES
from vitlab.data.sources.tar_index import FIELDS, read_index, read_member

_BRACES = re.compile(r"\{([^{}]*)\}")
_MOST = 10**6  # shards that a pattern may name
_FLAG = "--data.source.fields="
_NAMED = 20  # keys of JSON files in a message
_HELD = 16  # places of so many shards are held at once: more than threads decode


class TarShards(Source):
    """Samples in tar files: key.jpg (or another image) with key.cls, key.json or key.txt, and key.mask.png.

    The label is the field `label` of the JSON file, else the text of .cls, else that of .txt. The JSON file may also
    have patient_id, split, fold and mask_path (the name of the mask beside it). Where it has no split, a shard whose
    name or folder has the word train, val or test says so: train-000000.tar. Nothing is unpacked, no link is followed
    and no other kind of member is read; members are found once, and where they lie is kept in the cache folder.

        data:
          source:
            class_path: TarShards
            init_args: {root: /mnt/bucket/clinic, shards: "{train,val}-{000000..000099}.tar"}

    The library webdataset reads the same files in one pass, which trains but does not give a manifest, an audit or a
    patient's images; it runs what URLs beginning with pipe: say, and unpickles.

    Args:
        root: The folder; relative to $VITLAB_DATA or the working folder.
        shards: Names relative to root, with *, ?, ** and braces: shard-{000000..000099}.tar, {train,val}/*.tar.
        image: What follows the key in the name of the image, such as left.png, where samples have several.
        fields: Keys of the JSON files to take for vitlab's, e.g. {label: diagnosis, patient_id: subject}.
        name: Name of the data set; the folder's where it is not given.
    """

    def __init__(
        self,
        root: str,
        shards: str = "**/*.tar",
        image: str | None = None,
        fields: dict[str, str] | None = None,
        name: str | None = None,
    ) -> None:
        self.root, self.shards, self.image, self.fields = resolve_folder(root), shards, image, fields or {}
        self.name = name or self.root.resolve().name
        if wrong := sorted(set(self.fields) - set(FIELDS)):
            raise ValueError(f"data.source.fields has {wrong[0]!r}: give keys for some of {', '.join(FIELDS)}")
        self._places: OrderedDict[str, dict[str, tuple[int, int]]] = OrderedDict()
        self._lock = threading.Lock()

    def manifest(self) -> Manifest:
        """Return the samples, shards by name and each in the order of its file.

        Raises:
            ValueError: There is no shard or no image, a shard is damaged, a sample has several images, or no JSON file
                has a key of `fields`.
            FileNotFoundError: A shard that braces name is not there.
        """
        rows: dict[str, list[str]] = {name: [] for name in ("path", *FIELDS)}
        passed: list[str] = []
        unread: list[str] = []
        keys: set[str] = set()
        for shard in self._files():
            index = read_index(self.root / shard, self.image, self.fields)
            split = _split_of(shard)
            for sample in index.samples:
                values = sample.values | {"split": sample.values["split"] or split}
                if values["mask_path"]:
                    values["mask_path"] = f"{shard}#{values['mask_path']}"
                rows["path"].append(f"{shard}#{sample.image}")
                for field in FIELDS:
                    rows[field].append(values[field])
            passed += [f"{shard}#{name}" for name in index.passed]
            unread += [f"{shard}#{name}" for name in index.unread]
            keys.update(index.keys)
        if not rows["path"]:
            raise ValueError(f"the shards {self.shards} of {self.root} hold no image: name samples key.jpg and key.cls")
        self._check_keys(keys, unread, labelled=any(rows["label"]))
        for names, what in ((passed, "members that are no part of an image's sample are left out"),
                            (unread, "labels or JSON files cannot be read, and count as missing")):  # fmt: skip
            if names:
                warnings.warn(f"{self.root}: {len(names)} {what}, e.g. {names[0]!a}", stacklevel=2)
        rows["split"] = [SPLIT_NAMES.get(split.lower(), split) for split in rows["split"]]
        rows["patient_id"], remarks = read_ids(rows["patient_id"])
        for remark in remarks:
            warnings.warn(f"{self.root}: {remark}", stacklevel=2)
        return Manifest({name: rows[name] for name in rows if any(rows[name]) or name == "label"}, self.root)

    def decode(self, path: str) -> Decoded:
        """Return the image."""
        return self._open(path)

    def read_mask(self, path: str) -> NDArray[np.bool_]:
        """Return the mask, bool (H, W)."""
        with self._open(path) as image:
            return to_mask(image)

    def close(self) -> None:
        """Free where members lie."""
        with self._lock:
            self._places.clear()

    def _open(self, path: str) -> Image.Image:
        shard, _, member = path.rpartition("#")
        with self._lock:
            if shard not in self._places:
                self._places[shard] = read_index(self.root / shard, self.image, self.fields).places
                while len(self._places) > _HELD:
                    self._places.popitem(last=False)
            places = self._places[shard]
        return Image.open(io.BytesIO(read_member(self.root / shard, places[member])), formats=FORMATS)

    def _check_keys(self, keys: set[str], unread: list[str], *, labelled: bool) -> None:
        """Raise where no JSON file has a key of `fields`; images to predict have no labels, which is only said.

        Args:
            keys: Of all JSON files.
            unread: Labels and JSON files that cannot be read.
            labelled: Whether any sample has a label.
        """
        broken = [name for name in unread if name.endswith(".json")]
        there = f"they have {', '.join(map(repr, sorted(keys)[:_NAMED]))}" if keys else "there are none, or empty ones"
        there += f"; {len(broken)} cannot be read, e.g. {broken[0]!a}" if broken else ""
        for ours, theirs in self.fields.items():
            if theirs not in keys:
                line = f"no JSON file in the shards of {self.root} has the key {theirs!r} of {ours} ({there})"
                if ours != "label" or labelled:
                    rest = json.dumps({name: key for name, key in self.fields.items() if name != ours})
                    raise ValueError(f"{line}: correct data.source.fields, or go without by {_FLAG}'{rest}'")
                warnings.warn(line, stacklevel=3)

    def _files(self) -> list[str]:
        """Return the names of the shards relative to root, sorted.

        Raises:
            ValueError: There are none of one of the words in braces, or the pattern leaves root.
            FileNotFoundError: One that the pattern names is not there.
        """
        found: set[str] = set()
        for pattern in _expanded(self.shards):
            if not pattern or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
                raise ValueError(f"data.source.shards {pattern!r} leaves {self.root}: give names relative to it")
            if not any(sign in pattern for sign in "*?["):
                if not (self.root / pattern).exists():
                    raise FileNotFoundError(f"there is no {self.root / pattern}: correct data.source.shards")
                found.add(pattern)
            else:
                files = {file.relative_to(self.root).as_posix() for file in self.root.glob(pattern)}
                if not files:
                    raise ValueError(f"{self.root} has no files {pattern}: correct data.source.shards")
                found |= files
        return sorted(found)


def _split_of(shard: str) -> str:
    """Return the split that a shard's name or folder says, "" where none or several do."""
    named = {SPLIT_NAMES[word] for word in re.split("[^a-z]+", shard.lower()) if word in SPLIT_NAMES}
    return named.pop() if len(named) == 1 else ""


def _expanded(pattern: str) -> list[str]:
    """Return the patterns that braces stand for: {000..099} numbers of that width, {train,val} words.

    Raises:
        ValueError: They are more than a million.
    """
    choices: list[list[str]] = []
    for number, part in enumerate(_BRACES.split(pattern)):
        if number % 2 == 0:
            choices.append([part])
        elif ends := re.fullmatch(r"(\d{1,9})\.\.(\d{1,9})", part):
            values = range(int(ends[1]), min(int(ends[2]), int(ends[1]) + _MOST) + 1)
            choices.append([f"{value:0{len(ends[1])}d}" for value in values])
        else:
            choices.append(part.split(","))
    if math.prod(map(len, choices)) > _MOST:
        raise ValueError(f"data.source.shards {pattern!r} stands for over {_MOST:,} names: correct it")
    return ["".join(parts) for parts in itertools.product(*choices)]
