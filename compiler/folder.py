"""An output folder that is there whole or not at all, whenever the process that writes it is stopped.

Files are written into a hidden sibling, which takes the folder's name when all of them are on the disk. The
sibling is locked for as long as its process lives, so that what a killed one left behind is told from what a
living one is writing, and is removed by the next.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from bitsmith.disk import DISK
from bitsmith.errors import ArtifactError
from bitsmith.manifest import BUILD, MANIFEST, files, flush, part_name, read_manifest

_NO_LOCKS = {errno.ENOLCK, errno.EBADF, errno.EINVAL, errno.EOPNOTSUPP}


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """Yield a hidden folder beside `out` to write into. When the block ends well it takes the place of `out`.

    Whatever stops the block, an exception or a signal, `out` stays what it was. Raises ArtifactError for a
    place that cannot be written to, and for an `out` whose contents bitsmith did not write.
    """
    shown, out = out, Path(os.path.realpath(out))
    refuse_to_replace(out, shown)
    with _disk_errors(shown), ExitStack() as stack:
        stack.enter_context(_parents(out))
        _remove_stale(out)
        folder = stack.enter_context(_hidden(out))
        yield folder
        refuse_to_replace(out, shown)
        for path in files(folder):
            flush(path)
        _take_place(folder, out)


def _take_place(folder: Path, out: Path) -> None:
    """Give `folder` the name `out`. An older folder of that name is put aside whole, and removed afterwards."""
    while not _renamed(folder, out):
        with _hidden(out) as aside:
            # Another compile into the same place may have put it aside just now.
            with suppress(FileNotFoundError):
                out.rename(aside / "old")
            try:
                if _renamed(folder, out):
                    return
            except BaseException:
                (aside / "old").rename(out)
                raise


def _renamed(folder: Path, out: Path) -> bool:
    """Give `folder` the name `out`; False if a folder with something in it has that name."""
    try:
        folder.rename(out)
    except OSError as reason:
        if reason.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def refuse_to_replace(out: Path, shown: Path | None = None) -> None:
    """Raise ArtifactError unless `out` is absent, empty, or a folder with nothing but what bitsmith wrote."""
    where = str(shown or out)
    try:
        for place in (out, *out.parents):
            if place.exists() and not place.is_dir():
                raise ArtifactError(
                    "is a file" if place == out else f"{place} is a file", where=where, fix="Name a folder."
                )
        if not out.exists():
            return
        if out == Path.cwd() or out in Path.cwd().parents:
            raise ArtifactError("is the current folder, or holds it", where=where, fix="Name a folder in it.")
        strangers = sorted(_strangers(out))
    except OSError as reason:
        raise ArtifactError(f"cannot be read: {reason.strerror}", where=where) from reason
    if strangers:
        raise ArtifactError(
            f"holds what bitsmith did not write: {', '.join(strangers[:3])}{', ...' * (len(strangers) > 3)}",
            where=where,
            fix="Name another folder, or move those files away.",
        )


def _strangers(folder: Path) -> set[str]:
    """What is in a folder but not in its manifest, nor built of what is: everything, if it has none."""
    try:
        listed = {*read_manifest(folder)["files"], MANIFEST}
    except ArtifactError:
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    found = [
        *files(folder),
        *(path for path in folder.rglob("*") if path.is_dir() and not any(path.iterdir())),
    ]
    named = {relative.as_posix() for path in found if BUILD not in (relative := path.relative_to(folder)).parts}
    return named - listed - set(map(part_name, listed))


def _hidden_name(out: Path) -> str:
    return f".{out.name}.bitsmith-"


@contextmanager
def _hidden(out: Path) -> Iterator[Path]:
    """A new, locked, hidden folder beside `out`, removed at the end if it is still there under its name."""
    folder = out.with_name(_hidden_name(out) + secrets.token_hex(4))
    locks: list[int] = []
    # From before it is made, or an interrupt right behind mkdir would leave it.
    try:
        while not _claimed(folder, locks):
            pass
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for lock in locks:
            os.close(lock)


def _claimed(folder: Path, locks: list[int]) -> bool:
    """Make a folder and lock it; False if another process took it for a dead one's in between and removed it."""
    folder.mkdir(exist_ok=True)
    try:
        lock = _lock(folder)
    except (BlockingIOError, FileNotFoundError):
        return False
    if lock is not None:
        locks.append(lock)
    return folder.is_dir()


def _lock(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock while it is open; None on a disk that knows no locks.

    Raises BlockingIOError if another process holds it, FileNotFoundError if the folder has gone.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException as reason:
        os.close(descriptor)
        if isinstance(reason, OSError) and reason.errno in _NO_LOCKS:
            return None
        raise
    return descriptor


def _remove_stale(out: Path) -> None:
    """Remove the hidden folders that processes which no longer live left beside `out`."""
    for name in glob.glob(glob.escape(_hidden_name(out)) + "*", root_dir=out.parent, include_hidden=True):
        # One that is locked has a living owner; one that is gone, or someone else's, is not ours to remove.
        with suppress(OSError):
            lock = _lock(out.with_name(name))
            if lock is not None:
                shutil.rmtree(out.with_name(name), ignore_errors=True)
                os.close(lock)


@contextmanager
def _parents(out: Path) -> Iterator[None]:
    """Make the folders above `out`; if the block fails, remove those that were made and are empty."""
    made = [parent for parent in out.parents if not parent.exists()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with suppress(OSError):
            for parent in made:
                if parent.exists():
                    parent.rmdir()
        raise


@contextmanager
def _disk_errors(out: Path) -> Iterator[None]:
    """Tell what the disk refuses as an error of the user's output folder."""
    try:
        yield
    except OSError as reason:
        hidden = _hidden_name(Path(os.path.realpath(out)))
        ours = any(hidden in str(name) for name in (reason.filename, reason.filename2) if name)
        if not ours and reason.errno not in DISK and reason.filename not in _above(out):
            raise
        raise ArtifactError(
            f"cannot be written: {reason.strerror}",
            where=str(out),
            fix="Check the path, its permissions and the space on its disk.",
        ) from reason


def _above(out: Path) -> set[str]:
    path = Path(os.path.realpath(out))
    return {str(path), *map(str, path.parents)}
