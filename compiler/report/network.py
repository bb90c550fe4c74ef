"""The graph as a picture: a box for every layer, or for a few dozen in a row where there are too many to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bitsmith.report.layers import Figure, Layer
from bitsmith.report.layout import Point, Size, lay_out
from bitsmith.report.texts import grade, ratio_text, shape_text, tail

MOST = 160
"""Boxes of layers, beyond which several layers share one."""

GROUPS = 100
"""About how many boxes there are then."""

NAME, SIZE = 26, Size(width=200, height=42, across=14, down=18)
"""Characters of a name that fit into a box, and the box."""

MARGIN = 6


@dataclass(frozen=True)
class Box:
    """x, y: the corner at the upper left. link: to what tells more of it; empty for values of the caller.

    name: as much as fits. whole: all of it, and the figures, for those who hear the page. left, right: of the second
    line. work: its part of all multiply-accumulates.
    """

    x: float
    y: float
    link: str
    name: str
    whole: str
    left: str
    right: str
    grade: str
    work: float


@dataclass(frozen=True)
class Picture:
    """width, height: of it all. paths: of the lines between boxes, as SVG has them. grouped: layers a box, else 0."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    paths: tuple[str, ...]
    grouped: int

    @property
    def box(self) -> Size:
        """Of each box."""
        return SIZE


def draw(manifest: Mapping[str, Any], layers: Sequence[Layer], detailed: set[int]) -> Picture:
    """The picture of a manifest's layers. detailed: of which there is more to read, by index."""
    runs = _runs(layers)
    ends = [*manifest["inputs"]]
    place = {name: index for index, name in enumerate(ends)}
    for index, run in enumerate(runs, len(ends)):
        place.update({layer.row["output"]: index for layer in run})
    total = sum(layer.macs for layer in layers) or 1
    boxes = [_value(name, manifest["values"][name]) for name in ends]
    boxes += [_layer(run[0], total, detailed) if len(run) == 1 else _group(run, total) for run in runs]
    edges = {
        (place[read], index): None
        for index, run in enumerate(runs, len(ends))
        for layer in run
        for read in layer.row["inputs"]
        if read in place and place[read] != index
    }
    for name in manifest["outputs"]:
        boxes.append(_value(name, manifest["values"][name], is_output=True))
        if name in place:
            edges[place[name], len(boxes) - 1] = None
    layout = lay_out(len(boxes), list(edges), SIZE)
    return Picture(
        round(layout.width + 2 * MARGIN),
        round(layout.height + 2 * MARGIN),
        tuple(
            _at(box, x - SIZE.width / 2 + MARGIN, y - SIZE.height / 2 + MARGIN)
            for box, (x, y) in zip(boxes, layout.boxes, strict=True)
        ),
        tuple(map(_path, layout.routes)),
        max(map(len, runs), default=0) if len(runs) < len(layers) else 0,
    )


def _runs(layers: Sequence[Layer]) -> list[Sequence[Layer]]:
    """Layers one by one, or where they are too many, in runs that end where the fewest values are still needed."""
    if len(layers) <= MOST:
        return [[layer] for layer in layers]
    least = -(-len(layers) // GROUPS)
    last_read = {read: layer.index for layer in layers for read in layer.row["inputs"]}
    open_after, needed = [], set[str]()
    for layer in layers:
        needed.add(layer.row["output"])
        needed = {name for name in needed if last_read.get(name, -1) > layer.index}
        open_after.append(len(needed))
    runs, start = [], 0
    while start < len(layers):
        choice = range(start + least - 1, min(start + 2 * least, len(layers)))
        end = min(choice, key=lambda index: open_after[index], default=len(layers) - 1) + 1
        runs.append(layers[start:end])
        start = end
    return runs


def _layer(layer: Layer, total: int, detailed: set[int]) -> Box:
    widths = f"{layer.weight_bits:g}-bit weights, {layer.bits}-bit output" if layer.weight_bits else f"{layer.bits}-bit"
    short = f"{layer.kind} w{layer.weight_bits:g} a{layer.bits}" if layer.weight_bits else f"{layer.kind} a{layer.bits}"
    alone = ratio_text(layer.alone)
    cost = f"; alone it leaves the outputs {alone}" if alone else ""
    link = f"layer-{layer.index}" if layer.index in detailed else f"row-{layer.index}"
    return _box(
        link, _label(layer), f"{layer.name}: {layer.kind}, {widths}{cost}", short, layer.alone, layer.macs / total
    )


def _label(layer: Layer) -> str:
    """The name of a layer, without what the second line says: exporters end names with the op."""
    return layer.name.removesuffix(f"/{layer.kind}") or layer.name


def _group(run: Sequence[Layer], total: int) -> Box:
    worst = min(run, key=lambda layer: layer.badness)
    names = f"{run[0].name} to {run[-1].name}"
    alone = ratio_text(worst.alone)
    cost = f"; the worst, {worst.name}, alone leaves the outputs {alone}" if alone else ""
    whole = f"{len(run)} layers, {names}{cost}"
    work = sum(layer.macs for layer in run) / total
    return _box(f"row-{run[0].index}", names, whole, f"{len(run)} layers", worst.alone, work)


def _value(name: str, value: Mapping[str, Any], is_output: bool = False) -> Box:
    kind, bits = "output" if is_output else "input", value["format"]["bits"]
    shape = shape_text(value["shape"])
    return _box("", name, f"{kind} {name}: {shape}, {bits}-bit", f"{kind} {tail(shape, 16)} a{bits}", None, 0.0)


def _box(link: str, name: str, whole: str, left: str, figure: Figure, work: float) -> Box:
    return Box(0, 0, link, tail(name, NAME), whole, left, ratio_text(figure), grade(figure), round(work, 4))


def _at(box: Box, x: float, y: float) -> Box:
    return replace(box, x=round(x, 1), y=round(y, 1))


def _path(route: Sequence[Point]) -> str:
    """A line through points, upright in each of them."""
    (x, y), *others = ((px + MARGIN, py + MARGIN) for px, py in route)
    text = f"M{x:.0f} {y:.0f}"
    for to_x, to_y in others:
        half = (y + to_y) / 2
        text += (
            f"V{to_y:.0f}"
            if abs(to_x - x) < 0.5
            else f"C{x:.0f} {half:.0f} {to_x:.0f} {half:.0f} {to_x:.0f} {to_y:.0f}"
        )
        x, y = to_x, to_y
    return text
