"""The output folder: whole or not at all, and never over what bitsmith did not write."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from bitsmith.errors import ArtifactError
from bitsmith.folder import replacing
from bitsmith.manifest import FORMAT, file_hashes, file_sha256, read_manifest, write_manifest
from tests.conftest import REPOSITORY


def write(folder: Path, text: str) -> None:
    """What a compile leaves, in small."""
    (folder / "inner").mkdir(exist_ok=True)
    (folder / "inner" / "a.txt").write_text(text)
    target = {"backend": "onnxruntime"}
    write_manifest(folder, {"format": FORMAT, "target": target, "files": file_hashes(folder)})


def compile_into(out: Path, text: str) -> None:
    with replacing(out) as folder:
        write(folder, text)


def test_a_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    compile_into(out, "one")
    assert (out / "inner" / "a.txt").read_text() == "one"
    assert os.listdir(out.parent) == ["out"]


def test_an_older_output_is_replaced_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with replacing(out) as folder:
        (folder / "gone.txt").write_text("old")
        write(folder, "one")
    compile_into(out, "two")
    assert sorted(path.name for path in out.rglob("*")) == ["a.txt", "inner", "manifest.json"]
    assert (out / "inner" / "a.txt").read_text() == "two"
    assert os.listdir(tmp_path) == ["out"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    compile_into(out, "one")
    assert (out / "manifest.json").is_file()


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    compile_into(tmp_path / "out", "one")
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "real" / "manifest.json").is_file()


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt, ArtifactError])
def test_a_failure_leaves_nothing(tmp_path: Path, stop: type[BaseException]) -> None:
    def fail() -> None:
        with replacing(tmp_path / "deep" / "out") as folder:
            write(folder, "one")
            raise stop("stop")

    with pytest.raises(stop):
        fail()
    assert os.listdir(tmp_path) == []


def test_a_failure_leaves_the_older_output(tmp_path: Path) -> None:
    out = tmp_path / "out"
    compile_into(out, "one")

    def fail() -> None:
        with replacing(out) as folder:
            write(folder, "two")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (out / "inner" / "a.txt").read_text() == "one"
    assert os.listdir(tmp_path) == ["out"]


def test_files_of_others_are_never_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years")
    with pytest.raises(ArtifactError, match=r"out: holds what bitsmith did not write: thesis\.tex\. Name another"):
        compile_into(out, "one")
    assert os.listdir(out) == ["thesis.tex"]


def test_files_added_to_an_output_are_never_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    compile_into(out, "one")
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match=r"did not write: notes\.txt"):
        compile_into(out, "two")
    assert (out / "inner" / "a.txt").read_text() == "one"


def test_what_is_built_of_an_output_is_neither_of_it_nor_in_the_way(tmp_path: Path) -> None:
    out = tmp_path / "out"
    compile_into(out, "one")
    whole = file_hashes(out)
    (out / "inner" / "build" / "deep").mkdir(parents=True)
    (out / "inner" / "build" / "deep" / "a.o").write_text("built")
    (out / "inner" / "build" / "empty").mkdir()
    assert file_hashes(out) == whole
    compile_into(out, "two")
    assert (out / "inner" / "a.txt").read_text() == "two"
    assert not (out / "inner" / "build").exists()


def test_a_build_folder_in_what_is_no_output_is_never_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "build").mkdir(parents=True)
    (out / "build" / "thesis.pdf").write_text("years")
    with pytest.raises(ArtifactError, match=r"did not write: build, build/thesis\.pdf"):
        compile_into(out, "one")
    assert (out / "build" / "thesis.pdf").read_text() == "years"


def test_a_link_in_an_output_is_told_from_the_file_and_is_hashed_as_it_anywhere_else(tmp_path: Path) -> None:
    compile_into(tmp_path / "out", "one")
    file, link = tmp_path / "out" / "inner" / "a.txt", tmp_path / "link.txt"
    link.symlink_to(file)
    assert file_sha256(link) == file_hashes(tmp_path / "out")["inner/a.txt"]
    moved = file.rename(tmp_path / "moved.txt")
    file.symlink_to(moved)
    assert file_hashes(tmp_path / "out")["inner/a.txt"].startswith("not a file but of mode 12")


def test_a_file_that_appears_during_the_compile_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def race() -> None:
        with replacing(out) as folder:
            write(folder, "one")
            out.mkdir()
            (out / "notes.txt").write_text("mine")

    with pytest.raises(ArtifactError, match=r"did not write: notes\.txt"):
        race()
    assert os.listdir(tmp_path) == ["out"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("mine")
    with pytest.raises(ArtifactError, match="out: is a file"):
        compile_into(out, "one")
    with pytest.raises(ArtifactError, match=r"out/in: .*out is a file"):
        compile_into(out / "in", "one")
    assert out.read_text() == "mine"


def test_the_current_folder_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactError, match="is the current folder"):
        compile_into(Path(), "one")


def test_a_place_that_cannot_be_written_to_is_told() -> None:
    # /proc takes no folders, not even from root.
    if not Path("/proc/self").exists():
        pytest.skip("there is no /proc")
    with pytest.raises(ArtifactError, match=r"/proc/out: cannot be written: .*Check the path"):
        compile_into(Path("/proc/out"), "one")


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    script = """
        import resource, sys
        from pathlib import Path
        from bitsmith.errors import ArtifactError
        from bitsmith.folder import replacing
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            with replacing(Path(sys.argv[1])) as folder:
                (folder / "large").write_bytes(bytes(2000))
        except ArtifactError as fault:
            print(fault)
    """
    told = run(script, tmp_path / "out")
    assert told.startswith(f"{tmp_path / 'out'}: cannot be written: File too large.")
    assert os.listdir(tmp_path) == []


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    script = """
        import os, signal, sys
        from pathlib import Path
        from bitsmith.folder import replacing
        with replacing(Path(sys.argv[1])) as folder:
            (folder / "half").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    run(script, tmp_path / "out", code=-signal.SIGKILL)
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".out.bitsmith-")
    shutil.copytree(tmp_path / left, tmp_path / ".other.bitsmith-12345678")
    compile_into(tmp_path / "out", "one")
    assert sorted(os.listdir(tmp_path)) == [".other.bitsmith-12345678", "out"]


@pytest.mark.parametrize("there_before", [False, True])
def test_a_kill_before_any_step_leaves_the_old_or_the_new(tmp_path: Path, there_before: bool) -> None:
    """Killed before its first change to the disk, before its second, and so on, until it gets to the end."""
    script = """
        import os, signal, sys
        from pathlib import Path
        from tests.compiler.test_folder import compile_into
        left = int(sys.argv[2])
        def watch(event, arguments):
            global left
            if event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir") or (event == "open" and arguments[1] == "w"):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(watch)
        compile_into(Path(sys.argv[1]), "new")
        print("done")
    """
    steps, ends = 0, set()
    while True:
        place = tmp_path / str(steps)
        place.mkdir()
        if there_before:
            compile_into(place / "out", "old")
        command = [sys.executable, "-c", textwrap.dedent(script), str(place / "out"), str(steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
        ends.add(content(place / "out"))
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        compile_into(place / "out", "newer")
        assert os.listdir(place) == ["out"]
        steps += 1
    assert steps > 5
    assert content(place / "out") == "new"
    assert ends == ({"old", None, "new"} if there_before else {None, "new"})


def content(out: Path) -> str | None:
    """What is in a folder that must be whole, or None if it is absent."""
    if not out.exists():
        return None
    assert read_manifest(out)["files"] == file_hashes(out)
    return (out / "inner" / "a.txt").read_text()


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = """
        import sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from bitsmith.folder import replacing
        with replacing(Path(sys.argv[1])) as folder:
            (folder / "half").write_text("half")
            print(folder.name, flush=True)
            sys.stdin.read()
            print((folder / "half").exists())
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(out), ""]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        name = other.stdout.readline().strip()
        compile_into(out, "one")
        assert name in os.listdir(tmp_path)
        assert other.communicate()[0].strip() == "True"


def run(script: str, out: Path, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stdout
