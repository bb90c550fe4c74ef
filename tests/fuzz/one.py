"""One target under atheris, in a process of its own: libFuzzer ends the process that it runs in.

usage: python -m tests.fuzz.one TARGET CORPUS FINDINGS [OPTION OF LIBFUZZER ...]
"""

from __future__ import annotations

import hashlib
import resource
import sys
from pathlib import Path
from random import Random

import atheris

MEMORY = 6 * 2**30
"""Bytes of addresses that this process may have: what asks for 10 GB is told that there are none."""


def main(name: str, corpus: Path, findings: Path, options: list[str]) -> None:
    with atheris.instrument_imports(include=["bitsmith"]):
        from tests.fuzz.fuzz_target import attempt, save
        from tests.fuzz.registry import TARGETS
    target = TARGETS[name]
    corpus.mkdir(parents=True, exist_ok=True)
    if not any(corpus.iterdir()):
        for given in target.seeds():
            (corpus / hashlib.sha1(given, usedforsecurity=False).hexdigest()).write_bytes(given)

    def one(given: bytes) -> None:
        finding = attempt(target, given)
        if finding is not None:
            save(finding, given, findings)

    def mutate(given: bytes, limit: int, seed: int) -> bytes:
        random = Random(seed)
        if not random.randrange(16):
            return bytes(atheris.Mutate(given, limit))
        return target.mutate(given, random)[:limit]

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    atheris.Setup([sys.argv[0], *options, str(corpus)], one, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
