"""All that is fuzzed, by name."""

from __future__ import annotations

from collections.abc import Mapping

from tests.fuzz.files import DATA, INTEGER_FILE, MANIFEST_FILE, VECTORS_FILE
from tests.fuzz.fuzz_target import FuzzTarget
from tests.fuzz.models import COMPILE, MODEL
from tests.fuzz.searches import FRONT_FILE, JOURNAL
from tests.fuzz.texts import ARGUMENTS, BITS, PIPELINE, RECIPE, TARGET

TARGETS: Mapping[str, FuzzTarget] = {
    "model": MODEL,
    "compile": COMPILE,
    "data": DATA,
    "recipe": RECIPE,
    "target": TARGET,
    "pipeline": PIPELINE,
    "arguments": ARGUMENTS,
    "bits": BITS,
    "journal": JOURNAL,
    "front": FRONT_FILE,
    "manifest": MANIFEST_FILE,
    "integer": INTEGER_FILE,
    "vectors": VECTORS_FILE,
}
