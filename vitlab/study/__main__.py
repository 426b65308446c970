"""`python -m vitlab.study`: one worker of a study, which starts it; see `vitlab.study.worker`."""

from vitlab.allocator import allocate_cheaply
from vitlab.collector import paused

allocate_cheaply()  # before torch is imported, and on nodes of a cluster, which inherit nothing of the command line's
with paused():
    from vitlab.study.worker import main

if __name__ == "__main__":
    raise SystemExit(main())
