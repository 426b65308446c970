"""What a repair did, in words: for the terminal and for the list of changes."""

from vitlab.audit.repair.repair import Repaired
from vitlab.audit.repair.sides import Nearness

# Farther than this from its share of the images, or from the class shares that dropping leaves possible, is not near.
_FAR = 1.0  # percent, and percentage points


def in_words(found: Repaired) -> str:
    """Return how much was dropped and moved for which reason, and how near each split and fold is to what it was."""
    reasons = {name: 0 for name in ("cannot be read", "a copy of", "label", "tangled", "balance")}
    for _, _, why in found.changes:
        reasons[next(name for name in reasons if why.startswith(name))] += 1
    unread, copies, conflicts, tangled, balance = reasons.values()
    dropped = f"dropped {copies:,} copies, {conflicts:,} of two labels, {unread:,} that cannot be read"
    lines = [f"  {dropped}; moved {tangled:,} with their group, {balance:,} for balance"]
    parts = [_side(near) for near in found.near]
    width = 3  # sides a line, so that it fits the screen
    lines += ["  " + ", ".join(parts[at : at + width]) for at in range(0, len(parts), width)]
    if found.dropped_classes >= 0.05:
        lines[-1] += f"; what is dropped alone changes the classes by {found.dropped_classes:.1f} points"
    if far := [near.name for near in found.near if _far(near)]:
        lines[-1] += (
            f"; {', '.join(far)}: no nearer, as groups stay whole and the largest has {found.largest_group:,} "
            f"of {len(found.manifest):,} images"
        )
    if emptied := [near.name for near in found.near if near.before and not near.after]:
        lines.append(
            f"  no image is left in {' and '.join(emptied)}: the largest group (patient, or chain of copies) has "
            f"{found.largest_group:,} of {len(found.manifest):,}; if its id stands for nobody, leave patient_id empty"
        )
    return "\n".join(lines)


def side_lines(found: Repaired) -> list[tuple[str, str, str]]:
    """Return a line for each split and fold for the list of changes: of no image, its size, how near it is."""
    return [
        (
            "",
            f"{near.name}: {near.before} -> {near.after} images",
            f"{100 * near.share:.1f} % of its share before, class shares within {near.classes:.1f} points",
        )
        for near in found.near
    ]


def _side(near: Nearness) -> str:
    nearness = f"classes within {near.classes:.1f} points" if near.after else "nothing left"
    return f"{near.name} {near.before:,} -> {near.after:,} ({nearness})"


def _far(near: Nearness) -> bool:
    return 100 * abs(near.share - 1) > _FAR or near.off > _FAR
