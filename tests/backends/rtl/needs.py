"""What tests do where a simulator is not installed."""

from __future__ import annotations

import pytest

from bitsmith.backends.rtl.capabilities import INSTALL
from bitsmith.backends.rtl.simulate import verilator
from tests.conftest import IN_CI


def require_verilator() -> None:
    """Skip the test for want of Verilator; in CI fail it, since it comes with the packages that tests need."""
    if verilator() is None:
        reason = f"Verilator 5 is not installed: {INSTALL}"
        if IN_CI:
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
