"""`python -m vitlab.study`: one worker of a study, which starts it; see `vitlab.study.worker`."""

from vitlab.collector import paused

with paused():
    from vitlab.study.worker import main

if __name__ == "__main__":
    raise SystemExit(main())
