"""What the program chooses where no width may be narrower than another floor: candidates worth trying.

Losses of single layers, added up, say too little of what many narrow layers do to each other. How far to trust the sum
is a matter of how narrow the narrowest may be. With the floor at the widest uniform allocation that the budgets allow,
what is chosen has in no place fewer bits than that, so it is at least as good whatever the sum is worth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from bitsmith.allocation.problem import Group, Problem, Solution

Solver = Callable[[Problem], Solution | None]


def above(problem: Problem, floor: float) -> Problem:
    """The problem with no width below `floor`; a group that has none as wide keeps its widest."""
    return replace(problem, groups=tuple(_above(group, floor) for group in problem.groups))


def floors(problem: Problem, solve: Solver) -> Iterator[tuple[float, Solution]]:
    """The solution for each floor that leaves one, lowest first; those that differ from all before."""
    widths = sorted({bits for group in problem.groups if len(group.widths) > 1 for bits in group.widths})
    seen = []
    for floor in widths or [0]:
        found = solve(above(problem, floor))
        if found is None:
            # Nor is there one for a higher floor.
            return
        if found.allocation not in seen:
            seen.append(found.allocation)
            yield floor, found


def _above(group: Group, floor: float) -> Group:
    kept = tuple(bits for bits in group.widths if bits >= floor)
    return replace(group, widths=kept or group.widths[-1:])
