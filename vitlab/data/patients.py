"""Patient ids as people write them: words that name nobody, and one id in several spellings."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

# Ids without their signs, so that na is N/A and <NA> too; one of signs alone, such as - or ?, names nobody either.
_NOBODY: Final = frozenset(
    "anon anonym anonymised anonymized anonymous deidentified missing na nan nil noid none null notapplicable "
    "notavailable notknown tbd undefined unidentified unk unknown unknownpatient unspecified".split()
)
# Choices, not measurements: a patient of so many images may be all those who are not known.
_MANY, _SHARE, _TIMES = 20, 0.1, 10  # images, of all images, as many as the median patient has
_PART = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")

Tokens = tuple[str, ...]


def read_ids(ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return one spelling of each patient, and in words what was changed or is doubtful.

    Spellings that differ in case, white space, invisible signs or Unicode's form are one patient, by the most frequent.
    Those that differ in other signs or leading zeros stay two. An id of zeros names nobody unless others are numbers.

    Args:
        ids: Patient of each image as written, "" where unknown, (N,).

    Returns:
        Patient of each image, "" where nobody is named, (N,); and the sentences, without a capital or a full stop.
    """
    counts = Counter(ids)
    del counts[""]
    tokens = {text: _tokens(text) for text in counts}
    nobody = _nobody(tokens)
    remarks = []
    if nobody:
        listed = ", ".join(f"{text!r} {counts[text]:,}" for text in _most_used(nobody, counts)[:3])
        remarks.append(
            f"{sum(counts[text] for text in nobody):,} of {len(ids):,} images have a patient id that names nobody "
            f"({listed}{', ...' * (len(nobody) > 3)}): it counts as missing"
        )
    persons = [text for text in counts if text not in nobody]
    spellings = _alike(persons, tokens.__getitem__)
    final = {text: text for text in persons} | dict.fromkeys(["", *nobody], "")
    for group in spellings:
        final |= dict.fromkeys(group, _most_used(group, counts)[0])
    if spellings:
        remarks.append(
            f"the id of {_patients(len(spellings))} comes in several spellings, {_example(spellings, counts)}: they "
            "count as one"
        )
    doubtful = _alike((text for text in persons if final[text] == text), lambda text: _bare(tokens[text]))
    # Zeros that only change their place, as in random ids, are not added or taken.
    doubtful = [group for group in doubtful if len({_shape(tokens[text]) for text in group}) > 1]
    if doubtful:
        remarks.append(
            f"{_patients(len(doubtful))} may have several ids, {_example(doubtful, counts)}: they count as several, "
            "write them alike where they are one"
        )
    patients = [final[text] for text in ids]
    return patients, remarks + _too_many(patients)


def _tokens(text: str) -> Tokens:
    """Return words, numbers and signs; white space only parts them, so that "P 12" is "P12", but "1 12" not "112"."""
    plain = text.lower()
    if not text.isascii():
        plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        plain = "".join(sign for sign in plain if unicodedata.category(sign) != "Cf")
    return tuple(_PART.findall(plain))


def _nobody(tokens: dict[str, Tokens]) -> set[str]:
    """Return the ids that stand for no patient."""
    words = {text: "".join(part for part in parts if part.isalnum()) for text, parts in tokens.items()}
    nobody = {text for text, word in words.items() if not word or word in _NOBODY or re.fullmatch("x{3,}", word)}
    nobody |= {text for text, parts in tokens.items() if parts == ("-", "1")}
    zeros = {text for text, word in words.items() if not word.strip("0")} - nobody
    numbered = any(word.isdecimal() for text, word in words.items() if text not in nobody | zeros) if zeros else True
    return nobody if numbered else nobody | zeros


def _bare(tokens: Tokens) -> Tokens:
    """Return an id's words and numbers, without the zeros that a table program adds or takes."""
    whole = tokens[:-2] if len(tokens) > 2 and tokens[-2:] == (".", "0") else tokens
    return tuple(part.lstrip("0") or "0" for part in whole if part.isalnum())


def _shape(tokens: Tokens) -> Tokens:
    """Return an id's signs, with the length of all else."""
    signs = [part for part in tokens if not part.isalnum()]
    return (str(sum(map(len, tokens)) - len(signs)), *signs)


def _too_many(patients: list[str]) -> list[str]:
    """Return a sentence if one patient has so many images that it may be several."""
    images = Counter(patients)
    del images[""]
    name, most = max(images.items(), key=lambda item: item[1], default=("", 0))
    if len(images) == 1 and most >= _MANY:
        return [f"the patient {name!r} is the only one, of {most:,} images: if it names nobody, leave it empty"]
    usual = sorted(images.values())[len(images) // 2] if images else 0
    if most < max(_MANY, _SHARE * len(patients), _TIMES * usual):
        return []
    return [
        f"the patient {name!r} has {most:,} of {len(patients):,} images, a usual one {usual:,}: if it names nobody, "
        "leave it empty"
    ]


def _alike(texts: Iterable[str], key: Callable[[str], Any]) -> list[list[str]]:
    """Return the ids that share a key, if two or more do."""
    groups = defaultdict(list)
    for text in texts:
        groups[key(text)].append(text)
    return [group for group in groups.values() if len(group) > 1]


def _most_used(texts: Iterable[str], counts: Counter[str]) -> list[str]:
    return sorted(texts, key=lambda text: (-counts[text], len(text), text))


def _patients(number: int) -> str:
    return f"{number:,} patient{'s' * (number > 1)}"


def _example(groups: list[list[str]], counts: Counter[str]) -> str:
    """Name two ids of the group of most images."""
    first, second = _most_used(max(groups, key=lambda group: sum(counts[text] for text in group)), counts)[:2]
    same = unicodedata.normalize("NFC", first) == unicodedata.normalize("NFC", second)
    show = ascii if same else repr  # two forms of one sign look the same
    return f"e.g. {show(first)} and {show(second)}"
