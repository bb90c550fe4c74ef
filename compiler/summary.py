"""What `bitsmith compile` says at the end: what was gained, what was lost, what was proved, what to do next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from bitsmith.allocation.budgets import FLASH, made_of, shown
from bitsmith.console import columns, paint
from bitsmith.report.texts import decibels_text, ratio_text, thousands


def summary(manifest: Mapping[str, Any], folder: Path) -> list[str]:
    """The lines, for the manifest of a compiled folder."""
    title = f"{manifest['model']['file']} for {manifest['target']['name']}: {folder}/"
    return [paint(title, "bold"), *columns(_rows(manifest)), *_next(manifest, folder)]


def _rows(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    size = manifest["size"]
    before, after = size["float_constants"], size["integer_constants"]
    smaller = f", {before / after:.1f} times smaller" if after else ""
    yield "constants", f"{thousands(before)} bytes in float -> {thousands(after)} in packed integers{smaller}"
    yield "work", f"{thousands(manifest['macs'])} multiply-accumulates a sample, {_widest(manifest)}"
    if manifest["artifact"]:
        yield "artifact", ", ".join(f"{name}: {thousands(count)}" for name, count in manifest["artifact"].items())
    yield from _choices(manifest)
    yield from _budgets(manifest)
    yield from _bits(manifest)
    yield from _calibration(manifest)
    distance = manifest["distance"]
    if distance is not None:
        for output, value in distance["sqnr_db"].items():
            kind = "made-up" if manifest["data_free"] else "calibration"
            samples = f"float against integers on {thousands(distance['samples'])} {kind} samples"
            yield "signal to noise", f"{decibels_text(value)} at {output}, {samples}"
    yield from _adopted(manifest)
    for one in manifest["passes"]:
        for note in one["notes"]:
            yield one["pass"].split("{")[0], note
    yield from _worst(manifest.get("explain"))
    for one in manifest["verification"]:
        yield "verified", verification_line(one)
    for step in manifest["left_to_host"]:
        yield "left to the host", f"{step['op']} on {step['output']}, in float"
    yield "files", ", ".join(_files([*manifest["files"], "manifest.json"]))


LISTED = 8
"""Files of one folder that are listed by name: projects of FPGA tools have hundreds."""


def _files(names: Sequence[str]) -> Iterator[str]:
    """The names, but those of a folder of many as one, with how many there are."""
    for folder, found in groupby(sorted(names, key=lambda name: "/" not in name), lambda name: name.partition("/")[0]):
        inside = [name for name in found if "/" in name]
        if len(inside) > LISTED:
            yield f"{folder}/ ({len(inside)} files)"
        else:
            yield from inside or [folder]


def _adopted(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """How near the integers are to a model that others quantized."""
    found = manifest.get("quantized_by_others")
    if found is None:
        return
    yield "formats", f"of the file, which is in {found['dialect']} form"
    alone = f"{thousands(found['differing'])} of {thousands(found['elements'])} elements differ from the file's"
    if found["differing"]:
        alone += f", by {found['largest']} step{'s' * (found['largest'] > 1)} at most, rounding alone"
    yield "each operation", f"{alone}, on {thousands(found['samples'])} samples"
    for name, one in found["inputs"].items():
        if one["differing"]:
            count = f"{thousands(one['differing'])} of {thousands(one['elements'])} elements of {name}"
            yield "inputs", f"{count} lie half-way between two integers: the file rounds to even, and integers here up"
    for output, one in found["outputs"].items():
        text = f"{thousands(one['differing'])} of {thousands(one['elements'])} elements of {output} differ"
        levels = 1 << manifest["values"][output]["format"]["bits"]
        by = f", by at most {thousands(one['largest'])} of {thousands(levels)} steps" if one["differing"] else ""
        yield "all together", text + by


INPUTS = 4
"""Inputs of the model whose ranges are listed."""


def _calibration(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the samples made of the inputs: only here is it seen that they should have been divided by 255."""
    data = manifest["calibration"]
    if data is None or data["file"] is None:
        return
    ranges = []
    for name in manifest["inputs"][:INPUTS]:
        chosen = manifest["values"][name]["format"]
        lowest = -(1 << (chosen["bits"] - 1)) if chosen["signed"] else 0
        ends = (lowest - chosen["zero_point"], lowest + (1 << chosen["bits"]) - 1 - chosen["zero_point"])
        low, high = (f"{chosen['scale'][0] * end:.4g}" for end in ends)
        ranges.append(f"{name} is held from {low} to {high}")
    count = f"{thousands(data['samples'])} sample{'s' * (data['samples'] != 1)} of {data['file']}"
    yield "calibration", "; ".join([count, *ranges])


RUNS = 12
"""Runs of layers with the same bits that are listed."""


def _choices(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """How often each way of doing something was taken."""
    counts = Counter(one["what"].split(", ")[0] for one in manifest.get("choices", ()))
    if counts:
        taken = ", ".join(f"{what} ({count})" if count > 1 else what for what, count in counts.items())
        yield "taken", f"{taken}; why, in report.html"


def _budgets(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the model costs of each budget."""
    for name, limit in manifest["budgets"].items():
        text = f"{name}: {shown(name, manifest['costs'][name])} of {shown(name, limit)}"
        yield "budget", text + (f", {made_of(manifest['costs'])}" if name == FLASH else "")


def _bits(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Bits of weights and of the activations they multiply, where not all are alike: a line a run of layers."""
    if manifest["allocation"] is None:
        return
    values = manifest["values"]
    layers = [layer for layer in manifest["layers"] if layer["weight_bits"]]
    pairs = [(layer["weight_bits"], values[layer["inputs"][0]]["format"]["bits"], layer["name"]) for layer in layers]
    runs = [(pair, [name for *_, name in run]) for pair, run in groupby(pairs, key=lambda pair: pair[:2])]
    for index, ((weight, activation), names) in enumerate(runs[:RUNS]):
        where = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]} ({len(names)} layers)"
        yield "" if index else "bits", f"weights {weight}, inputs {activation}: {where}"
    if len(runs) > RUNS:
        rest = sum(len(names) for _, names in runs[RUNS:])
        yield "", f"and {rest} more layers, in manifest.json"


SHOWN = 2
"""Changes that are named for a layer."""


def _worst(explained: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    """The layers that cost the outputs most, and what was measured to help them."""
    if explained is None or not explained["worst"]:
        return
    for index, one in enumerate(explained["worst"]):
        helps = [f"{help['change']} would gain {help['gain_db']:.1f} dB" for help in one["helps"][:SHOWN]]
        cost = f"{one['layer']} alone leaves the outputs {ratio_text(one['output_db'])}"
        yield ("" if index else "worst layers", f"{cost}: {'; '.join(helps) or 'nothing that was tried gains 1 dB'}")
    names = [one["pass"] for one in explained["passes"]]
    later = [name.split("{")[0] for name in names[len(names) - names[::-1].index(explained["ranked_after"]) :]]
    if later:
        yield "", f"each rounded to nearest, before {' and '.join(later)} made up for errors"


def _widest(manifest: Mapping[str, Any]) -> str:
    bits = [layer["accumulator_bits"] for layer in manifest["layers"] if layer["macs"]]
    return f"in accumulators of {max(bits)} bits at most" if bits else "none of them by weights"


def verification_line(one: Mapping[str, Any]) -> str:
    """One comparison in a line: which form, how many elements differ, by how much, and where it starts."""
    count = f"{thousands(one['differing'])} of {thousands(one['total'])} outputs differ"
    text = f"{one['subject']}: {count} on {thousands(one['samples'])} samples of {one['data']}"
    if not one["differing"]:
        return paint(text, "green")
    text += f", by at most {one['largest']} step{'s' * (one['largest'] > 1)}"
    text += f"; first in {one['first_layer_that_differs']}"
    return paint(text + ", and none may", "red") if one["must_be_equal"] else text


def _next(manifest: Mapping[str, Any], folder: Path) -> Iterator[str]:
    yield ""
    yield "Next:"
    yield f"  bitsmith evaluate {folder} --data EVAL.npz"
    yield f"  bitsmith verify {folder}"
