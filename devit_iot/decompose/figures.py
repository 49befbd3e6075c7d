"""The pictures of a report; only the modules called figures import matplotlib."""

from pathlib import Path

import matplotlib as mpl

from devit_iot.decompose.figures_fleet import draw_accuracy, draw_confusion, draw_lost
from devit_iot.decompose.figures_parts import draw_losses, draw_policy
from devit_iot.decompose.figures_style import STYLE
from devit_iot.decompose.results import Results

ACCURACY, POLICY, LOST, CONFUSION, LOSSES = (
    "accuracy_macs.png",
    "policy.png",
    "lost_parts.png",
    "confusion.png",
    "losses.png",
)


def write_pictures(folder: Path, results: Results) -> dict[str, str]:
    """Write every picture that ``results`` has numbers for, each whole or not at all.

    Returns:
        Alternative text by file name; no "losses.png" if nothing was trained.
    """
    draw = {
        ACCURACY: draw_accuracy,
        POLICY: draw_policy,
        LOST: draw_lost,
        CONFUSION: draw_confusion,
        LOSSES: draw_losses,
    }
    written = {}
    for name, function in draw.items():
        with mpl.rc_context(dict(STYLE)):
            drawing = function(results)
            if drawing is None:
                continue
            partial = (folder / name).with_suffix(".partial")
            drawing.figure.savefig(partial, format="png")
        partial.replace(folder / name)
        written[name] = drawing.alt
    return written
