"""Calibrations that say what a test needs."""

from devit_iot.bundle.calibration import FORMAT, VERSION, Calibration, Stage
from devit_iot.bundle.head import read_head
from devit_iot.bundle.reading import Bundle


def sure_after(
    bundle: Bundle, count: int, *, head: str = "default", order: tuple[int, ...] = ()
) -> Calibration:
    """One by which ``count`` parts, whichever they are, are enough, and fewer are not."""
    parts = len(bundle.manifest.parts)
    stages = tuple(
        Stage(have, (), 1.0, 1.0, 0.0, 10.0 if have >= count else -10.0) for have in range(1, parts)
    )
    return Calibration(
        FORMAT,
        VERSION,
        head,
        read_head(bundle, head).version,
        bundle.parts_fingerprint.hex(),
        order or tuple(range(parts)),
        100,
        stages,
    )
