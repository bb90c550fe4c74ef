"""What is said of budgets that a compiled model does not keep."""

from __future__ import annotations

import pytest

from bitsmith.allocation.measured import require_within
from bitsmith.errors import BudgetError

FEWER, TERNARY, MEMORY, ROUNDING = "Give fewer bits", "Weights are ternary already", "RAM is what", "learned rounding"
LIMITS = {"flash": 100.0, "ram": 100.0, "mean-weight-bits": 3.0, "luts": 100.0}


@pytest.mark.parametrize(
    ("bits", "over", "advice"),
    [
        (8.0, ["flash"], [FEWER]),
        (8.0, ["ram"], [MEMORY]),
        (8.0, ["flash", "ram"], [FEWER, MEMORY]),
        (1.6, ["flash"], [TERNARY]),
        (1.6, ["ram"], [MEMORY]),
        (1.6, ["flash", "ram"], [TERNARY, MEMORY]),
        (2.0, ["flash"], [FEWER]),
        (8.0, ["mean-weight-bits"], [FEWER]),
        (1.6, ["luts"], [FEWER, ROUNDING]),
        # A model without weights.
        (0.0, ["flash"], [FEWER]),
    ],
)
def test_advice_is_about_what_is_over(bits: float, over: list[str], advice: list[str]) -> None:
    costs = {"flash": 50.0, "ram": 50.0, "mean-weight-bits": bits, "luts": 50.0}
    costs |= {name: max(costs[name], 101.0) for name in over if name != "mean-weight-bits"}
    with pytest.raises(BudgetError) as caught:
        require_within(costs, LIMITS if "mean-weight-bits" in over else {**LIMITS, "mean-weight-bits": 9.0})
    assert [one for one in (FEWER, TERNARY, MEMORY, ROUNDING) if one in str(caught.value)] == advice
    assert "  " not in str(caught.value)
