"""The report: one page that needs no other file, from the manifest of a compiled folder or the front of a search."""

from bitsmith.report.page import render, write_report
from bitsmith.report.texts import decibels_text, ratio_text, thousands

__all__ = ["decibels_text", "ratio_text", "render", "thousands", "write_report"]
