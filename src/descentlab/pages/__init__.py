"""Pages: whatever was found, as one HTML file that needs nothing but itself."""

from descentlab.pages.numbers import format_number
from descentlab.pages.report import MAX_BYTES, Figure, Report

__all__ = ["MAX_BYTES", "Figure", "Report", "format_number"]
