"""A picture on disk: whole, or not at all."""

from collections.abc import Callable
from pathlib import Path
from typing import overload

import matplotlib as mpl

from devit_iot.figures.style import STYLE, Drawing


@overload
def write_picture(path: Path, draw: Callable[[], Drawing]) -> str: ...
@overload
def write_picture(path: Path, draw: Callable[[], Drawing | None]) -> str | None: ...
def write_picture(path: Path, draw: Callable[[], Drawing | None]) -> str | None:
    """Draw in the style of all pictures, and write a PNG file.

    Returns:
        Alternative text of the picture; None if there was nothing to draw.
    """
    with mpl.rc_context(dict(STYLE)):
        drawing = draw()
        if drawing is None:
            return None
        partial = path.with_suffix(".partial")
        drawing.figure.savefig(partial, format="png")
    partial.replace(path)
    return drawing.alt
