"""The picture of what is gained, drawn from the benchmarks' own tables.

usage: python -m docs.generate.picture

Left, accuracy beside the best peer where bits are few; right, instructions of an inference on Cortex-M4 beside
TensorFlow Lite for Microcontrollers with CMSIS-NN. Nothing in it is typed by hand: run it when the tables change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jinja2 import Environment, StrictUndefined

from docs.generate.repository import ROOT
from docs.generate.tables import number, tables

FILE = ROOT / "docs" / "pictures" / "gain.svg"
SETTINGS = {
    "W4A4/all": "4-bit weights, activations, inputs, outputs",
    "W2A8/channel": "2-bit weights, 8-bit activations",
}
NAMES = {
    "resnet20_cifar10": "ResNet-20",
    "resnet8_cifar10": "ResNet-8",
    "mobilenetv2s_cifar10": "MobileNetV2",
    "mobilenetv1_025_vww": "MobileNetV1 0.25",
    "dscnn_kws": "DS-CNN",
    "dscnn_kws_tfl": "DS-CNN",
    "autoencoder_ad_tfl": "autoencoder",
}


@dataclass(frozen=True)
class Bar:
    """One model: what it is called, both figures, a mark where there is one, and what stands beside the bars."""

    name: str
    ours: float
    peer: float
    mark: float | None
    ours_text: str
    peer_text: str


@dataclass(frozen=True)
class Group:
    """Bars under one title."""

    title: str
    bars: Sequence[Bar]


def accuracy() -> list[Group]:
    """By setting, every model whose peer's figure is known: top-1, with the float model's as the mark."""
    (rows, *_) = tables((ROOT / "tests/benchmarks/accuracy.md").read_text(encoding="utf-8"))
    groups = []
    for setting, title in SETTINGS.items():
        bars = []
        for row in rows:
            ours, peer = number(row["integer graph (range)"]), number(row["best peer"])
            if row["setting"] == setting and row["effort"] == "default" and ours is not None and peer is not None:
                model, _, given = row["model (float)"].partition(" ")
                bars.append(_bar(model, ours, peer, number(given.strip("()")), lambda value: f"{100 * value:.1f} %"))
        if bars:
            groups.append(Group(title, bars))
    return groups


def instructions() -> list[Group]:
    """Every model with 8-bit weights on Cortex-M4: instructions as a part of the peer's."""
    (rows, *_) = tables((ROOT / "tests/benchmarks/mcu.md").read_text(encoding="utf-8"))
    bars = []
    for row in rows:
        ours, peer = number(row["instructions"]), number(row["TFLM + CMSIS-NN int8 (ratio)"])
        if (row["weights"], row["core"]) == ("8", "cortex-m4") and ours is not None and peer is not None:
            bars.append(_bar(row["model"], ours, peer, None, lambda value: f"{value / 1e6:.2f} M"))
    return [Group("8-bit weights and activations, MLPerf Tiny", bars)]


def _bar(model: str, ours: float, peer: float, mark: float | None, shown: Callable[[float], str]) -> Bar:
    return Bar(NAMES.get(model, model), ours, peer, mark, shown(ours), shown(peer))


def drawn() -> str:
    """The picture as SVG."""
    left, right = accuracy(), instructions()
    template = (FILE.parent / "gain.svg.j2").read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(left=left, right=right) + "\n"


def main() -> None:
    """Draw it."""
    FILE.write_text(drawn(), encoding="utf-8")


if __name__ == "__main__":
    main()
