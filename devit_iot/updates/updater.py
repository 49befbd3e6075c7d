"""A member's way from one release to the next, on a thread of its own."""

import logging
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from devit_iot.errors import DevitError, MessageError
from devit_iot.protocol.release import Release, Rollout, UpdateStatus
from devit_iot.transport.base import Message
from devit_iot.updates.fetch import BusyError, Cancelled, ContentError, FetchError
from devit_iot.updates.installer import Installer
from devit_iot.updates.progress import Progress
from devit_iot.updates.store import MAX_STARTS, Held, Store

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""How often files that are wrong or do not fit on the disk are tried; a cut link does not count."""

PAUSE_S = (0.5, 10.0)
"""Shortest and longest pause before another attempt."""

TURN_S = (0.2, 1.0)
"""Shortest and longest pause before asking a busy hub again."""

_NO_ROOM = "no room for two bundles: it is proven when it serves"

T = TypeVar("T")


class Serving(NamedTuple, Generic[T]):
    """What is served: the release, and what was loaded of it."""

    held: Held
    content: T | None


def _ignore(_rollout: Rollout) -> None:
    """Nobody else wants to know."""


class Member(NamedTuple, Generic[T]):
    """What differs between nodes and aggregators.

    Attributes:
        name: name of a node; empty for an aggregator, which every release needs.
        load: makes what is served of a bundle's folder, and proves it; may take long. None: the
            files are sound, and there is no room for a second bundle beside the one that serves.
        serve: goes over to it, at once; without content by another start of the process.
        leave: the hub gives this node no part any more.
        hear: is told what the hub says, on the network thread.
    """

    name: str
    load: Callable[[Path, Held], T | None]
    serve: Callable[[Serving[T]], None]
    leave: Callable[[], None]
    hear: Callable[[Rollout], None] = _ignore


class Updater(Generic[T]):
    """Follows the hub's Rollout: downloads, installs, waits, activates, returns.

    Args:
        member: who this is.
        store: where its bundles are.
        installer: brings files there.
        publish: sends what this member says of it.
        serving: what it serves already; None: nothing.
    """

    def __init__(
        self,
        member: Member[T],
        store: Store,
        installer: Installer,
        publish: Callable[[UpdateStatus], None],
        serving: Serving[T] | None,
    ) -> None:
        self._member = member
        self._store = store
        self._installer = installer
        self._serving = serving
        self._progress = Progress(publish, self._first_status())
        self._loaded: dict[tuple[str, int | None], Serving[T]] = {}
        if serving is not None:
            self._remember(serving)
        self._changed = threading.Condition()
        self._rollout: Rollout | None = None
        self._news = False
        self._unheard = False
        self._stopping = False
        self._loading_since: float | None = None

    def _first_status(self) -> UpdateStatus:
        if self._serving is None:
            return UpdateStatus(release=0, fingerprint="", state="CREATED")
        held = self._serving.held
        return UpdateStatus(
            release=held.number,
            fingerprint=held.fingerprint,
            state="ACTIVATED",
            part=held.part,
            progress=1.0,
            serving=held.number,
            trial=held == self._store.state.trial,
        )

    def receive(self, message: Message) -> None:
        """Take the hub's message; on the network thread."""
        if message.is_deletion:
            return
        try:
            rollout = Rollout.decode(message.payload)
        except MessageError as error:
            logger.warning("refused the release of the hub: %s", error)
            return
        self._member.hear(rollout)
        with self._changed:
            # After a new connection, here or at the hub, the hub may know nothing of this member.
            unheard = message.retained or self._rollout is None or rollout == self._rollout
            self._unheard = self._unheard or unheard
            self._news = True
            self._rollout = rollout
            self._changed.notify_all()

    @property
    def status(self) -> UpdateStatus:
        """What was said last; on any thread."""
        return self._progress.status

    @property
    def loading_s(self) -> float:
        """For how long a bundle has been loading, which nothing can interrupt; 0: none is."""
        since = self._loading_since
        return 0.0 if since is None else time.monotonic() - since

    def run(self) -> None:
        """Follow the hub until :meth:`stop`."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._news or self._stopping)
                if self._stopping:
                    return
                rollout, unheard = self._rollout, self._unheard
                self._news = self._unheard = False
            if unheard:
                self._progress.repeat()
            if rollout is not None:
                self._follow(rollout)

    def stop(self) -> None:
        """Make :meth:`run` return soon; what is under way goes on after the next start."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def _follow(self, rollout: Rollout) -> None:
        try:
            self._serve_wanted(rollout)
            coming = rollout.next
            if coming is not None and not rollout.activate and self._may_install(rollout):
                held = self._held(coming)
                if held is not None:
                    self._install(rollout, coming, held)
        except Cancelled:
            logger.info("the hub wants something else now")
        except OSError as error:
            logger.error("the store cannot be used: %s", error)  # noqa: TRY400 - it says all
            self._progress.say("TERMINATED", error=f"the store cannot be used: {error.strerror}")
        except Exception:  # a bug here must not end the service that goes on serving
            logger.exception("the update failed")
            self._progress.say("TERMINATED", error="an internal error; the log has it")

    def _may_install(self, rollout: Rollout) -> bool:
        return not rollout.canary or rollout.canary == self._member.name

    def _held(self, release: Release) -> Held | None:
        """What this member has to do with a release; None: nothing."""
        name = self._member.name
        if name and name not in release.members:
            return None
        part = release.members[name] if name else None
        return Held(release.number, release.fingerprint, part, release.parts)

    def _serve_wanted(self, rollout: Rollout) -> None:
        wanted = rollout.wanted
        held = self._held(wanted) if wanted is not None else None
        if wanted is None or held is None:
            self._stand_by(rollout)
            return
        on_trial = rollout.activate
        if self._serving is None or not held.is_same(self._serving.held):
            installed = self._install(rollout, wanted, held)
            if installed is None:
                return
            self._progress.say("ACTIVATING", error="")
            self._activate(installed, on_trial=on_trial)
        elif not on_trial:
            self._store.settle(held)
        self._serving = self._serving and self._serving._replace(held=held)
        self._say_served(wanted, held, on_trial=on_trial)
        self._tidy(rollout)

    def _say_served(self, wanted: Release, held: Held, *, on_trial: bool) -> None:
        """A release that failed here before it was taken back stays named, with its error."""
        now = self._progress.status
        if now.state == "TERMINATED" and now.release > wanted.number:
            self._progress.say("TERMINATED", serving=held.number, trial=on_trial)
            return
        self._progress.say(
            "ACTIVATED",
            release=wanted.number,
            fingerprint=wanted.fingerprint,
            part=held.part,
            progress=1.0,
            serving=held.number,
            trial=on_trial,
            error="",
        )

    def _stand_by(self, rollout: Rollout) -> None:
        """The hub has no part for this node, or nothing is served yet."""
        if self._serving is not None and rollout.wanted is not None:
            self._serving = None
            self._store.forget()
            self._member.leave()
        if rollout.next is not None and self._held(rollout.next) is not None:
            return  # there is more to say of that
        serving = self._serving.held.number if self._serving is not None else 0
        self._progress.say(
            "CREATED", release=0, fingerprint="", part=None, serving=serving, trial=False
        )

    def _activate(self, installed: Serving[T], *, on_trial: bool) -> None:
        held = installed.held
        if on_trial:
            self._store.put_on_trial(held)
        else:
            self._store.settle(held)
        self._serving = installed
        self._member.serve(installed)
        if installed.content is None:
            raise Cancelled  # the next process goes on
        logger.info("serves release %d, bundle %s", held.number, held.fingerprint)

    def _install(self, rollout: Rollout, release: Release, held: Held) -> Serving[T] | None:
        """Download and load a release; None if that failed for good."""
        loaded = self._loaded.get((held.fingerprint, held.part))
        about = {
            "release": release.number,
            "fingerprint": release.fingerprint,
            "part": held.part,
        }
        if loaded is not None:
            note = "" if loaded.content is not None else _NO_ROOM
            self._progress.say("INSTALLED", progress=1.0, error=note, **about)
            return loaded._replace(held=held)
        failure = self._store.failure(release.number)
        if failure:
            self._progress.say("TERMINATED", error=failure, **about)
            return None
        self._progress.say("CREATED", attempt=1, progress=0.0, error="", **about)
        return self._try_until_done(rollout, release, held)

    def _try_until_done(self, rollout: Rollout, release: Release, held: Held) -> Serving[T] | None:
        """Try a release that is next until the hub's time is up, what is good for ever."""
        is_good = release == rollout.current
        failures = 0
        pause_s = PAUSE_S[0]
        while True:
            try:
                return self._attempt(rollout, release, held)
            except BusyError as error:
                self._progress.say("DOWNLOADING", error=str(error))
                self._pause(random.uniform(*TURN_S), release, held)
                continue
            except FetchError as error:
                self._note(error)
            except (DevitError, OSError) as error:
                # Wrong bytes and a full disk may pass; what is wrong with the bundle does not.
                may_pass = isinstance(error, (ContentError, OSError))
                failures += 1 if may_pass else MAX_ATTEMPTS
                if failures >= MAX_ATTEMPTS and not is_good:
                    self._give_up(release, error)
                    return None
                self._note(error)
                pause_s = pause_s if may_pass else PAUSE_S[1]
            self._pause(pause_s, release, held)
            pause_s = min(2 * pause_s, PAUSE_S[1])

    def _attempt(self, rollout: Rollout, release: Release, held: Held) -> Serving[T]:
        self._progress.say("DOWNLOADING")

        def on_progress(share: float) -> None:
            self._check_wanted(release, held)
            self._progress.reach(share)

        folder = self._installer.download(rollout.url, release, held.part, on_progress)
        self._progress.say("DOWNLOADED", progress=1.0, error="")
        self._check_wanted(release, held)
        if self._store.begin_install(release.number) >= MAX_STARTS:
            self._store.end_install()
            raise DevitError(
                f"the process ended {MAX_STARTS} times while it installed this release"
            )
        self._progress.say("INSTALLING")
        self._loading_since = time.monotonic()
        try:
            content = self._member.load(folder, held)
        finally:
            self._loading_since = None
            self._store.end_install()
        installed = Serving(held, content)
        self._remember(installed)
        self._progress.say("INSTALLED", error="" if content is not None else _NO_ROOM)
        return installed

    def _give_up(self, release: Release, error: Exception) -> None:
        text = _one_line(error)
        logger.error("release %d failed: %s", release.number, text)
        try:
            if isinstance(error, OSError):
                self._store.keep(())  # makes room for the note that follows
            self._store.fail(release.number, text)
        except OSError as full:
            logger.warning("that is not noted on the disk: %s", full.strerror)
        self._progress.say("TERMINATED", error=text)

    def _note(self, error: Exception) -> None:
        logger.warning("%s; trying again", _one_line(error))
        now = self._progress.status
        self._progress.say(now.state, error=_one_line(error), attempt=now.attempt + 1)

    def _pause(self, seconds: float, release: Release, held: Held) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_wanted(release, held), seconds)
        self._check_wanted(release, held)

    def _check_wanted(self, release: Release, held: Held) -> None:
        """Raise Cancelled unless the hub still wants what is being done."""
        with self._changed:
            if not self._is_wanted(release, held):
                raise Cancelled

    def _is_wanted(self, release: Release, held: Held) -> bool:
        rollout = self._rollout
        if self._stopping or rollout is None:
            return False
        named = [r for r in (rollout.current, rollout.next) if r is not None]
        return any(r.number == release.number and held == self._held(r) for r in named)

    def _remember(self, serving: Serving[T]) -> None:
        self._loaded[(serving.held.fingerprint, serving.held.part)] = serving

    def _tidy(self, rollout: Rollout) -> None:
        """Let go of what is neither served nor next; the disk keeps the one before too."""
        named = [r for r in (rollout.current, rollout.next) if r is not None]
        kept = {(r.fingerprint, held.part) for r in named if (held := self._held(r)) is not None}
        self._loaded = {key: loaded for key, loaded in self._loaded.items() if key in kept}
        self._store.keep(r.fingerprint for r in named)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]
