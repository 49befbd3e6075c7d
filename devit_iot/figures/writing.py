"""A picture on disk: whole, or not at all."""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

from devit_iot.figures.style import STYLE, Drawing


def write_picture(path: Path, draw: Callable[[], Drawing]) -> str:
    """Draw in the style of all pictures, write a PNG file, and return its alternative text."""
    with mpl.rc_context(dict(STYLE)):
        drawing = draw()
        partial = path.with_suffix(".partial")
        drawing.figure.savefig(partial, format="png")
    partial.replace(path)
    return drawing.alt
