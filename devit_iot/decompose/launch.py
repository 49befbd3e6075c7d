"""A run from its recipe to its report: builds what all stages need, and calls them."""

from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import Accelerator
from rich.console import Console

from devit_iot.datasets.source import Decode
from devit_iot.decompose.finish import finish
from devit_iot.decompose.recipe import Recipe
from devit_iot.decompose.report.report import write_report
from devit_iot.decompose.run import claim, train
from devit_iot.decompose.run_folder.clock import Clock, parse_duration, process_age_s
from devit_iot.decompose.run_folder.folder import RunFolder
from devit_iot.decompose.run_folder.progress import show_progress
from devit_iot.decompose.run_folder.results import fleets_of
from devit_iot.decompose.stages.images import read_images
from devit_iot.decompose.stages.names import REPORT_STAGE
from devit_iot.decompose.training.context import Context


class Launch(NamedTuple):
    """Where and how a recipe runs.

    Attributes:
        base: folder that the recipe's relative paths start from.
        folder: the run's folder.
        decode: image bytes -> pixels, as on the devices.
        command: recorded in the bundle's provenance.
        cpu: leave GPUs alone.
    """

    base: Path
    folder: Path
    decode: Decode
    command: str
    cpu: bool = False


def launch(recipe: Recipe, stage: str, how: Launch) -> Path | None:
    """Run ``recipe`` up to ``stage``, each stage from where it stopped.

    Returns:
        The report, if ``stage`` is the last one; else the folder of the parts. None in all but the
        main process.

    Raises:
        ConfigError: another run is in the folder, or it holds what another recipe left.
        DataError: images, a checkpoint or an earlier result cannot be used.
        TrainingError: a training diverged.
    """
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    precision = "no" if recipe.precision == "fp32" else recipe.precision
    # Processes on CPUs find each other only if told that it is the CPU they train on.
    cpu = how.cpu or not torch.accelerator.is_available()
    accelerator = Accelerator(cpu=cpu, mixed_precision=precision)
    shared = RunFolder(how.folder)
    own = shared.sub(f"parts-{recipe.partition.parts}")
    main = accelerator.is_main_process
    console = Console(stderr=True, quiet=not main)
    with ExitStack() as stack:
        progress = stack.enter_context(show_progress(console))
        images, test = read_images(
            recipe, how.base, how.decode, progress, accelerator.device,
            lambda text: console.print(text, highlight=False, soft_wrap=True),
            processes=accelerator.num_processes,
        )  # fmt: skip
        if main:
            stack.enter_context(shared.locked())
        limit_s = parse_duration(recipe.time) if recipe.time else None
        clock = Clock(own, limit_s, process_age_s())
        tests = len(test.labels)
        run = Context(recipe, how.base, shared, own, images, accelerator, progress, clock, tests)
        claim(run)
        trained = train(run, stage)
        if not main:
            return None
        if trained is None or stage != REPORT_STAGE:
            return own.path
        provenance = {"command": how.command, "torch": str(torch.__version__)}
        results = finish(run, trained, test, provenance)
    others = [fleet for fleet in fleets_of(shared.path) if len(fleet.parts) != len(results.parts)]
    return write_report(own.path, results, others)
