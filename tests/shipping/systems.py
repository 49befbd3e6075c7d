"""Clean root file systems of Debian, and programs run in them.

mmdebstrap makes them. For another processor than this machine's it unpacks the packages and runs
none of their scripts; QEMU then runs the programs. It is registered in a user namespace, so nothing
changes outside of it; Linux has such registers from 6.7 on.
"""

import platform
import shutil
import subprocess
from pathlib import Path

from tests.shipping.clean import said
from tests.shipping.manifests import ROOT

BUILD = ROOT / "build" / "clean"
DEBIAN = {"x86_64": "amd64", "aarch64": "arm64"}
CPU = {"aarch64": "cortex-a72"}
"""The processor that is emulated; a Raspberry Pi 4's."""

VARIANTS = {
    True: ("minbase", "python3,python3-venv"),
    False: ("extract", "python3,python3-venv,apt"),
}
"""mmdebstrap's variant and packages for this machine's processor and for others.

No Debian is without apt, and with it comes the C++ library that numpy needs.
"""

_EMULATED = """
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
cat "/usr/lib/binfmt.d/qemu-$1.conf" >/proc/sys/fs/binfmt_misc/register
exec chroot "${@:2}"
"""


def entered(root: Path, arch: str) -> list[str]:
    """What to put before a command to run it in ``root``, with no variable of these tests."""
    variables = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", f"QEMU_CPU={CPU.get(arch, '')}"]
    if arch == platform.machine():
        return ["env", "-i", *variables[:1], "chroot", str(root)]
    namespace = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-ec", _EMULATED]
    return ["env", "-i", *variables, *namespace, "entered", arch, str(root)]


def missing(arch: str) -> str:
    """Why programs for ``arch`` do not run on this machine; empty if they do."""
    tools = [tool for tool in ("mmdebstrap", "unshare", "arch-test") if shutil.which(tool) is None]
    if tools:
        return f"no system is made without {', '.join(tools)}"
    probe = [*entered(Path("/"), arch), "arch-test", DEBIAN[arch]]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"nothing runs for {arch}: {done.stdout}{done.stderr}"


class System:
    """One Debian with its Python and nothing else.

    Args:
        suite: the Debian's name.
        arch: its processor, as ``uname -m`` says it.
    """

    def __init__(self, suite: str, arch: str) -> None:
        self.root = BUILD / f"{suite}-{arch}"
        self.command = entered(self.root, arch)
        variant, packages = VARIANTS[arch == platform.machine()]
        said("rm", "-rf", self.root)
        BUILD.mkdir(parents=True, exist_ok=True)
        said(
            "mmdebstrap", "--quiet", f"--variant={variant}", f"--architectures={DEBIAN[arch]}",
            f"--include={packages}", suite, self.root,
        )  # fmt: skip

    def run(self, *command: str) -> str:
        """What a command in the system printed."""
        return said(*self.command, *command)

    def size(self, folder: str) -> int:
        """Bytes of the files of a folder in the system."""
        return int(said("du", "--summarize", "--bytes", self.root / folder).split()[0])
