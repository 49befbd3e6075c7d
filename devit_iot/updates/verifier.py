"""Whether the fleet's owner allows a release: the client of The Update Framework.

What a member has seen it remembers in its store, so that nothing older is taken later.
"""

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from devit_iot.errors import ConfigError
from devit_iot.protocol.release import Release
from devit_iot.updates.fetch import ContentError, Fetcher, FetchError

try:
    from tuf.api.exceptions import (
        BadVersionNumberError,
        DownloadError,
        DownloadHTTPError,
        DownloadLengthMismatchError,
        ExpiredMetadataError,
        RepositoryError,
    )
    from tuf.ngclient import FetcherInterface, TargetFile, Updater, UpdaterConfig
except ImportError as missing:
    raise ConfigError(
        f"updates.root_file needs tuf ({missing}): pip install 'devit-iot[updates]'"
    ) from missing

logger = logging.getLogger(__name__)
logging.getLogger("tuf").setLevel(logging.WARNING)  # what is wrong is said once, by us

_MAX_BYTES = 2**18
_OK = 200
_NOT_FOUND = 404
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class NotAllowedError(ContentError):
    """The release is not one that the fleet's owner allows, or nobody can tell."""


class Verifier:
    """Asks a hub what its owner allows, and believes nothing but signatures.

    Args:
        folder: where metadata that was seen is kept.
        root: the fleet's root of trust, which came with the set-up of this member.
        fetcher: reaches the hub.
        clock_counts: whether this machine's clock may say what is out of date.

    Raises:
        ConfigError: ``root`` is no root.
    """

    def __init__(
        self, folder: Path, root: bytes, fetcher: Fetcher, clock_counts: Callable[[], bool]
    ) -> None:
        self._folder = folder
        self._root = root
        self._fetcher = fetcher
        self._clock_counts = clock_counts
        try:
            self._updater("http://localhost", _Seen(folder))
        except RepositoryError as error:
            raise ConfigError(
                f"updates.root_file is no root of trust ({error}): paste the line of "
                "`devit fleet add` again"
            ) from error
        except OSError as error:
            raise ConfigError(f"cannot use {folder}: {error.strerror}") from error

    def check(self, url: str, release: Release) -> None:
        """Return if the release may be installed.

        While the hub cannot be reached, what this member saw last counts, until it is out of date.

        Args:
            url: address of the hub.
            release: what it offers.

        Raises:
            NotAllowedError: the owner does not allow it, or what the hub has is not by the owner,
                older than what was seen here, or out of date.
            FetchError: the hub cannot be reached, and what was seen here does not allow it.
            OSError: the disk is full, or the folder cannot be written.
        """
        try:
            self._check(url, release, _OfHub(self._fetcher))
        except FetchError:
            try:
                self._check(url, release, _Seen(self._folder))
            except (FetchError, NotAllowedError):
                pass
            else:
                logger.info("the hub cannot be reached; release %d was allowed", release.number)
                return
            raise

    def _check(self, url: str, release: Release, source: FetcherInterface) -> None:
        found = self._look_up(url, release, source)
        if found is None:
            raise NotAllowedError(
                f"the fleet's owner does not allow bundle {release.fingerprint}: push it with "
                "the keys of the fleet's folder"
            )
        if (found.hashes.get("sha256"), found.length) != (release.manifest, release.manifest_size):
            raise NotAllowedError(
                f"the fleet's owner allows another manifest of bundle {release.fingerprint} than "
                "the hub offers: push the bundle again"
            )

    def _look_up(self, url: str, release: Release, source: FetcherInterface) -> TargetFile | None:
        try:
            updater = self._updater(url, source)
            updater.refresh()
            return updater.get_targetinfo(f"{release.fingerprint}/manifest.json")
        except ExpiredMetadataError as error:
            raise NotAllowedError(
                f"what the owner allows is out of date ({error}): see to the hub's clock, or sign "
                "again with `devit fleet sign`"
            ) from error
        except BadVersionNumberError as error:
            raise NotAllowedError(
                f"what the hub says is older than what was seen here, or does not fit together "
                f"({error})"
            ) from error
        except DownloadHTTPError as error:
            if error.status_code == _NOT_FOUND:
                raise NotAllowedError(
                    "the hub has nothing that the fleet's owner signed: `devit fleet sign`"
                ) from error
            raise FetchError(str(error)) from error
        except (DownloadLengthMismatchError, RepositoryError, ValueError) as error:
            raise NotAllowedError(
                f"what the hub says is not by the fleet's owner ({error})"
            ) from error
        except DownloadError as error:
            raise FetchError(str(error.__cause__ or error)) from error

    def _updater(self, url: str, source: FetcherInterface) -> Updater:
        limits = UpdaterConfig(
            root_max_length=_MAX_BYTES,
            timestamp_max_length=_MAX_BYTES,
            snapshot_max_length=_MAX_BYTES,
            targets_max_length=_MAX_BYTES,
        )
        updater = Updater(
            str(self._folder),
            f"{url}/metadata",
            fetcher=source,
            config=limits,
            bootstrap=self._root,
        )
        if not self._clock_counts():  # the library has no other way to say what time it is
            updater._trusted_set.reference_time = _LONG_AGO  # noqa: SLF001
        return updater


class _OfHub(FetcherInterface):
    """Metadata of a hub, by our own HTTP."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    def _fetch(self, url: str) -> Iterator[bytes]:
        status, content = self._fetcher.get(url, _MAX_BYTES)
        if status != _OK:
            raise DownloadHTTPError(f"{url} answers {status}", status)
        return iter([content])


class _Seen(FetcherInterface):
    """What was seen last, for the time in which the hub cannot be reached.

    The library looks for all but the timestamp in its own folder first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url.rpartition("/")[2]
        if name != "timestamp.json":
            raise DownloadHTTPError("not here", _NOT_FOUND)
        return iter([(self._folder / name).read_bytes()])
