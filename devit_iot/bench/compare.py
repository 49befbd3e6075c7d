"""Runs the engines side by side: each in a process of its own, in turn."""

import os
import platform
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from devit_iot import __version__, _core
from devit_iot.bench.energy import joules_of_call
from devit_iot.bench.graph import peer_pixels
from devit_iot.bench.interleave import Timing, interleave
from devit_iot.bench.models import MODELS, model_tensors, require_models
from devit_iot.bench.peers import ENGINES, OURS, Source
from devit_iot.bench.process import Worker
from devit_iot.bench.report import BenchReport, EngineResult, Machine, NetworkResult
from devit_iot.bench.runners import Job
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import macs
from devit_iot.bundle.storage import Dtype
from devit_iot.energy.meter import MEASURED, EnergyMeter
from devit_iot.engine.base import GOLDEN_TOLERANCE
from devit_iot.errors import EngineError

_STARTS = 3
_LEAST, _MOST = 5, 300
_ENERGY_S = 5.0
"""An engine runs alone for so long, so that a power chip is asked several times."""


class Options(NamedTuple):
    """The options of a run.

    Attributes:
        peers: names of engines other than ours.
        threads: CPU threads of one inference.
        seconds: time for the measured rounds of each network.
        say: takes a line about what is going on.
        meter: tells what the machine takes.
    """

    peers: tuple[str, ...]
    threads: int
    dtype: Dtype
    seconds: float
    say: Callable[[str], None]
    meter: EnergyMeter


class Network(NamedTuple):
    """A network, its names for people, and its weights with the golden pair."""

    name: str
    what: str
    source: Source


def compare_models(names: Sequence[str], options: Options) -> BenchReport:
    """Measure networks of :data:`devit_iot.bench.models.MODELS`.

    Raises:
        ConfigError: no such model.
        EngineError: our own engine failed.
    """
    require_models(names)
    results = []
    for name in names:
        options.say(f"{name}: making random weights")
        what, spec = MODELS[name]
        results.append(compare(Network(name, what, Source(spec, model_tensors(name))), options))
    return _report(results, options)


def compare_part(bundle: Bundle, part: int, options: Options) -> BenchReport:
    """Measure a part of a bundle.

    Raises:
        BundleError: there is no such part, or its file is damaged.
        EngineError: our own engine failed.
    """
    name = bundle.manifest.name
    read = bundle.read_part(part)
    source = Source(read.spec, read.tensors)
    network = Network(f"{name}-{part}", f"part {part} of {name}", source)
    return _report([compare(network, options)], options)


def compare(network: Network, options: Options) -> NetworkResult:
    """Measure one network on our engine and on the peers that are there."""
    wanted = network.source.tensors["golden.feature"]
    with tempfile.TemporaryDirectory(prefix="devit-bench-") as folder, ExitStack() as stack:
        jobs, missing = _prepare(network, options, Path(folder))
        options.say(f"{network.name}: starting {', '.join(jobs)}")
        workers, starts = _start(jobs, missing, stack)
        options.say(f"{network.name}: timing, about {options.seconds:g} s")
        peak = _core.fma_peak()
        runs = {name: worker.run for name, worker in workers.items()}
        times = interleave(runs, seconds=options.seconds, least=_LEAST, most=_MOST)
        peak = max(peak, _core.fma_peak())
        cpu_ms = {name: worker.cpu_ms() for name, worker in workers.items()}
        joules = _joules(network, runs, times, options)
        size = macs(network.source.spec)
        engines = []
        for name, worker in workers.items():
            ms = times[name]
            gflops = 2e-6 * size / ms.median
            error = float(np.linalg.norm(worker.feature - wanted) / np.linalg.norm(wanted))
            engines.append(
                EngineResult(
                    engine=name,
                    version=_version(name),
                    detail=_detail(worker.detail, jobs[name].dtype, options.dtype),
                    ms=ms.median,
                    ms_min=ms.least,
                    cpu_ms=cpu_ms[name],
                    rounds=ms.rounds,
                    gflops=gflops,
                    share=gflops / (peak * options.threads),
                    resident_mb=worker.resident_mb(),
                    cold_start_s=statistics.median(starts[name]),
                    error=error,
                    sound=error <= GOLDEN_TOLERANCE[options.dtype],
                    energy_j=joules[name],
                )
            )
    best = _fastest_peer(engines)
    return NetworkResult(
        name=network.name,
        what=network.what,
        macs=size,
        peak_gflops=peak,
        engines=tuple(engines),
        missing=missing,
        fastest_peer=best.engine if best else "",
        speedup=best.ms / engines[0].ms if best else 0.0,
    )


def _prepare(
    network: Network, options: Options, folder: Path
) -> tuple[dict[str, Job], dict[str, str]]:
    """Write every engine's model and pixels; also who cannot take part, and why."""
    tensors = network.source.tensors
    image = tensors["golden.image"]
    jobs, missing = {}, {}
    for name in (OURS, *options.peers):
        peer = ENGINES[name]
        dtype = peer.instead_of(options.dtype)
        if reason := peer.lacks(dtype):
            missing[name] = reason
            continue
        options.say(f"{network.name}: writing the model of {name}")
        own = folder / name
        own.mkdir()
        pixels = peer_pixels(tensors, image, peer.layout) if peer.layout else image
        np.save(own / "pixels.npy", pixels)
        try:
            model = peer.write(network.source, own, dtype)
        except Exception as error:  # other packages raise what they like
            if name == OURS:
                raise
            missing[name] = f"its model cannot be written: {' '.join(str(error).split())}"
            continue
        jobs[name] = Job(
            engine=name,
            model=str(model),
            pixels=str(own / "pixels.npy"),
            threads=options.threads,
            dtype=dtype,
        )
    return jobs, missing


def _start(
    jobs: Mapping[str, Job], missing: dict[str, str], stack: ExitStack
) -> tuple[dict[str, Worker], dict[str, list[float]]]:
    """Start each engine several times, in turn, and keep the last; a peer that fails is missing."""
    workers: dict[str, Worker] = {}
    starts: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(_STARTS):
        for name, job in jobs.items():
            if name in missing:
                continue
            try:
                worker = Worker(job)
            except EngineError as error:
                if name == OURS:
                    raise
                missing[name] = str(error)
                continue
            starts[name].append(worker.cold_start_s)
            if number < _STARTS - 1:
                worker.close()
            else:
                workers[name] = stack.enter_context(worker)
    return workers, starts


def _joules(
    network: Network,
    runs: Mapping[str, Callable[[], float]],
    times: Mapping[str, Timing],
    options: Options,
) -> dict[str, float]:
    """What the machine takes for one image of each engine, which runs alone if that is measured."""
    if options.meter.source not in MEASURED:
        return {name: options.meter.read(times[name].median / 1e3).joules for name in runs}
    seconds = min(options.seconds, _ENERGY_S)
    options.say(f"{network.name}: energy, about {seconds * len(runs):g} s")
    return {name: joules_of_call(run, options.meter, seconds) for name, run in runs.items()}


def _fastest_peer(engines: Sequence[EngineResult]) -> EngineResult | None:
    peers = [engine for engine in engines if engine.engine != OURS and engine.sound]
    return min(peers, key=lambda engine: engine.ms, default=None)


def _detail(chosen: str, dtype: str, wanted: str) -> str:
    """What an engine chose, and its dtype if that is not the one of the run."""
    return ", ".join(filter(None, (chosen, dtype if dtype != wanted else "")))


def _version(name: str) -> str:
    if name == OURS:
        return __version__
    try:
        return version(ENGINES[name].distribution)
    except PackageNotFoundError:  # built from source, without metadata
        return ""


def _report(results: Sequence[NetworkResult], options: Options) -> BenchReport:
    machine = Machine(
        processor=platform.machine(),
        isa=_core.select_isa(),
        cores=os.cpu_count() or 1,
        load=round(os.getloadavg()[0], 2),
        energy_from=options.meter.source,
    )
    return BenchReport(machine, options.threads, options.dtype, tuple(results))
