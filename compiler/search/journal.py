"""Points on disk: a line each, as soon as it is measured, so that a search that is killed loses none.

The first line says what was searched. A last line that a kill cut short is dropped when the file is opened again.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bitsmith.allocation.problem import Problem
from bitsmith.errors import ArtifactError, PipelineError
from bitsmith.search.point import Point
from bitsmith.search.strategy import bits_of

POINTS = "points.jsonl"
FORMAT = "bitsmith search 2"

_NO_LOCKS = {errno.ENOLCK, errno.EBADF, errno.EINVAL, errno.EOPNOTSUPP}


class Journal:
    """The points of one search in a folder; one process at a time.

    subject: what is searched, by name: digests of the model and the data, the target, the recipe. A folder whose
             search was of something else is refused, if it came to any point.
    is_new:  whether nothing was known of this search before.
    Raises ArtifactError for that, for a folder that another search is writing to, and for a damaged file.
    """

    def __init__(self, folder: Path, subject: Mapping[str, Any]) -> None:
        self.path = folder / POINTS
        self.points: list[Point] = []
        self.is_new = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b")
        except OSError as reason:
            raise ArtifactError(
                f"cannot be written: {reason.strerror}", where=str(self.path), fix="Check the path and its permissions."
            ) from reason
        try:
            self._lock()
            self._read(dict(subject))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, point: Point) -> None:
        """Keep a point; when this returns it is on the disk."""
        self._append(point.to_json())
        self.points.append(point)

    def _append(self, value: Mapping[str, Any]) -> None:
        try:
            self._file.write(json.dumps(value, allow_nan=False).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as reason:
            raise ArtifactError(f"cannot be written: {reason.strerror}", where=str(self.path)) from reason

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as reason:
            if isinstance(reason, BlockingIOError):
                raise ArtifactError(
                    "another search is writing to this folder", where=str(self.path), fix="Wait, or name another."
                ) from reason
            if reason.errno not in _NO_LOCKS:
                raise

    def _read(self, subject: dict[str, Any]) -> None:
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            self._file.truncate(len(whole))
        lines = whole.splitlines()
        head = self._parsed(1, lines[0]) if lines else None
        wanted = {"format": FORMAT, "subject": json.loads(json.dumps(subject))}
        if head is None or (len(lines) == 1 and head != wanted and head.get("format") == FORMAT):
            self.is_new = True
            self._file.truncate(0)
            self._append(wanted)
            return
        self._require_same(head, wanted["subject"])
        for number, line in enumerate(lines[1:], start=2):
            try:
                point = Point.from_json(self._parsed(number, line))
            except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, PipelineError) as reason:
                raise self._damaged(number) from reason
            if any(point.name == other.name or point.samples != other.samples for other in self.points):
                raise self._damaged(number)
            self.points.append(point)

    def require_known(self, problem: Problem, cost: str) -> None:
        """Raise ArtifactError for a point that a search of this problem could not have come to."""
        for number, point in enumerate(self.points, start=2):
            bits = bits_of(problem, point.candidate.allocation)
            if cost not in point.costs or any(bits[group.name] not in group.widths for group in problem.groups):
                raise self._damaged(number)

    def _parsed(self, number: int, line: bytes) -> dict[str, Any]:
        with suppress(ValueError, RecursionError):
            value = json.loads(line)
            if isinstance(value, dict):
                return value
        raise self._damaged(number)

    def _require_same(self, head: Mapping[str, Any], subject: Mapping[str, Any]) -> None:
        before = head.get("subject")
        if head.get("format") != FORMAT or not isinstance(before, dict):
            raise self._damaged(1)
        other = sorted(name for name in {*before, *subject} if before.get(name) != subject.get(name))
        if other:
            raise ArtifactError(
                f"holds a search with another {' and another '.join(other)}",
                where=str(self.path.parent),
                fix="Name another folder with -o, or repeat that search's options to go on with it.",
            )

    def _damaged(self, number: int) -> ArtifactError:
        return ArtifactError(
            f"line {number} is no point of a search", where=str(self.path), fix="Remove the line, or the file."
        )
