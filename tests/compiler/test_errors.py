"""Errors as they are told, and as they come back from another process."""

import pickle

import pytest

from bitsmith.errors import BitsmithError, DataError, InternalError, UnsupportedError


@pytest.mark.parametrize("kind", [BitsmithError, DataError, InternalError])
def test_an_error_survives_pickle(kind: type[BitsmithError]) -> None:
    made = kind("is empty", where="data.npz", fix="Save samples.")
    read = pickle.loads(pickle.dumps(made))
    assert type(read) is kind
    assert str(read) == str(made) == "data.npz: is empty. Save samples."
    assert read.exit_code == made.exit_code


def test_what_was_found_along_with_an_error_survives_pickle() -> None:
    first, second = (UnsupportedError(f"{op} cannot be done", where=op, fix="Leave it out.") for op in ("If", "Loop"))
    first.each = (first, second)
    told = UnsupportedError("If cannot be done", where="If", fix="1 more.")
    told.each = (first, second)
    for made in (first, told):
        read = pickle.loads(pickle.dumps(made))
        assert [str(one) for one in read.each] == [str(first), str(second)]
    (alone,) = pickle.loads(pickle.dumps(second)).each
    assert str(alone) == str(second)
