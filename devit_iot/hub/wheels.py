"""The wheels that boards install: a folder, and pages of it as pip reads them."""

import hashlib
import html
import os
import re
import secrets
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

from devit_iot.errors import DevitError
from devit_iot.updates.durable import settle

_WHEEL = re.compile(
    r"(?P<project>[A-Za-z0-9_.]+)-[A-Za-z0-9_.!+]+(-[0-9][A-Za-z0-9_.]*)?"
    r"-[A-Za-z0-9_.]+-[A-Za-z0-9_.]+-[A-Za-z0-9_.]+\.whl"
)


class Wheels:
    """A folder of wheels. Whatever lies in it is served: copying a file there adds it.

    Args:
        folder: made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sums: dict[tuple[str, int, int], str] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob("*.partial-*"):  # uploads that did not end
            left.unlink()

    def path(self, name: str) -> Path | None:
        """Where a wheel is; None if there is no such wheel."""
        if not _WHEEL.fullmatch(name):  # no path may lead out of the folder
            return None
        path = self._folder / name
        return path if path.is_file() else None

    def page(self, project: str = "") -> str:
        """A page of links with SHA-256, of one project or of all (PEP 503).

        It serves ``pip install --find-links`` and, below it a page for each project,
        ``--index-url``.
        """
        wanted = _normal(project)
        links = [
            f'<a href="/wheels/{html.escape(path.name)}#sha256={self._sum(path)}">'
            f"{html.escape(path.name)}</a><br>"
            for path in sorted(self._folder.iterdir())
            if (found := _WHEEL.fullmatch(path.name)) and wanted in {"", _normal(found["project"])}
        ]
        return "\n".join(["<!DOCTYPE html>", "<title>wheels</title>", *links, ""])

    async def take(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        """Keep a wheel that is uploaded; one of the same name is replaced.

        Raises:
            DevitError: it is no wheel.
            OSError: the disk is full.
        """
        check_wheel_name(name)
        partial = self._folder / f"{name}.partial-{secrets.token_hex(4)}"
        try:
            with partial.open("xb") as file:
                async for chunk in chunks:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            _check_content(partial, name)
            settle(partial, self._folder / name)
        finally:
            partial.unlink(missing_ok=True)

    def _sum(self, path: Path) -> str:
        """SHA-256 of a file, computed once for as long as the file stays as it is."""
        now = path.stat()
        key = (path.name, now.st_size, now.st_mtime_ns)
        if key not in self._sums:
            with path.open("rb") as file:
                self._sums[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._sums[key]


def check_wheel_name(name: str) -> None:
    """Raise DevitError unless a file's name is that of a wheel (PEP 427)."""
    if not _WHEEL.fullmatch(name):
        raise DevitError(f"'{name}' is not the name of a wheel, name-version-python-abi-system.whl")


def _check_content(path: Path, name: str) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            has_wheel = any(entry.endswith(".dist-info/WHEEL") for entry in archive.namelist())
    except zipfile.BadZipFile:
        has_wheel = False
    if not has_wheel:
        raise DevitError(f"'{name}' is damaged or no wheel: it has no .dist-info/WHEEL")


def _normal(project: str) -> str:
    """A project's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", project).lower()
