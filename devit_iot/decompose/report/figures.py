"""The pictures of a report; only the modules called figures import matplotlib."""

from collections.abc import Callable, Sequence
from pathlib import Path

from devit_iot.decompose.report.figures_boards import draw_boards
from devit_iot.decompose.report.figures_fleet import draw_accuracy, draw_confusion, draw_lost
from devit_iot.decompose.report.figures_parts import draw_losses, draw_policy
from devit_iot.decompose.run_folder.results import Results
from devit_iot.figures.style import Drawing
from devit_iot.figures.writing import write_picture

BOARDS, ACCURACY, POLICY, LOST, CONFUSION, LOSSES = (
    "boards.png",
    "accuracy_macs.png",
    "policy.png",
    "lost_parts.png",
    "confusion.png",
    "losses.png",
)


def write_pictures(
    folder: Path, results: Results, others: Sequence[Results] = ()
) -> dict[str, str]:
    """Write every picture that there are numbers for, each whole or not at all.

    Args:
        folder: folder that the pictures go to.
        results: the run's results.
        others: results of other fleets of the same teacher.

    Returns:
        Alternative text by file name; no "losses.png" if nothing was trained, no "boards.png"
        without others.
    """
    draw: dict[str, Callable[[], Drawing | None]] = {
        BOARDS: lambda: draw_boards([results, *others]),
        ACCURACY: lambda: draw_accuracy(results),
        POLICY: lambda: draw_policy(results),
        LOST: lambda: draw_lost(results),
        CONFUSION: lambda: draw_confusion(results),
        LOSSES: lambda: draw_losses(results),
    }
    written = {name: write_picture(folder / name, function) for name, function in draw.items()}
    return {name: alt for name, alt in written.items() if alt is not None}
