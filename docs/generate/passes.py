"""The page of passes, from the registry: what each does, its options, and where the default pipelines have it."""

from __future__ import annotations

import dataclasses
import inspect

from bitsmith import registry
from bitsmith.manager import Pass
from bitsmith.pipelines import ADOPT
from bitsmith.recipe import Recipe
from bitsmith.target import load_target
from docs.generate.docstrings import markdown

EXAMPLES = {
    "the default of `--target onnxruntime`": ("onnxruntime", Recipe()),
    "weights of 4 bits": ("onnxruntime", Recipe(weights=4)),
    "everything in 4 bits, `--effort best`": ("cortex-m4", Recipe(weights=4, activations=4, effort="best")),
    "mixed bits for a budget of flash": ("cortex-m4", Recipe(weights="mixed", budgets={"flash": 65536.0})),
    "the default of `--target rtl`": ("rtl", Recipe()),
}


def page() -> str:
    """Default pipelines, then one section a pass."""
    names = registry.names(registry.PASSES)
    parts = [
        "# Passes",
        "A pipeline is text: names of passes and their options, in the order in which they run. "
        "`--pipeline` takes one in place of the default, a [recipe](../recipes.md) holds one, the manifest of every "
        "compile says which one ran, and `bitsmith passes` lists what is installed. An option that is left out has "
        "its default. [Your own](../examples/your_own_pass.md) are found as these are, by entry point.",
        "## Default pipelines",
        "What a compile runs follows from the target and the options:",
    ]
    for title, (target, recipe) in EXAMPLES.items():
        parts += [f"For {target}, {title}:", _text(str(recipe.passes(load_target(target))))]
    parts += ["A model that [others quantized](../interchange.md):", _text(ADOPT)]
    parts += [_section(name) for name in names]
    return "\n\n".join(parts) + "\n"


def _text(pipeline: str) -> str:
    """A pipeline over lines that a phone can show: broken before any pass, and so before no option."""
    lines = [""]
    depth = 0
    for part in pipeline.split(","):
        starts = depth == 0
        depth += part.count("{") - part.count("}")
        if starts and len(lines[-1]) + len(part) > 72:
            lines.append("")
        lines[-1] += f"{part},"
    return "```text\n" + "\n".join(lines).rstrip(",") + "\n```"


def _section(name: str) -> str:
    one = registry.find(registry.PASSES, name)
    promise = (
        "The float graph computes what it computed before; `--verify-each` holds it to that."
        if one.preserves
        else "It may change what the float graph computes."
    )
    parts = [f"## {name}", markdown(inspect.getdoc(one) or ""), promise]
    options = options_of(one)
    if options:
        rows = [f"| `{option}` | {kind} | {default} |" for option, kind, default in options]
        parts.append("\n".join(["| option | type | default |", "| --- | --- | --- |", *rows]))
    return "\n\n".join(parts)


def options_of(one: type[Pass]) -> list[tuple[str, str, str]]:
    """Name, type and default of each option of a pass, as a pipeline writes them."""
    found = []
    for field in dataclasses.fields(one):
        default = "required" if field.default is dataclasses.MISSING else f"`{_shown(field.default)}`"
        found.append((field.name, str(field.type).replace(" | ", " or "), "empty" if default == "``" else default))
    return found


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
