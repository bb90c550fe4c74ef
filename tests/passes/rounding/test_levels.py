"""Which integers weights may be."""

import numpy as np
import pytest

from bitsmith.ir.formats import Format, holding
from bitsmith.ir.grids import offset
from bitsmith.passes.rounding.levels import Interval, Listed, levels_of


@pytest.mark.parametrize("upward", [False, True])
def test_neighbouring_integers_that_all_channels_share_are_an_interval(upward: bool) -> None:
    grid = offset(2, (upward,))
    found = levels_of(Format(holding(grid.lowest, grid.highest), (0.5,), grid=grid), (1, 3, 200))
    assert isinstance(found, Interval)
    steps = np.linspace(-4, 4, 600).reshape(1, 3, 200)
    listed = Listed(np.array(grid.rows[0], np.float64))
    np.testing.assert_array_equal(found.nearest(steps), listed.nearest(steps))
    np.testing.assert_array_equal(found.around(steps), listed.around(steps))
