"""What every test can ask for: the models, the repository, and one setting of hypothesis."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parents[1]
IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}

# Deadlines measure the machine, not the code. In CI the same examples are tried every time.
settings.register_profile("bitsmith", deadline=None, derandomize=IN_CI, print_blob=True)
settings.load_profile("bitsmith")

# A shell that starts tests in the background lets them ignore interrupts, and whatever they start inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def absent(path: Path) -> NoReturn:
    """Skip the test for want of `path`; in CI fail it, or a whole suite could pass without having run."""
    reason = f"{path} is absent: set BITSMITH_MODELS to the folder of shared models"
    if IN_CI:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root folder of the sources."""
    return REPOSITORY


@pytest.fixture(scope="session")
def digits() -> Path:
    """The folder of the digits model, which is in the repository and so always there."""
    return REPOSITORY / "models" / "digits"


@pytest.fixture(scope="session")
def models() -> Path:
    """The folder of shared models: BITSMITH_MODELS, or ../shared/models beside the repository."""
    folder = Path(os.environ.get("BITSMITH_MODELS") or REPOSITORY.parent / "shared" / "models")
    if not folder.is_dir():
        absent(folder)
    return folder


@pytest.fixture(scope="session")
def model_file(models: Path) -> Callable[[str], Path]:
    """A function from the name of a file in the folder of shared models to its path; the file exists."""

    def find(name: str) -> Path:
        path = models / name
        return path if path.is_file() else absent(path)

    return find
