import gc
import subprocess
import sys

from vitlab.collector import paused


def test_nothing_is_collected_within_and_all_goes_on_behind():
    began = []
    gc.callbacks.append(lambda phase, _: began.append(phase))
    try:
        with paused():
            kept = [[number] for number in range(20_000)]
            assert began == [] and not gc.isenabled()
        assert gc.isenabled() and len(kept) == 20_000
    finally:
        gc.callbacks.pop()


def test_it_stays_off_where_it_was_off_and_an_error_turns_it_on_again():
    gc.disable()
    try:
        with paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
    try:
        with paused():
            raise ValueError
    except ValueError:
        assert gc.isenabled()


def test_what_was_imported_is_looked_at_no_more_but_later_objects_are():
    code = """
import gc, weakref
from vitlab.collector import paused
with paused():
    import email.message, http.client
first = gc.get_freeze_count()
class Ring: pass
ring = Ring(); ring.ring = ring
gone = weakref.ref(ring)
with paused():
    del ring
again = gc.get_freeze_count()
gc.collect()
print(first > 1000, again <= first, gone() is None)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"] * 3
