"""Finds a circle in a graph of names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def find_circle(edges: Mapping[str, Sequence[str]]) -> list[str] | None:
    """A circle as `[a, b, a]`, the same one for the same edges, or None.

    Names that lead nowhere are taken away until none is left; from what remains, every step
    stays inside, and so walking comes back to where it was.
    """
    left = {name: set(targets) for name, targets in edges.items()}
    while ends := {t for targets in left.values() for t in targets} - left.keys() | {
        name for name, targets in left.items() if not targets
    }:
        left = {name: targets - ends for name, targets in left.items() if targets - ends}
    if not left:
        return None
    path = [min(left)]
    while (step := min(left[path[-1]])) not in path:
        path.append(step)
    return [*path[path.index(step) :], step]
