"""The report: one page that needs no other file, from the manifest of a compiled folder or the front of a search."""

from bitsmith.report.page import render
from bitsmith.report.write import write_report

__all__ = ["render", "write_report"]
