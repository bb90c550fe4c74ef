"""What mkdocstrings calls: docstrings of the reference are written as Markdown before it reads them."""

from __future__ import annotations

import griffe

from docs.generate.docstrings import markdown


class PlainDocstrings(griffe.Extension):
    """Gives every docstring that the reference shows to `markdown`."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rewrite one docstring in place."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)
