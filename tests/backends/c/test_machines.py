"""Generated C on bare machines under QEMU: the same integers, and figures that are measured, not guessed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bitsmith import compile, load
from bitsmith.backends.c import build, golden
from bitsmith.backends.c.emit import project, sources
from bitsmith.backends.c.machines import machine_for, machines, run_program, run_texts, tools
from bitsmith.backends.c.machines.cycles import parse, run_from, straight
from bitsmith.backends.c.program import Program
from bitsmith.errors import ArtifactError, BudgetError
from bitsmith.execution.batches import vectors
from bitsmith.execution.interpreter import run
from bitsmith.ir.integer import IntegerGraph
from bitsmith.target import Target, load_target
from tests.backends.c.needs import machine_of
from tests.backends.onnxruntime.graphs import conv, linear

TARGETS = ["cortex-m0", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m55", "rv32imac", "rv32e"]


@pytest.fixture(scope="module")
def trained(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> IntegerGraph:
    folder = tmp_path_factory.mktemp("digits") / "out"
    compile(digits / "digits.onnx", "host", digits / "calibration.npz", folder, explain=False)
    return load(folder).graph


@pytest.mark.parametrize("name", TARGETS)
def test_a_trained_network_is_exact_on_every_machine(name: str, trained: IntegerGraph) -> None:
    target, machine = machine_of(name)
    program = build(trained, target)
    outcome = run_program(machine, program, golden(trained), count=True)
    assert outcome.passed, outcome.meaning
    assert outcome.sizes.text > program.flash
    assert outcome.sizes.data == 0
    assert outcome.stack is not None
    assert 0 < outcome.stack < 1024
    assert outcome.counts is not None
    assert outcome.counts.functions["model_run_in"] > 0
    # Two multiply-accumulates an instruction are the most that any of these cores but Helium does.
    macs = sum(step.site.macs for step in program.steps)
    assert outcome.counts.total > macs / (16 if "mve" in target.features else 2)


@pytest.mark.parametrize("name", ["cortex-m4", "rv32imac"])
@pytest.mark.parametrize("graph", [conv((6, 5)), conv((6, 5), weight_bits=4), linear((9,))])
def test_small_graphs(name: str, graph: IntegerGraph) -> None:
    target, machine = machine_of(name)
    outcome = run_program(machine, build(graph, target), vectors(graph, 5, seed=3))
    assert outcome.passed, outcome.meaning
    assert outcome.counts is None


@pytest.mark.parametrize("name", ["cortex-m3", "rv32imac"])
def test_a_wrong_vector_and_a_write_beyond_the_arena_are_told_apart(name: str) -> None:
    target, machine = machine_of(name)
    graph = linear((9,))
    program, inputs = build(graph, target), vectors(graph, 2, seed=3)
    outputs = run(graph, inputs)
    wrong = {key: values ^ 1 for key, values in outputs.items()}
    assert run_texts(machine, program, {**sources(program), **project(program, inputs, wrong)}).code == 1
    texts = {**sources(program), **project(program, inputs, outputs)}
    start = "void model_run_in(void *arena, const int8_t *in, int8_t *out)\n{\n"
    assert start in texts["model.c"]
    beyond = f"{start}    ((volatile int8_t *)arena)[MODEL_ARENA_BYTES + 8] = 1;\n"
    assert run_texts(machine, program, {**texts, "model.c": texts["model.c"].replace(start, beyond)}).code == 2


@pytest.mark.parametrize("name", ["cortex-m3", "cortex-m4", "rv32imac"])
def test_a_trap_ends_the_run(name: str) -> None:
    target, machine = machine_of(name)
    texts = by_hand("__builtin_trap();")
    outcome = run_texts(machine, nothing(target), texts)
    assert not outcome.passed
    assert outcome.meaning == "the core trapped"


@pytest.mark.parametrize("loops", [1, 7, 1000])
@pytest.mark.parametrize(
    ("name", "body", "fixed"),
    [
        ("cortex-m4", "movs r0, #0\\n 1: adds r0, #1\\n cmp r0, #{loops}\\n bne 1b\\n bx lr", 2),
        ("rv32imac", "li a0, 0\\n li a1, {loops}\\n 1: nop\\n addi a0, a0, 1\\n bne a0, a1, 1b\\n ret", 3),
    ],
)
def test_instructions_are_counted_to_the_digit(name: str, body: str, fixed: int, loops: int) -> None:
    target, machine = machine_of(name)
    if name == "cortex-m4":
        body = body.replace("#{loops}", "r1").replace("movs r0, #0", "movs r0, #0\\n movw r1, #{loops}")
        fixed += 1
    text = f'__asm__ volatile("{body.format(loops=loops)}");'
    outcome = run_texts(machine, nothing(target), by_hand(text, naked=True), count=True)
    assert outcome.counts is not None
    assert outcome.counts.total == outcome.counts.functions["model_run_in"] == 3 * loops + fixed


@pytest.mark.parametrize(("name", "bytes"), [("cortex-m4", 400), ("rv32imac", 4000)])
def test_the_stack_is_measured(name: str, bytes: int) -> None:
    target, machine = machine_of(name)
    text = f"volatile int8_t held[{bytes}]; for (int i = 0; i < {bytes}; i++) held[i] = 1;"
    outcome = run_texts(machine, nothing(target), by_hand(text))
    assert outcome.stack is not None
    assert bytes <= outcome.stack <= bytes + 64


def test_what_does_not_fit_is_told() -> None:
    target, machine = machine_of("cortex-m0")
    texts = by_hand("static volatile int8_t huge[20000]; huge[*in] = 1;")
    with pytest.raises(BudgetError, match="does not fit"):
        run_texts(machine, nothing(target), texts)


def test_missing_tools_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools.shutil, "which", lambda name: None)
    target = load_target("rv32imac")
    machine = machine_for(target)
    assert machine is not None
    with pytest.raises(ArtifactError, match=r"qemu-system-riscv32 not found") as fault:
        run_texts(machine, nothing(target), by_hand(""))
    assert "apt-get install gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc" in str(fault.value)


def test_machines_are_found_by_the_core_that_flags_name() -> None:
    own = Target("mine", "c", toolchain="arm-none-eabi-", flags=("-mthumb", "-mcpu=cortex-m4+nofp"))
    assert machine_for(own) is machines()["mps2-an386"]
    assert machine_for(replace(own, flags=("-march=rv32imac_zicsr",))) is machines()["virt"]
    assert machine_for(replace(own, flags=("-mcpu=cortex-a9",))) is None
    assert machine_for(load_target("host")) is None


def nothing(target: Target) -> Program:
    """A program of one input and one output, to stand for code written by hand."""
    return build(linear((9,)), target)


def by_hand(body: str, naked: bool = False) -> dict[str, str]:
    """A model of which only `model_run_in` is there, and a test that does not call it, so that it is called once."""
    parameters = "void *arena, const int8_t *in, int8_t *out"
    attributes = "__attribute__((naked)) " if naked else ""
    test = (
        '#include "model.h"\nstatic struct { uint8_t arena[8]; } guarded;\n'
        "static const int8_t golden_in[1];\nstatic int8_t made0[1];\nstatic int golden_test(void) { return 0; }\n"
    )
    return {
        "model.h": f"#include <stdint.h>\nvoid model_run_in({parameters});\n",
        "model.c": f'#include "model.h"\n{attributes}void model_run_in({parameters})\n{{\n    {body}\n}}\n',
        "model_test.c": test,
    }


@pytest.mark.parametrize(
    ("listing", "cycles"),
    [
        ("10:\tadds\tr0, #1\n12:\tsmlad\tr0, r1, r2, r0", 2),
        ("10:\tldr\tr0, [r1, #0]\n12:\tldr\tr2, [r1, #4]\n14:\tldrb.w\tr3, [r2], #1", 2 + 1 + 2),
        ("10:\tstr\tr0, [r1, #0]\n12:\tstrb\tr0, [r1, r2]\n14:\tldrh\tr0, [r1, #2]", 1 + 2 + 1),
        ("10:\tldmia.w\tr0!, {r4, r5, r6}\n14:\tpush\t{r4, lr}\n16:\tvpush\t{d8-d9}", 4 + 3 + 5),
        ("10:\tldrd\tr0, r1, [r2]\n14:\tsdiv\tr0, r0, r1\n18:\tvldr\ts0, [r0]", 3 + 12 + 2),
    ],
)
def test_cycles_are_what_the_manual_says(listing: str, cycles: int) -> None:
    instructions = parse(listing)
    assert len(instructions) == listing.count("\n") + 1
    assert straight(instructions) == cycles
    assert run_from(instructions, instructions[1].address, 1) == [instructions[1]]


@pytest.mark.parametrize("loops", [1, 50])
def test_cycles_of_a_loop(loops: int) -> None:
    target, machine = machine_of("cortex-m4")
    body = f"movs r0, #{loops}\\n 1: ldr r1, [sp]\\n subs r0, #1\\n bne 1b\\n bx lr"
    outcome = run_texts(machine, nothing(target), by_hand(f'__asm__ volatile("{body}");', naked=True), count=True)
    assert outcome.counts is not None
    assert outcome.counts.cycles is not None
    # The return is not followed by anything that is counted, so its refill is not.
    assert sum(outcome.counts.cycles.values()) == 2 + loops * (2 + 1 + 1) + 2 * (loops - 1)
