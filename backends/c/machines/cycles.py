"""Cycles of a Cortex-M4, estimated from what was executed.

The emulator counts instructions; here each is priced as the core's manual does (Arm Cortex-M4 Technical Reference
Manual, section 3.3.1, "Cortex-M4 instructions"), with memory that never makes it wait:

    arithmetic, multiplication, DSP   1
    LDR                               2; 1 right behind another load or store that it does not take its address from
    STR                               1; 2 with a register for its offset
    LDRD, STRD, LDM, STM, PUSH, POP   1 + registers
    SDIV, UDIV                        12, the most they take
    VLDR, VSTR                        2
    whatever is not followed by what lies next: 2 more, to fill the pipeline (the manual says 1 to 3)

Wait states of a flash memory come on top of it on a board that has them.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bitsmith.errors import InternalError

REFILL = 2
DIVISION = 12

_SINGLE_LOAD = re.compile(r"ldr(?!d)")
_SINGLE_STORE = re.compile(r"str(?!d)")
_DOUBLE = re.compile(r"(?:ldr|str)d")
_SEVERAL = re.compile(r"ldm|stm|push|pop|vldm|vstm|vpush|vpop")


@dataclass(frozen=True)
class Instruction:
    """As a disassembler shows it."""

    address: int
    name: str
    operands: str


def parse(listing: str) -> list[Instruction]:
    """The instructions in what `objdump -d --no-show-raw-insn` prints, by address."""
    found = re.findall(r"^\s*([0-9a-f]+):\t(\S+)[ \t]*([^;@\n]*)", listing, re.MULTILINE)
    return [Instruction(int(address, 16), name, operands.strip()) for address, name, operands in found]


def run_from(instructions: Sequence[Instruction], address: int, count: int) -> Sequence[Instruction]:
    """So many of a sorted list, from the one at an address on."""
    start = bisect_left(instructions, address, key=lambda one: one.address)
    found = instructions[start : start + count]
    if len(found) != count or found[0].address != address:
        raise InternalError(f"the disassembler shows no {count} instructions from {address:#x} on")
    return found


def straight(instructions: Iterable[Instruction]) -> int:
    """Cycles of instructions that run one after the other."""
    return sum(_prices(instructions))


def _prices(instructions: Iterable[Instruction]) -> Iterator[int]:
    before: Instruction | None = None
    for one in instructions:
        if _SINGLE_LOAD.match(one.name):
            yield 1 if before is not None and _pipelined(before, one) else 2
        elif _SINGLE_STORE.match(one.name):
            yield 2 if re.search(r"\[\w+, *r\d", one.operands) else 1
        elif _DOUBLE.match(one.name):
            yield 3
        elif _SEVERAL.match(one.name):
            yield 1 + _registers(one.operands)
        elif re.match(r"[su]div", one.name):
            yield DIVISION
        elif re.match(r"vldr|vstr", one.name):
            yield 2
        else:
            yield 1
        before = one


def _pipelined(before: Instruction, load: Instruction) -> bool:
    """Whether a load overlaps with what runs before it."""
    if _SINGLE_STORE.match(before.name):
        return True
    if not _SINGLE_LOAD.match(before.name):
        return False
    loaded = before.operands.partition(",")[0]
    address = load.operands.partition("[")[2]
    return loaded not in re.findall(r"\w+", address)


def _registers(operands: str) -> int:
    """How many words a register list holds."""
    listed = operands.partition("{")[2].partition("}")[0]
    words = 0
    for part in filter(None, re.split(r"\s*,\s*", listed)):
        first, _, last = part.partition("-")
        many = int(last[1:]) - int(first[1:]) + 1 if last else 1
        words += many * (2 if part.startswith("d") else 1)
    return words
