"""Wheels of what is installed here: a board gets them as if they had been downloaded and built."""

import base64
import hashlib
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackagePath, distribution
from pathlib import Path

from devit_iot import _core

ROOT = Path(__file__).parents[2]
NEEDS = (
    *("click", "msgspec", "numpy", "paho-mqtt", "pillow", "safetensors"),
    *("tuf", "securesystemslib", "urllib3"),
    "pip",
)
"""What a node needs at run time, what it checks releases with, and what installs it."""

NODE_BYTES = 110e6
"""What a node with all that it needs may take of a board's disk."""

OWN = "devit-iot"
_OWN_TAG = (
    f"cp{sys.version_info.major}{sys.version_info.minor}-"
    f"cp{sys.version_info.major}{sys.version_info.minor}-"
    f"{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
)


def disk_bytes(folder: Path) -> int:
    """What the files in a folder take on the disk."""
    return sum(512 * path.lstat().st_blocks for path in folder.rglob("*"))


def make_wheels(folder: Path) -> list[Path]:
    """All the wheels that a node needs, in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    return [own_wheel(folder), *(repacked(name, folder) for name in NEEDS)]


def own_wheel(folder: Path, tag: str = _OWN_TAG) -> Path:
    """A wheel of this checkout as CMake would make it, of the C++ module that is compiled already.

    Args:
        folder: where it is put.
        tag: Python, ABI and system that its name promises.
    """
    installed = distribution(OWN)
    info = f"devit_iot-{installed.version}.dist-info"
    wheel = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: false\nTag: {tag}\n"
    texts = {"WHEEL": wheel}
    for name in ("METADATA", "entry_points.txt"):
        texts[name] = installed.read_text(name) or ""
    entries = {f"{info}/{name}": text.encode() for name, text in texts.items()}
    for source, target in _own_files():
        entries[target] = source.read_bytes()
    return _write(folder / f"devit_iot-{installed.version}-{tag}.whl", info, entries)


def repacked(name: str, folder: Path) -> Path:
    """A wheel of an installed distribution."""
    found = distribution(name)
    info = next(Path(str(f)).parent.name for f in found.files or [] if f.name == "METADATA")
    entries = {str(file): Path(str(file.locate())).read_bytes() for file in _files(found)}
    stem = info.removesuffix(".dist-info")
    return _write(folder / f"{stem}-{_tag(found)}.whl", info, entries)


def _tag(found: Distribution) -> str:
    """The tag of a wheel's name; a wheel of several systems lists them all in its WHEEL file."""
    lines = (found.read_text("WHEEL") or "").splitlines()
    tags = [line.removeprefix("Tag: ").split("-") for line in lines if line.startswith("Tag: ")]
    return "-".join(".".join(dict.fromkeys(tag[n] for tag in tags)) for n in range(3))


def _files(found: Distribution) -> Iterator[PackagePath]:
    for file in found.files or []:
        outside = file.parts[0] == ".." or "__pycache__" in file.parts
        if not outside and file.name not in {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}:
            yield file


def _own_files() -> Iterator[tuple[Path, str]]:
    for path in sorted((ROOT / "devit_iot").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".so":
            yield path, str(path.relative_to(ROOT))
    core = Path(_core.__file__ or "")
    yield core, f"devit_iot/{core.name}"
    for suffix in (".toml", ".service", ".conf"):
        for path in sorted((ROOT / "firmware_configs").rglob(f"*{suffix}")):
            below = path.relative_to(ROOT / "firmware_configs")
            yield path, f"devit_iot/boards/{below}"
    yield ROOT / "broker/mosquitto.conf", "devit_iot/broker/mosquitto.conf"


def _write(path: Path, info: str, entries: dict[str, bytes]) -> Path:
    """Write a wheel with its list of hashes, compressed as far as that is quick."""
    record = "".join(
        f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in entries.items()
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return path


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
