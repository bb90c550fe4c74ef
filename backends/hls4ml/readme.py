"""What a project's README says: how the vendor's tool takes it on, and what its files are."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from bitsmith.backends.hls4ml.options import Options
from bitsmith.backends.hls4ml.project import PROJECT
from bitsmith.jinja import environment

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "Vitis": "vitis-run --mode hls --tcl build_prj.tcl",
        "Vivado": "vivado_hls -f build_prj.tcl",
        "Quartus": f"make {PROJECT}-fpga && ./{PROJECT}-fpga",
        "Catapult": "catapult -product ultra -shell -f build_prj.tcl",
    }
)
"""What hls4ml itself runs in a project's folder to build it, by tool."""


def readme(name: str, described: Mapping[str, Any], options: Options) -> str:
    """The text. name: of the model. described: what interface.json holds."""
    values = {"name": name, "command": COMMANDS[options.tool], "options": options, **described}
    return environment("hls4ml").get_template("README.md.j2").render(values).rstrip() + "\n"
