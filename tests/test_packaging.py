"""Four folders, one import name: what is declared, what is built and who may import whom."""

import ast
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDERS = {
    "compiler": "bitsmith",
    "backends": "bitsmith.backends",
    "passes": "bitsmith.passes",
    "templates": "bitsmith.templates",
}
DATA_SUFFIXES = {".j2", ".toml", ".typed"}


@pytest.fixture(scope="module")
def setuptools_table(repository: Path) -> dict[str, Any]:
    with (repository / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["tool"]["setuptools"]


def sources(repository: Path, *folders: str) -> Iterator[tuple[Path, str]]:
    """Yield each file of `folders` that belongs in the wheel, with its path there."""
    for folder in folders or FOLDERS:
        for path in sorted((repository / folder).rglob("*")):
            if path.is_file() and (path.suffix == ".py" or path.suffix in DATA_SUFFIXES):
                inside = path.relative_to(repository / folder).as_posix()
                yield path, f"{FOLDERS[folder].replace('.', '/')}/{inside}"


def test_declared_packages_are_the_folders_on_disk(repository: Path, setuptools_table: dict[str, Any]) -> None:
    on_disk = {
        str(Path(inside).parent).replace("/", ".") for path, inside in sources(repository) if path.suffix == ".py"
    }
    assert sorted(setuptools_table["packages"]) == sorted(on_disk)


def test_declared_folders_are_ours(setuptools_table: dict[str, Any]) -> None:
    declared = {folder: package for package, folder in setuptools_table["package-dir"].items()}
    assert declared == FOLDERS


def test_every_package_folder_has_an_init(repository: Path) -> None:
    folders = {path.parent for path, _ in sources(repository) if path.suffix == ".py"}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_wheel_holds_every_source_file_and_only_bitsmith(repository: Path, tmp_path: Path) -> None:
    # From a copy: setuptools builds in the source tree and would take in what an earlier build left there.
    copy = tmp_path / "sources"
    tracked = ["pyproject.toml", "README.md", "LICENSE"]
    for path in [repository / name for name in tracked] + [path for path, _ in sources(repository)]:
        target = copy / path.relative_to(repository)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())

    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
        str(copy),
    ]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr

    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    info = {name for name in names if ".dist-info/" in name}
    assert names - info == {inside for _, inside in sources(repository)}
    assert any(name.endswith("/licenses/LICENSE") for name in info)


def test_dependencies_point_one_way(repository: Path) -> None:
    """compiler/ finds passes and backends by entry point; importing one would tie a knot."""
    forbidden = {
        "compiler": ("bitsmith.passes", "bitsmith.backends"),
        "passes": ("bitsmith.backends",),
        "backends": ("bitsmith.passes",),
    }
    knots = [
        f"{path.relative_to(repository)}:{line} imports {module}"
        for folder, targets in forbidden.items()
        for path, _ in sources(repository, folder)
        if path.suffix == ".py"
        for line, module in imports(path)
        if any(module == target or module.startswith(f"{target}.") for target in targets)
    ]
    assert knots == []


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the dotted name of everything that a file imports, at whatever depth."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
