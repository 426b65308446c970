"""The long form: many seeds of every kind; each file that ends in a traceback or a hang is kept and named.

python -m tests.fuzz --seeds 100
"""

import argparse
import tempfile
import time
from pathlib import Path

from tests.fuzz.kinds import KINDS
from tests.fuzz.test_malformed import EACH, fuzz


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=1, help="seed 0 is that of `make test`")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    options = parser.parse_args()
    faults, files, refused, begin = [], 0, 0, time.monotonic()
    for seed in range(options.first, options.first + options.seeds):
        for kind in options.kinds:
            folder = Path(tempfile.mkdtemp(prefix=f"vitlab-fuzz-{seed}-"))
            try:
                refused += len(fuzz(kind, folder, seed))
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                faults.append(kind)
                print(f"{kind}: {error}", flush=True)
            files += EACH
    seconds = time.monotonic() - begin
    print(f"{files} malformed files, {refused} refused, {len(faults)} faults {faults}, {seconds:.0f} s")
    return int(bool(faults))


if __name__ == "__main__":
    raise SystemExit(main())
