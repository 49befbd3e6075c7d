"""Where a node's CPU time for an image goes: by thread, and by library as perf samples it.

python benchmarks/node_profile.py [--images 300] [--bundle DIR] [--json]

One node of part 0 and one aggregator at one mosquitto, asked one image after the other. Needs
Linux's perf, and the right to use it (root, or kernel.perf_event_paranoid below 2). What is sampled
is CPU time, so other programs may run meanwhile; they still take the caches.
"""

import shutil
import signal
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click
import msgspec
from two_checkouts import LABEL_S, Asker, picture, service, wait_for

from devit_iot.cli.common import one_line_errors
from devit_iot.demo.processes import FleetProcesses
from devit_iot.errors import DataError

_ROOT = Path(__file__).parents[1]
_WARM_UP = 20
_PER_S = 5000  # samples of each second of CPU time
_KINDS = {
    "libjpeg": "decoding the JPEG",
    "_core": "resizing and inference",
    "[kernel": "the kernel: sockets, waking threads",
    "libpython": "Python: paho, Pillow's and our own code",
    "": "C library, numpy and others",
}


class Profile(msgspec.Struct, frozen=True):
    """One node, for an image.

    Attributes:
        threads_ms: CPU time of its threads, milliseconds, the busiest first.
        shares: what the time went to -> fraction of it.
    """

    threads_ms: tuple[float, ...]
    shares: dict[str, float]


def _threads_ms(process: int) -> dict[str, float]:
    tasks = Path(f"/proc/{process}/task").iterdir()
    return {one.name: int((one / "schedstat").read_text().split()[0]) / 1e6 for one in tasks}


def _shares(data: Path) -> dict[str, float]:
    """Fractions of the samples by what they were in."""
    command = ["perf", "report", "--input", str(data), "--stdio", "--no-children"]
    command += ["--sort", "dso", "--field-separator", "|", "--percent-limit", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    shares = dict.fromkeys(_KINDS.values(), 0.0)
    for line in done.stdout.splitlines():
        share, _, library = (field.strip() for field in line.partition("|"))
        if library and not share.startswith("#"):
            kind = next(kind for name, kind in _KINDS.items() if library.startswith(name))
            shares[kind] += float(share.rstrip("%")) / 100
    return shares


def measure(bundle: Path, images: int) -> Profile:
    """Profile one node.

    Raises:
        DataError: perf is not there or may not be used, or a label does not come.
    """
    if shutil.which("perf") is None:
        raise DataError("perf is not installed: it is in the package linux-perf or linux-tools")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = stack.enter_context(FleetProcesses(folder, bundle=bundle, fleet="none"))
        broker.start_broker("mosquitto")
        own = ["--broker", broker.url, "--fleet", "before", "--bundle", str(bundle)]
        topic = "before/{camera}/image/{request}"
        node = [*own, "--part", "0", "--name", "node", "--threads", "1", "--images", topic]
        stack.enter_context(service(_ROOT, "aggregate", folder / "aggregate.log", *own))
        process = stack.enter_context(service(_ROOT, "node", folder / "node.log", *node))
        asker = Asker(broker.url, ("before", "after"))
        stack.callback(asker.stop)
        shown = picture()
        wait_for(asker, "before", shown)
        for turn in range(_WARM_UP + images):
            if turn == _WARM_UP:
                command = ["perf", "record", "--event", "cpu-clock", "--freq", str(_PER_S)]
                command += ["--output", str(folder / "perf.data"), "--pid", str(process)]
                perf = stack.enter_context(
                    subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # noqa: S603
                )
                before = _threads_ms(process)
            if asker.ask("before/door/image", shown, LABEL_S) is None:
                raise DataError("no label of the node's image")
        after = _threads_ms(process)
        perf.send_signal(signal.SIGINT)
        said = perf.communicate()[0].decode(errors="replace").strip()
        shares = _shares(folder / "perf.data")
        if not any(shares.values()):
            raise DataError(f"perf sampled nothing: {said.splitlines()[0] if said else 'no word'}")
    used = sorted(((ms - before.get(one, 0.0)) / images for one, ms in after.items()), reverse=True)
    return Profile(tuple(used), shares)


@click.command()
@click.option("--bundle", type=click.Path(path_type=Path), help="Default: the demo's.")
@click.option("--images", default=300, show_default=True)
@click.option("--json", "as_json", is_flag=True)
@one_line_errors
def main(bundle: Path | None, *, images: int, as_json: bool) -> None:
    """Profile a node's CPU time for an image."""
    found = measure((bundle or _ROOT / "devit_iot/demo/bundle").resolve(), images)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    threads = ", ".join(f"{ms:.2f}" for ms in found.threads_ms if ms >= 0.005)  # noqa: PLR2004
    click.echo(f"CPU {sum(found.threads_ms):.2f} ms an image, by thread {threads}")
    for kind, share in found.shares.items():
        click.echo(f"{share:5.1%}  {share * sum(found.threads_ms):.2f} ms  {kind}")


if __name__ == "__main__":
    main()
