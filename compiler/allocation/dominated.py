"""Widths that nobody would choose: those for which a wider one costs no more."""

from __future__ import annotations

from dataclasses import replace

from bitsmith.allocation.problem import Cost, Group, Problem, Row


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
    rows = [row for row in cost.rows if row.once or group.name in row.singles]
    kept = tuple(
        bits
        for place, bits in enumerate(group.widths)
        if not any(
            all(_more_at_most(row, group.name, bits, wider) <= 0 for row in rows) for wider in group.widths[place + 1 :]
        )
    )
    return replace(group, widths=kept)


def _more_at_most(row: Row, group: str, bits: float, wider: float) -> float:
    """What a wider choice costs more than another, whatever the other groups choose.

    That is where none of them asks for what the wider asks for and the narrower does not, and one of them does for what
    the narrower asks for.
    """
    table = row.singles.get(group, {bits: 0, wider: 0})
    beyond = (spent for users, spent in row.once.items() if (group, wider) in users and (group, bits) not in users)
    return table[wider] - table[bits] + sum(beyond)
