"""What to measure next: uniform allocations, then what the integer program chooses, then swaps around the best.

`Strategy.propose` depends on what has been measured alone. So a search that was killed goes on from its points as if
nothing had happened, and it does not matter in which order workers hand theirs in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from bitsmith.allocation.budgets import RESERVE
from bitsmith.allocation.dominated import without_dominated
from bitsmith.allocation.floors import floors
from bitsmith.allocation.problem import LOSS, Bits, Problem, Solution, within
from bitsmith.ir.allocation import Allocation
from bitsmith.ir.grids import TERNARY_BITS
from bitsmith.search.front import front
from bitsmith.search.point import PROGRAM, SWAP, UNIFORM, Candidate, Point, key_of

ANCHORS = (8, 4, 2, 3, 6, 5, TERNARY_BITS)
"""Uniform widths, measured first: they span the sizes, and say what mixing widths has to beat."""

LITTLE = 0.05
"""By which something that is cheap may be dearer, to be worth a look."""

Solver = Callable[[Problem], Solution | None]


@dataclass
class Strategy:
    """How a search chooses.

    problem: groups and costs of the model, without limits. solve: the integer program.
    cost:    what the front is traced against. Widths that are dominated by it are chosen for no group, and uniform ones
             measured only if some group would choose them: in all groups even so.
    steps:   budgets between the cheapest and the dearest uniform allocation that the program is solved for, beside
             the cost of each uniform one.
    """

    problem: Problem
    solve: Solver
    cost: str
    steps: int = 16
    _worth: Problem = field(init=False, repr=False)
    _programs: list[Candidate] = field(default_factory=list, repr=False)
    _solved: Iterator[Candidate] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._worth = without_dominated(self.problem, self.cost)

    def propose(self, measured: Sequence[Point], pending: Sequence[Candidate]) -> Candidate | None:
        """The next candidate that is neither measured nor pending; None if there is none for now."""
        known = [*(point.candidate for point in measured), *pending]
        keys, names = {one.key for one in known}, {one.name for one in known}
        for source in (self.anchors(), self.programs(), self.swaps(measured)):
            for found in source:
                if found.key not in keys:
                    # A budget has its name from before, if losses have been measured anew since.
                    return found if found.name not in names else replace(found, name=f"{found.name}-{found.key}")
        return None

    def anchors(self) -> Iterator[Candidate]:
        """Uniform allocations, of every width that is worth it for a group with a choice.

        Where some group may not have that width, or what it would lose is not known, it has the next one that it may,
        and the allocation is none that one width says.
        """
        legal = {bits for group in self._worth.groups if len(group.widths) > 1 for bits in group.widths}
        for bits in [one for one in ANCHORS if one in legal]:
            chosen = uniform(self.problem, bits)
            if self.problem.allows(chosen):
                free = (group.name for group in self.problem.groups if not (group.settled or group.is_edge))
                said = bits if all(chosen[name] == bits for name in free) else None
                yield Candidate(f"uniform-{bits}", UNIFORM, self.problem.allocation(chosen), said)

    def programs(self) -> Iterator[Candidate]:
        """What the program chooses at the cost of each uniform allocation, then at budgets in between.

        First for a little more than the cheapest uniform one, which leaves nothing to choose: where bits are few, some
        layers lose so much more than others that a few bytes for these win most of what there is to win.

        At the cost of a uniform one with every floor that changes anything (see allocation/floors.py): of these, one is
        nearer to the float network than the uniform one, or that one is.
        """
        yield from self._programs
        self._solved = self._solved or self._solutions()
        for candidate in self._solved:
            self._programs.append(candidate)
            yield candidate

    def _solutions(self) -> Iterator[Candidate]:
        cost = self.problem.costs[self.cost]
        costs = sorted({cost.at(bits_of(self.problem, anchor.allocation)) for anchor in self.anchors()})
        if costs:
            budget = costs[0] * (1 + LITTLE)
            found = self.solve(self._within(budget))
            if found is not None:
                yield Candidate(self._called(budget), PROGRAM, found.allocation)
        for budget in costs:
            for index, (floor, solution) in enumerate(floors(self._within(budget), self.solve)):
                name = self._called(budget) + (f"-from-{floor}" if index else "")
                yield Candidate(name, PROGRAM, solution.allocation)
        for budget in between(costs, self.steps):
            found = self.solve(self._within(budget))
            if found is not None:
                yield Candidate(self._called(budget), PROGRAM, found.allocation)

    def _within(self, budget: float) -> Problem:
        """The problem with a limit of the cost: what is estimated is to come out no dearer than that."""
        kept = budget * (1 - RESERVE.get(self.cost, 0.0))
        return replace(self._worth, limits={**self.problem.limits, self.cost: kept})

    def _called(self, budget: float) -> str:
        return f"{self.cost}-{budget if budget < 100 else round(budget):.10g}"

    def swaps(self, measured: Sequence[Point]) -> Iterator[Candidate]:
        """Neighbours of the best points, for no more than they cost: those of least predicted loss first.

        The best are those that come nearest to the float network for what they cost, which takes no evaluation data;
        without calibration data, those on the front. They take turns, so that no stretch of costs gets all attention.
        """
        best = front([point.by_nearness() for point in measured], self.cost)
        turns = [self._neighbours(point) for point in best]
        while turns:
            still = []
            for turn in turns:
                candidate = next(turn, None)
                if candidate is not None:
                    still.append(turn)
                    yield candidate
            turns = still

    def _neighbours(self, point: Point) -> Iterator[Candidate]:
        """One group a step up and another a step down, at no more than the cost of the point.

        In the order of what the two steps change in the predicted loss, each taken by itself. Widths of the point that
        are dominated are those that dominate them first.
        """
        held = bits_of(self.problem, point.candidate.allocation)
        bits = raised(self._worth, held)
        cost, loss = self.problem.costs[self.cost], self.problem.costs[LOSS]
        budget, base = cost.at(held), loss.at(bits)
        wider, narrower = (dict(self._steps(bits, way)) for way in (1, -1))
        gains = {name: loss.at({**bits, name: width}) - base for name, width in wider.items()}
        harms = {name: loss.at({**bits, name: width}) - base for name, width in narrower.items()}
        pairs = [(gains[up] + harms[down], up, down) for up in gains for down in harms if up != down]
        for _, up, down in sorted(pairs):
            moved = {**bits, up: wider[up], down: narrower[down]}
            if within(cost.at(moved), budget) and self.problem.allows(moved):
                allocation = self.problem.allocation(moved)
                yield Candidate(f"swap-{key_of(allocation)}", SWAP, allocation)

    def _steps(self, bits: Bits, direction: int) -> Iterator[tuple[str, float]]:
        """Of each group that has one, the next wider (1) or narrower (-1) width."""
        for group in self._worth.groups:
            place = group.widths.index(bits[group.name]) + direction
            if 0 <= place < len(group.widths):
                yield group.name, group.widths[place]


def uniform(problem: Problem, bits: float) -> Bits:
    """The same width everywhere; a group that may not have it gets the next wider, or else its widest."""
    return raised(problem, {group.name: bits for group in problem.groups})


def raised(problem: Problem, bits: Bits) -> Bits:
    """These widths; a group that may not have its own gets the next wider, or else its widest."""
    return {
        group.name: next((one for one in group.widths if one >= bits[group.name]), group.widths[-1])
        for group in problem.groups
    }


def bits_of(problem: Problem, allocation: Allocation) -> dict[str, float]:
    """The width of each group in an allocation; of a settled group, the one it has."""
    named = {**allocation.weights, **allocation.activations}
    return {group.name: named.get(group.name, group.widths[-1]) for group in problem.groups}


def between(costs: Sequence[float], steps: int) -> Iterator[float]:
    """Budgets from the least to the greatest of ascending costs, evenly spread in ratio."""
    if costs and costs[0] > 0:
        ratio = costs[-1] / costs[0]
        for place in spread(steps):
            budget = costs[0] * ratio**place
            # Bytes and cycles are whole; mean bits are small numbers that are not.
            yield budget if budget < 100 else float(int(budget))


def spread(steps: int) -> list[float]:
    """`steps` places between 0 and 1 of which every beginning is spread out: van der Corput's sequence.

    The binary digits of 1, 2, 3, ... mirrored at the point (J. G. van der Corput, Verteilungsfunktionen I, 1935).
    """
    return [
        sum((index >> digit & 1) / 2 ** (digit + 1) for digit in range(index.bit_length()))
        for index in range(1, steps + 1)
    ]
