"""Images built without a daemon, and their programs run with the root read-only.

No registry is asked: mmdebstrap makes the base, with the same Python as runs the tests, and pip
takes wheels from the build's folder. buildah's own isolation needs nothing but root. It has no
read-only root, so programs run in the mounted image by chroot, in a mount namespace of their own.
"""

import functools
import json
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.shipping.clean import said
from tests.shipping.manifests import ROOT

BUILD = ROOT / "build" / "images"
SUITES = {(3, 11): "bookworm", (3, 13): "trixie"}
SUITE = SUITES.get(sys.version_info[:2], "")
TOOLS = ("buildah", "mmdebstrap", "unshare", "chroot")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
BASE = "localhost/devit-base"

_LEFT_OUT = ("doc", "info", "locale", "man", "zoneinfo")
_RUN = """
root=$1; shift
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
exec chroot --userspec="$1" "$root" env -i --chdir=/tmp "${@:2}"
"""


def buildah(*arguments: str | Path) -> str:
    """Run buildah with a store of its own."""
    store = ("--root", BUILD / "store", "--runroot", BUILD / "run", "--storage-driver", "vfs")
    return said("buildah", *store, *arguments)


def base() -> Path:
    """A small Debian with a Python, as an archive; made once."""
    archive = BUILD / f"base-{SUITE}.tar"
    if not archive.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        partial = BUILD / "base.partial.tar"
        left_out = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _LEFT_OUT]
        said(
            "mmdebstrap", "--quiet", "--variant=minbase", "--include=python3,python3-venv",
            *left_out, SUITE, partial,
        )  # fmt: skip
        partial.rename(archive)
    return archive


def import_base() -> None:
    """Make the base an image of our store."""
    container = buildah("from", "scratch").strip()
    buildah("add", "--quiet", container, base(), "/")
    buildah("commit", "--quiet", "--rm", container, BASE)


class Image:
    """One target of the Containerfile, built from the wheels of a folder.

    Args:
        target: name of the stage.
        context: the build's folder; its ``dist`` holds every wheel that is installed.
    """

    def __init__(self, target: str, context: Path) -> None:
        self.name = f"localhost/devit-{target}"
        buildah(
            "build", "--quiet", "--isolation", "chroot", "--format", "docker", "--pull-never",
            "--file", ROOT / "Containerfile", "--target", target, "--tag", self.name,
            "--build-arg", f"BASE={BASE}", "--build-arg", "PIP_NO_INDEX=1", context,
        )  # fmt: skip
        self._container = buildah("from", "--pull-never", self.name).strip()
        self.root = Path(buildah("mount", self._container).strip())

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """What the image says of itself, in Docker's form."""
        inspected = json.loads(buildah("inspect", "--type", "image", self.name))
        config: dict[str, Any] = inspected["Docker"]["config"]
        return config

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return int(said("du", "--summarize", "--bytes", self.root).split()[0])

    def wrapper(self, *variables: str) -> list[str]:
        """What to put before a command to run it in the image as its user, all read-only.

        Args:
            variables: ``NAME=value``, beside those of the image.
        """
        environment = [*self.config["Env"], *variables]
        return ["unshare", "--mount", "bash", "-ec", _RUN, "run", str(self.root),
                self.config["User"], *environment]  # fmt: skip

    def run(self, *command: str, variables: Sequence[str] = ()) -> str:
        """What a command in the image printed."""
        return said(*self.wrapper(*variables), *command)

    def health(self, variables: Sequence[str]) -> str:
        """Run the health check; the test fails if it does."""
        kind, *command = self.config["Healthcheck"]["Test"]
        assert kind == "CMD", shlex.join(command)
        return self.run(*command, variables=variables)
