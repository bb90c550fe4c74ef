"""The report: one page that needs no other file, from the manifest of a compiled folder or the front of a search."""

from bitsmith.report.page import render
from bitsmith.report.texts import decibels_text, ratio_text, thousands
from bitsmith.report.write import write_report

__all__ = ["decibels_text", "ratio_text", "render", "thousands", "write_report"]
