"""No test of ONNX's own compiles to something else than what it says, or ends in a traceback."""

import pytest

from tests.integration.onnx_node_tests import FORMS, Verdict, cases, outcome

PARTS = 8


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("ignore")
def test_each_compiles_and_agrees_or_is_refused_by_name(form: str, part: int) -> None:
    outcomes = [outcome(folder, form) for folder in cases()[part::PARTS]]
    assert [one for one in outcomes if one.verdict is Verdict.DISAGREES] == []
    assert all(one.text for one in outcomes if one.verdict is Verdict.REFUSED)
    assert [one for one in outcomes if one.verdict is Verdict.AGREES] != []
