"""What is fuzzed, and the one promise that all of it is held to: a BitsmithError comes out, or success."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType

from bitsmith.errors import BitsmithError, InternalError

OURS = re.compile("/(bitsmith|compiler|passes|backends)/")
"""In the path of a source file of bitsmith, installed or in place."""

SECONDS = 20
"""Of this process's own time that one input may take; the machine may be busy with something else."""


@dataclass(frozen=True)
class FuzzTarget:
    """One way in for bytes that a user may give.

    seeds:  well-formed inputs to start from.
    run:    does what a command would do with them; raises a BitsmithError for what it refuses.
    mutate: another input, made from one by a few changes that keep its structure more often than not.
    """

    seeds: Callable[[], Iterable[bytes]]
    run: Callable[[bytes], None]
    mutate: Callable[[bytes, Random], bytes]


@dataclass(frozen=True)
class Finding:
    """A broken promise. key: of the fault and the place in bitsmith that it came through, to tell it from others."""

    key: str
    told: str


def every(*steps: Callable[[], object]) -> None:
    """Do each of them, whatever becomes of the others; raises what is no refusal before what is one."""
    faults: list[Exception] = []
    for step in steps:
        try:
            step()
        except Exception as fault:  # noqa: BLE001  raised below, when every step has had its turn
            faults.append(fault)
    for fault in sorted(faults, key=lambda one: isinstance(one, BitsmithError) and not isinstance(one, InternalError)):
        raise fault


class TooSlow(BaseException):
    """The time for one input is over. No Exception, or code that catches those would go on."""


def attempt(target: FuzzTarget, given: bytes) -> Finding | None:
    """Run one input; None where the promise was kept."""
    try:
        with _time_limit(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            target.run(given)
    except InternalError as fault:
        return _finding(fault)
    except BitsmithError as refusal:
        if not str(refusal).strip():
            return _finding(refusal)
    except (Exception, TooSlow, SystemExit) as fault:  # noqa: BLE001  whatever else comes out is the finding
        return _finding(fault)
    return None


def save(finding: Finding, given: bytes, folder: Path) -> None:
    """Keep the traceback of a finding, and the smallest input that showed it."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / finding.key
    if not place.exists() or len(given) < place.stat().st_size:
        place.write_bytes(given)
        place.with_name(f"{finding.key}.txt").write_text(finding.told, encoding="utf-8", errors="backslashreplace")


def _finding(fault: BaseException) -> Finding:
    frames = traceback.extract_tb(fault.__traceback__)
    ours = [frame for frame in frames if OURS.search(frame.filename)]
    last = (ours or frames)[-1]
    place = f"{Path(last.filename).stem}.{last.name}"
    kind = type(fault).__name__
    told = "".join(traceback.format_exception(fault))
    mark = hashlib.sha256(f"{kind} {place} {frames[-1].filename} {frames[-1].name}".encode()).hexdigest()[:6]
    return Finding(f"{kind}-{place}-{mark}".replace("<", "").replace(">", ""), told)


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
