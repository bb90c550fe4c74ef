"""Widths that nobody would choose: those for which a wider one costs no more."""

from __future__ import annotations

from dataclasses import replace

from bitsmith.allocation.problem import Cost, Group, Problem


def without_dominated(problem: Problem, name: str) -> Problem:
    """The problem with no width for which its group has a wider one that costs no more, by the cost of this name.

    More bits never lose more (ir/sensitivity.py). A machine that keeps 3 bits in the room of 4 has such widths; what
    does not count at all is as wide as it may be. Where what a group costs depends on another's width, all of its
    widths stay.
    """
    cost = problem.costs[name]
    coupled = {group for row in cost.rows for pair in row.pairs for group in pair}
    coupled.update(group for pair in problem.vetoes for group in pair)
    return replace(
        problem,
        groups=tuple(group if group.name in coupled else _without(group, cost) for group in problem.groups),
    )


def _without(group: Group, cost: Cost) -> Group:
    """Without those that are dominated; the widest never is."""
    tables = [row.singles[group.name] for row in cost.rows if group.name in row.singles]
    kept = tuple(
        bits
        for place, bits in enumerate(group.widths)
        if not any(
            all(table[wider] <= table[bits] for table in tables) and _asks_no_more(group.name, wider, bits, cost)
            for wider in group.widths[place + 1 :]
        )
    )
    return replace(group, widths=kept)


def _asks_no_more(group: str, wider: float, bits: float, cost: Cost) -> bool:
    """Whether all that a wider choice has part in is asked for by the narrower one too."""
    shared = [users for row in cost.rows for users in row.once if (group, wider) in users]
    return all((group, bits) in users for users in shared)
