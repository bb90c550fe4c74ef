"""An allocation as a mixed integer linear program, solved by HiGHS.

(Huangfu and Hall 2018, doi:10.1007/s12532-017-0130-5.)

One binary x[g, b] for each group g and width b, one of which is 1 in each group (Hubara et al. 2020, arXiv:2006.10518,
section 3.3). What depends on two groups at once, as the work of a layer does, asks for their products: z[g, b, h, c]
with sum_c z = x[g, b] and sum_b z = x[h, c], which is as tight as a linear relaxation of a product can be. What is
spent once by any of some choices is a variable above each of theirs, and a peak that is minimised one above all of its
rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from bitsmith.allocation.core import Answer, Integers, Reals, minimise
from bitsmith.allocation.problem import Cost, Problem, Row, Solution, Users, within
from bitsmith.errors import InternalError

SECONDS = 30.0
"""After which the best allocation so far is taken."""

SPREAD = 1e4
"""What the objective is scaled to, from its best to its worst: HiGHS stops at an absolute gap of 1e-6."""

TIGHTEN = 4
"""Times that a limit is tightened where HiGHS' tolerance let it be exceeded."""

Key = tuple[str, float] | tuple[str, float, str, float] | Users | None
"""What a column stands for: a choice, a product of two choices, whether any of some choices is made, or, as None, the
peak that is minimised.
"""


@dataclass
class _Linear:
    """constant + sum of coefficients of columns."""

    constant: float = 0.0
    terms: dict[Key, float] = field(default_factory=dict)

    def add(self, key: Key, value: float) -> None:
        self.terms[key] = self.terms.get(key, 0.0) + value

    def scaled(self, factor: float) -> dict[Key, float]:
        return {key: value * factor for key, value in self.terms.items()}

    @property
    def spread(self) -> float:
        """From the smallest value to the largest, at most."""
        return sum(map(abs, self.terms.values()))


def solve(problem: Problem, seconds: float = SECONDS) -> Solution | None:
    """The best widths; None where none keep to all limits and vetoes.

    The costs of what is returned are exact, and within all limits. If time is up, what was best so far is returned.
    """
    limits = dict(problem.limits)
    for _ in range(TIGHTEN):
        program = _Program(problem, limits)
        answer = program.run(seconds)
        if answer is None:
            return None
        bits = program.bits(answer.x)
        over = {name: problem.costs[name].at(bits) for name, limit in problem.limits.items()}
        over = {name: cost for name, cost in over.items() if not within(cost, problem.limits[name])}
        if not over:
            return Solution(
                bits,
                problem.allocation(bits),
                problem.costs_at(bits),
                dict(problem.limits),
                problem.minimise,
                "optimal" if answer.proven else "time limit",
                answer.gap,
            )
        for name, cost in over.items():
            limits[name] -= 2 * (cost - problem.limits[name])
    raise InternalError(f"the solver exceeds {', '.join(over)} time and again")


class _Program:
    """The variables, rows and bounds of a problem's program."""

    def __init__(self, problem: Problem, limits: Mapping[str, float]) -> None:
        self._problem = problem
        self._widths = {group.name: group.widths for group in problem.groups}
        self._columns: dict[Key, int] = {}
        self._rows: list[tuple[dict[int, float], float, float]] = []
        self._impossible = False
        for group in problem.groups:
            if len(group.widths) > 1:
                for bits in group.widths:
                    self._column((group.name, bits))
                self._row(_sum((group.name, bits) for bits in group.widths), 1.0, 1.0)
        self._veto()
        for name, limit in limits.items():
            for row in self._problem.costs[name].rows:
                self._limit(self._linear(row), limit)
        self._objective = self._minimised(problem.costs[problem.minimise])

    def run(self, seconds: float) -> Answer | None:
        """Solve it; None where there is no solution."""
        if self._impossible:
            return None
        if not self._columns:
            return Answer(np.zeros(0), proven=True, gap=0.0)
        return minimise(self._integers(), seconds)

    def bits(self, x: Reals) -> dict[str, float]:
        """The width of each group by the values of all variables."""
        return {
            name: max(widths, key=lambda bits: x[self._columns[name, bits]]) if len(widths) > 1 else widths[0]
            for name, widths in self._widths.items()
        }

    def _column(self, key: Key) -> int:
        return self._columns.setdefault(key, len(self._columns))

    def _row(self, terms: Mapping[Key, float], lowest: float, highest: float) -> None:
        self._rows.append(({self._column(key): value for key, value in terms.items()}, lowest, highest))

    def _limit(self, linear: _Linear, limit: float) -> None:
        """linear <= limit, in units of the limit, so that tolerances are relative."""
        if not linear.terms:
            self._impossible |= not within(linear.constant, limit)
            return
        unit = max(map(abs, linear.terms.values())) or 1.0
        self._row(linear.scaled(1 / unit), -np.inf, (limit - linear.constant) / unit)

    def _minimised(self, cost: Cost) -> dict[int, float]:
        """The objective by column: of one row, or of the variable above several."""
        rows = [self._linear(row) for row in cost.rows]
        if len(rows) == 1:
            scaled = rows[0].scaled(SPREAD / (rows[0].spread or 1.0))
            return {self._column(key): value for key, value in scaled.items()}
        unit = max(abs(row.constant) + row.spread for row in rows) or 1.0
        for row in rows:
            self._row({**row.scaled(1 / unit), None: -1.0}, -np.inf, -row.constant / unit)
        return {self._column(None): SPREAD}

    def _linear(self, row: Row) -> _Linear:
        """A row over choices and products that are open; what is settled is a constant or a choice."""
        found = _Linear(row.constant)
        for group, terms in row.singles.items():
            for bits in self._widths[group]:
                self._add(found, group, bits, terms[bits])
        for (one, other), both in row.pairs.items():
            for bits, more in itertools.product(self._widths[one], self._widths[other]):
                value = both[bits, more]
                if one == other or len(self._widths[one]) == 1:
                    if one != other or bits == more:
                        self._add(found, other, more, value)
                elif len(self._widths[other]) == 1:
                    self._add(found, one, bits, value)
                else:
                    self._tie(one, other)
                    found.add((one, bits, other, more), value)
        for users, spent in row.once.items():
            self._add_once(found, users, spent)
        return found

    def _add_once(self, linear: _Linear, users: Users, spent: float) -> None:
        choices = frozenset((group, bits) for group, bits in users if bits in self._widths[group])
        if any(len(self._widths[group]) == 1 for group, _ in choices):
            linear.constant += spent
        elif choices:
            if choices not in self._columns:
                for choice in sorted(choices):
                    self._row({choice: 1.0, choices: -1.0}, -np.inf, 0.0)
            linear.add(choices, spent)

    def _add(self, linear: _Linear, group: str, bits: float, value: float) -> None:
        if len(self._widths[group]) == 1:
            linear.constant += value
        else:
            linear.add((group, bits), value)

    def _tie(self, one: str, other: str) -> None:
        """Make the products of two groups what they are, once."""
        widths, more = self._widths[one], self._widths[other]
        if (one, widths[0], other, more[0]) in self._columns:
            return
        for bits in widths:
            self._row({(one, bits): -1.0, **_sum((one, bits, other, width) for width in more)}, 0.0, 0.0)
        for width in more:
            self._row({(other, width): -1.0, **_sum((one, bits, other, width) for bits in widths)}, 0.0, 0.0)

    def _veto(self) -> None:
        """x[g, b] + sum of x[h, c] that b does not go with <= 1."""
        for (one, other), pairs in self._problem.vetoes.items():
            for bits in self._widths[one]:
                against = [more for more in self._widths[other] if (bits, more) in pairs]
                if not against:
                    continue
                linear = _Linear()
                self._add(linear, one, bits, 1.0)
                for more in against:
                    self._add(linear, other, more, 1.0)
                self._limit(linear, 1.0)

    def _integers(self) -> Integers:
        """The program as arrays."""
        from scipy.sparse import csr_array

        cost = np.zeros(len(self._columns))
        for column, coefficient in self._objective.items():
            cost[column] = coefficient
        places = [(row, column) for row, (terms, _, _) in enumerate(self._rows) for column in terms]
        values = np.array([value for terms, _, _ in self._rows for value in terms.values()], dtype=np.float64)
        rows, columns = np.array(places, dtype=np.int64).reshape(-1, 2).T
        return Integers(
            cost,
            csr_array((values, (rows, columns)), shape=(len(self._rows), len(self._columns))),
            np.array([low for _, low, _ in self._rows]),
            np.array([high for _, _, high in self._rows]),
            np.array([key is not None for key in self._columns]),
        )


def _sum(keys: Iterable[Key]) -> dict[Key, float]:
    return dict.fromkeys(keys, 1.0)
