"""A seeded byte mutator: what a bad disk, a cut download or a stranger makes of a file."""

import random

NUMBERS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x80", b"\xff\xff\xff\x7f", b"\1\0\0\0")
TEXTS = (
    b'"',
    b"\n",
    b",",
    b"\0",
    b"\xff\xfe",
    b"{",
    b"[" * 40,
    b"9" * 400,
    b"nan",
    b"-1",
    b"../",
    b"!!python/name:os.system ",
)


def mutated(data, rng):
    """Return the bytes with one to four faults, each of a random kind; often in the head, where the sizes stand."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not data:
            break
        end = len(data) if rng.random() < 0.5 else min(len(data), 128)
        at = rng.randrange(end)
        length = rng.choice((1, 2, 4, 16, 64))
        fault = rng.choice(("flip", "number", "text", "cut", "remove", "repeat", "zero", "noise"))
        if fault == "flip":
            data[at] ^= 1 << rng.randrange(8)
        elif fault == "number":
            data[at : at + 4] = rng.choice(NUMBERS)
        elif fault == "text":
            data[at:at] = rng.choice(TEXTS)
        elif fault == "cut":
            del data[at:]
        elif fault == "remove":
            del data[at : at + length]
        elif fault == "repeat":
            data[at:at] = data[at : at + length] * rng.choice((1, 8))
        elif fault == "zero":
            data[at : at + length] = bytes(len(data[at : at + length]))
        else:
            data[at : at + length] = rng.randbytes(length)
    return bytes(data)


def mutants(data, kind, seed, count):
    """Return faulty copies, the same ones for the same kind and seed."""
    rng = random.Random(f"{kind} {seed}")
    return [mutated(data, rng) for _ in range(count)]
