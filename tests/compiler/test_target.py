"""Target files: what is read, and what each mistake in one is told."""

import json
from pathlib import Path

import pytest

from bitsmith.errors import TargetError
from bitsmith.target import Target, installed_targets, load_target

WHOLE = """
name = "board"
backend = "onnxruntime"
description = "a board"
weight_bits = [8, 4]
activation_bits = [8]
granularities = ["tensor"]
symmetric_activations = true
scales = "power-of-two"
fused = ["Relu"]
flash = "64KiB"
ram = 32_768
cycles = {"8x8" = 1.5, "4x8" = 2}
features = ["dsp"]
toolchain = "arm-none-eabi-"
flags = ["-mcpu=cortex-m4"]
options = {io_type = "io_stream", reuse_factor = 4}
"""


@pytest.fixture
def target_file(tmp_path: Path) -> Path:
    return tmp_path / "board.toml"


def test_every_key_is_read(target_file: Path) -> None:
    target_file.write_text(WHOLE)
    assert load_target(target_file) == Target(
        "board",
        "onnxruntime",
        "a board",
        (8, 4),
        (8,),
        ("tensor",),
        True,
        "power-of-two",
        ("Relu",),
        64 * 1024,
        32768,
        {"8x8": 1.5, "4x8": 2.0},
        features=("dsp",),
        toolchain="arm-none-eabi-",
        flags=("-mcpu=cortex-m4",),
        options={"io_type": "io_stream", "reuse_factor": 4},
    )


def test_a_file_may_leave_all_but_the_backend_out(target_file: Path) -> None:
    target_file.write_text('backend = "onnxruntime"')
    assert load_target(str(target_file)) == Target("board", "onnxruntime")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("wieght_bits = [8]", "wieght_bits: there is no such key. Did you mean weight_bits?"),
        ("weight_bits = 8", "weight_bits: must be a list in [brackets], not 8"),
        ("weight_bits = []", "weight_bits: must name at least one"),
        ("weight_bits = [0]", "weight_bits: must be an integer from 1 to 16, not 0"),
        ("weight_bits = [17]", "weight_bits: must be an integer from 1 to 16, not 17"),
        ("weight_bits = [true]", "weight_bits: must be an integer from 1 to 16, not true"),
        ("weight_bits = [8, 8]", "weight_bits: names one of [8, 8] twice"),
        ("activation_bits = ['8']", "activation_bits: must be an integer from 1 to 16, not '8'"),
        ("granularities = ['chanel']", "granularities: 'chanel' is not known. Did you mean channel?"),
        ("weight_formats = ['intt']", "weight_formats: 'intt' is not known. Did you mean int?"),
        ("weight_formats = ['int', 'tern']", "weight_formats: 'tern' is not known. Did you mean ternary?"),
        ("code = -1", "code: must be an integer of at least 0 or a table such as {call = 4.5}, not -1"),
        ("code = 1.5", "code: must be an integer of at least 0 or a table such as {call = 4.5}, not 1.5"),
        ("code = {call = -2}", "code: the bytes of 'call' must be a number that is not negative, not -2"),
        ("code = {call = true}", "code: the bytes of 'call' must be a number that is not negative, not true"),
        ("code = {}", "code: has no prices; code = 0 says that what code takes is not known"),
        ("scales = 'dyadic'", "scales: 'dyadic' is not known. Known: free, power-of-two."),
        ("fused = ['relu']", "fused: 'relu' is not known. Did you mean Relu?"),
        ("symmetric_activations = 1", "symmetric_activations: must be true or false, not 1"),
        ("description = 3", "description: must be a text in quotes, not 3"),
        ("name = ''", "name: must not be empty"),
        ("flash = '64KB'", "flash: '64KB' has no known unit. Did you mean KiB?"),
        ("flash = 'much'", "flash: must be a positive number of bytes or a text such as \"64KiB\", not 'much'"),
        ("flash = -1", 'flash: must be a positive number of bytes or a text such as "64KiB", not -1'),
        ("ram = '0B'", "ram: must be a positive number of bytes or a text such as \"64KiB\", not '0B'"),
        ("ram = true", 'ram: must be a positive number of bytes or a text such as "64KiB", not true'),
        ("cycles = {'8' = 1}", "cycles: '8' must be weight bits x activation bits, such as \"8x8\""),
        ("cycles = {'8x8' = 0}", "cycles: the cycles of 8x8 must be a positive number, not 0"),
        ("cycles = {'8x8' = nan}", "cycles: the cycles of 8x8 must be a positive number, not nan"),
        ("options = 3", 'options: must be a table such as {io_type = "io_stream"}, not 3'),
        ("options = {part = [1]}", "options: part must be a text or a number, not [1]"),
        ("cycles = 3", 'cycles: must be a table such as {"8x8" = 1.5}, not 3'),
    ],
)
def test_a_mistake_is_told_with_file_and_key(target_file: Path, line: str, message: str) -> None:
    target_file.write_text(f'backend = "onnxruntime"\n{line}\n')
    with pytest.raises(TargetError) as caught:
        load_target(target_file)
    assert str(caught.value) == f"{target_file}, {message}"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('name = "a\\nb"', "name: must be one line of characters that can be printed"),
        ('description = "\\u001b[2J"', "description: must be one line of characters that can be printed"),
        (f"flash = {2**63}", "flash: must be a positive number of bytes"),
        (f"flash = '{10**30} GiB'", "flash: must be a positive number of bytes"),
        (f"cycles = {{'8x8' = {10**400}}}", "cycles: the cycles of 8x8 must be a positive number"),
        ("code = " + "9" * 5000, "is no TOML: Exceeds the limit"),
    ],
)
def test_what_goes_beyond_all_bounds_is_told(target_file: Path, line: str, message: str) -> None:
    target_file.write_text(f'backend = "onnxruntime"\n{line}\n')
    with pytest.raises(TargetError) as caught:
        load_target(target_file)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


def test_an_unknown_backend_suggests_the_nearest(target_file: Path) -> None:
    target_file.write_text('backend = "onnxruntim"')
    with pytest.raises(TargetError, match=r"no backend called onnxruntim\. Did you mean onnxruntime\?"):
        load_target(target_file)


def test_the_backend_is_required(target_file: Path) -> None:
    target_file.write_text('name = "board"')
    with pytest.raises(TargetError, match=r"board\.toml, backend: is missing\. Known: .*onnxruntime"):
        load_target(target_file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"weight_bits = [8", "is no TOML"),
        (b"\xff\xfe", "is no TOML"),
        (b"a = " + b"[" * 5000, "nested too deep|is no TOML"),
    ],
)
def test_what_is_no_toml_is_told(target_file: Path, content: bytes, message: str) -> None:
    target_file.write_bytes(content)
    with pytest.raises(TargetError, match=message):
        load_target(target_file)


@pytest.mark.parametrize("fields", [{}, {"name": "", "backend": "c"}, {"name": "board"}])
def test_what_a_manifest_says_of_a_target_has_a_name_and_a_backend(fields: dict[str, str]) -> None:
    with pytest.raises(TargetError, match=r"target, (name|backend): is missing"):
        Target.from_json(fields)


def test_a_missing_file_is_told(target_file: Path) -> None:
    with pytest.raises(TargetError, match=r"board\.toml: cannot be read: No such file"):
        load_target(target_file)


def test_weights_may_be_ternary_where_the_target_says_so() -> None:
    assert Target("t", "none", weight_bits=(8, 2)).weight_widths == (8, 2)
    assert Target("t", "none", weight_bits=(8, 2), weight_formats=("int", "ternary")).weight_widths == (8, 2, 1.6)
    # A ternary weight is an integer of two bits, wherever it is not packed.
    assert Target("t", "none", weight_bits=(8, 4), weight_formats=("int", "ternary")).weight_widths == (8, 4)


def test_code_is_a_figure_or_a_table_of_prices(target_file: Path) -> None:
    target_file.write_text('backend = "c"\ncode = 12000\n')
    assert load_target(target_file).code == 12000
    target_file.write_text('backend = "c"\n[code]\n"conv" = 90\n"conv, by length" = 2.5\n')
    target = load_target(target_file)
    assert target.code == {"conv": 90.0, "conv, by length": 2.5}
    assert Target.from_json(json.loads(json.dumps(target.to_json()))) == target


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(TargetError, match=r"no target called onnxruntme\. Did you mean onnxruntime\?"):
        load_target("onnxruntme")


def test_installed_targets_load_by_name() -> None:
    installed = installed_targets()
    assert not installed.faults
    assert "onnxruntime" in installed.targets
    for name, target in installed.targets.items():
        assert load_target(name) == target
        assert Target.from_json(target.to_json()) == target
