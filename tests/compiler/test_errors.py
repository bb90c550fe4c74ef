"""Errors as they are told, and as they come back from another process."""

import pickle

import pytest

from bitsmith.errors import BitsmithError, DataError, InternalError


@pytest.mark.parametrize("kind", [BitsmithError, DataError, InternalError])
def test_an_error_survives_pickle(kind: type[BitsmithError]) -> None:
    made = kind("is empty", where="data.npz", fix="Save samples.")
    read = pickle.loads(pickle.dumps(made))
    assert type(read) is kind
    assert str(read) == str(made) == "data.npz: is empty. Save samples."
    assert read.exit_code == made.exit_code
