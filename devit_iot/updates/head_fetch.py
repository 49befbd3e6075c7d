"""Fetches the heads that come with a release, and makes them live beside its bundle."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from devit_iot.bundle.head import FOLDER, HEAD, SIGNATURE, decode_head
from devit_iot.bundle.head_files import read_files
from devit_iot.bundle.head_writing import put_head
from devit_iot.bundle.manifest import FileEntry
from devit_iot.bundle.reading import Bundle
from devit_iot.protocol.release import ReleaseHead
from devit_iot.updates.fetch import Fetcher

_COMING = "fetched.partial"


def fetch_heads(fetcher: Fetcher, url: str, folder: Path, heads: Iterable[ReleaseHead]) -> None:
    """Bring heads beside a bundle; whoever loads one checks its signature.

    Args:
        fetcher: fetches files of the hub.
        url: address of the hub.
        folder: folder of the bundle, whose manifest is there.
        heads: heads that the release names.

    Raises:
        FetchError: the hub cannot be reached, or the connection was cut.
        ContentError: the hub does not have a file, or another one under its name.
        BundleError: a head is damaged, or belongs to other parts, or cannot be written.
        OSError: the disk is full, or the folder cannot be written.
    """
    for head in heads:
        coming = folder / FOLDER / head.name / _COMING
        coming.mkdir(parents=True, exist_ok=True)
        text = FileEntry(HEAD, head.manifest_size, head.manifest)
        fetcher.fetch(url, text, coming / HEAD, on_bytes=lambda _done: None)
        tensors = decode_head(f"head '{head.name}'", (coming / HEAD).read_bytes()).tensors
        fetcher.fetch(url, tensors, coming / tensors.file, on_bytes=lambda _done: None)
        if head.signature:
            (coming / SIGNATURE).write_bytes(bytes.fromhex(head.signature))
        put_head(Bundle(folder), head.name, read_files(coming)[1])
        shutil.rmtree(coming, ignore_errors=True)
