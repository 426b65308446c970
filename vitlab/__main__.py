"""`python -m vitlab VERB`."""

from vitlab.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
