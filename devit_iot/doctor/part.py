"""The bundle and this board's part of it, on this board's engine."""

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from devit_iot.build import check_memory
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import WHOLE, View
from devit_iot.config.config import Config
from devit_iot.doctor.finding import Finding, bad, bad_error, ok, warn
from devit_iot.engine.base import load_engine
from devit_iot.errors import BundleError, ConfigError, EngineError

_TIMED_S = 1.0
_LEAST, _MOST = 3, 200


def _seen(view: View) -> str:
    return "the whole image" if view == WHOLE else f"{view} of it"


def check_part(config: Config) -> Iterator[Finding]:
    """Check that the files are whole and signed, fit into memory, and compute what they should."""
    if not config.bundle:
        yield warn("bundle", "none given: not checked", "add --bundle DIR and --part N")
        return
    try:
        bundle = Bundle(Path(config.bundle), trust=config.trust)
        parts = len(bundle.manifest.parts)
        index = config.node.part or 0
        if index >= parts:
            text = f"there is no part {index} in {config.bundle}"
            yield bad("bundle", text, f"choose --part 0 to {parts - 1}")
            return
        part = bundle.read_part(index)
    except (BundleError, ConfigError) as error:
        yield bad_error("bundle", error, f"copy the bundle again to {config.bundle}")
        return
    manifest = bundle.manifest
    signed = "signed by the trusted key" if config.trust else "signature not asked for (--trust)"
    yield ok(
        "bundle",
        f"{manifest.name}, fingerprint {manifest.fingerprint}, part {part.index} of "
        f"{parts} is whole and sees {_seen(part.spec.seen)}; {signed}",
    )
    try:
        check_memory(config, part.entry)
    except ConfigError as error:
        yield bad_error("part", error, "choose a smaller part")
    begin = time.monotonic()
    try:
        engine = load_engine(
            part,
            name=config.node.engine,
            threads=config.node.threads,
            isa=config.node.isa,
            dtype=config.node.dtype or None,
        )
    except (BundleError, EngineError) as error:
        yield bad_error("golden", error, "try --isa scalar or another --engine, and report this")
        return
    loaded_s = time.monotonic() - begin
    image = part.tensors["golden.image"].astype(np.uint8, copy=False)
    times_ms: list[float] = []
    end = time.monotonic() + _TIMED_S
    while len(times_ms) < _LEAST or (len(times_ms) < _MOST and time.monotonic() < end):
        begin = time.monotonic()
        engine.features(image)
        times_ms.append(1e3 * (time.monotonic() - begin))
    yield ok(
        "golden",
        f"{engine.name} ({engine.detail}) computes the golden image as it should, loaded in "
        f"{loaded_s:.1f} s, {statistics.median(times_ms):.1f} ms an image",
    )
