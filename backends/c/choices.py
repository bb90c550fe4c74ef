"""What a program's stages are made of, and why: for the report."""

from __future__ import annotations

from collections.abc import Iterator

from bitsmith.backend import Chosen
from bitsmith.backends.c.kernels import FAMILIES, candidates
from bitsmith.backends.c.kernels.preferences import Preferences
from bitsmith.backends.c.program import Program
from bitsmith.backends.c.stage import Step
from bitsmith.backends.c.stream import Stream

MACHINES = {"dsp": "dsp", "helium": "mve", "avx2": "avx2"}
"""The feature that families need, by the first word of their names."""


def choices(program: Program) -> list[Chosen]:
    """The arena first, then stage by stage."""
    memory = program.memory
    proof = "the least that there is" if memory.is_least else f"no plan can do with fewer than {memory.bound:,}"
    found = [Chosen("the arena", f"arena of {memory.total:,} bytes", proof)]
    for stage in program.stages:
        if isinstance(stage, Stream):
            found.append(_of_stream(program, stage))
        # Of functions for some rows each, one tells of all.
        found.extend(map(_of_step, {step.site.operation.name: step for step in stage.steps}.values()))
    return found


def _of_stream(program: Program, stage: Stream) -> Chosen:
    between = sum(step.output.bytes for step in stage.whole[:-1])
    names = [step.site.operation.name for step in stage.whole]
    fetched = "" if stage.fetched is None else f", and {stage.fetched.bytes:,} of input copied from the caller's rows"
    return Chosen(
        f"{names[0]} to {names[-1]}",
        f"row by row, {len(names)} operations",
        f"{program.target.ram:,} bytes of RAM: {stage.workspace:,} bytes of rows in place of {between:,} of values "
        f"between, for {stage.moved:,} bytes moved{fetched}, and no multiply-accumulate more",
    )


def _of_step(step: Step) -> Chosen:
    kernel, name = step.kernel, step.site.operation.name
    what = f"{kernel.family}, {kernel.note}" if kernel.note else kernel.family
    return Chosen(name, what, "; ".join(_reasons(step)))


def _reasons(step: Step) -> Iterator[str]:
    """Why a faster kernel was not taken, or that the target asks for this one, or that it is the fastest."""
    site, kernel = step.site, step.kernel
    preferences = Preferences.of(site.target)
    if preferences.demanded(site.operation.name) or kernel.family in preferences.first:
        yield "asked for"
    refused = []
    for family in FAMILIES:
        if family.name == kernel.family:
            break
        reason = family.refusal(site)
        # Families of other operations and other machines have no part in it.
        elsewhere = MACHINES.get(family.name.split()[0], "") not in ("", *site.target.features)
        if reason is not None and not elsewhere and not reason.startswith(("it is no ", "the core")):
            refused.append(f"not {family.name}, for {reason}")
    fastest = next(iter(candidates(site)))
    is_fastest = (fastest.family, fastest.note) == (kernel.family, kernel.note)
    if fastest.scratch > kernel.scratch and not is_fastest:
        yield f"{kernel.scratch:,} bytes of scratch, where {fastest.family} would take {fastest.scratch:,}"
    yield from refused
    if not refused and is_fastest:
        yield "the fastest there is"
