"""Does what a person who teaches asks for, on the thread that has the album."""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from devit_iot.bundle.head import check_head_name
from devit_iot.collect.album import Album, Kept
from devit_iot.collect.lessons import Lesson, fit_head
from devit_iot.errors import ConfigError, DataError, DevitError
from devit_iot.protocol.label import DEFAULT_HEAD
from devit_iot.protocol.teaching import (
    MAX_CLASS_LENGTH,
    MAX_SHOWN,
    DeletePictures,
    FitHead,
    FittedClass,
    GoBack,
    MarkPictures,
    PutLive,
    ShownPicture,
    ShowPictures,
    TeachAnswer,
    TeachAsk,
)
from devit_iot.protocol.text import is_camera
from devit_iot.teach.live_heads import LiveHeads

LIVE_S = 8.0
"""So long aggregators may take to say that a head is live."""

_MAX_LESSONS = 16
_SHOWN_WRONG = 12

Answer = Callable[[TeachAnswer], None]


class _Awaited(NamedTuple):
    ask: str
    push: str
    until: float
    answer: Answer


class Teacher:
    """Answers asks. A fit runs on a thread of its own; everything else is short.

    Args:
        album: the pictures.
        live: brings heads to the aggregators.
        key: private key in PEM that signs heads; empty: they are not signed.
        later: makes the thread of the album call something soon.
    """

    def __init__(
        self,
        album: Album,
        live: LiveHeads,
        *,
        key: bytes,
        later: Callable[[Callable[[], None]], None],
    ) -> None:
        self._album = album
        self._live = live
        self._key = key
        self._later = later
        self._lessons: dict[str, Lesson] = {}
        self._fitting = False
        self._awaited: list[_Awaited] = []

    def take(self, ask: TeachAsk, answer: Answer) -> None:
        """Do it, and answer now or later; what goes wrong is answered in one line."""
        try:
            self._do(ask, answer)
        except DevitError as error:
            answer(TeachAnswer(ask.id, _one_line(error)))

    def look(self) -> None:
        """Answer those whose heads became live, or did not in time; about ten times a second."""
        now = time.monotonic()
        waiting, self._awaited = self._awaited, []
        for awaited in waiting:
            answers, online = self._live.answers(awaited.push), self._live.online
            if answers and answers.keys() >= online:
                reports = list(answers.values())
                error = next((report.problem for report in reports if report.problem), "")
                awaited.answer(TeachAnswer(awaited.ask, error, version=reports[0].version))
            elif now >= awaited.until:
                awaited.answer(self._late(awaited.ask))
            else:
                self._awaited.append(awaited)

    def _late(self, ask: str) -> TeachAnswer:
        if not self._live.online:
            note = "No aggregator is online. It gets this head when it comes."
            return TeachAnswer(ask, note=note)
        return TeachAnswer(
            ask,
            "an aggregator does not answer: it is of an older release, or its access list does not "
            "let it read heads",
        )

    def _do(self, ask: TeachAsk, answer: Answer) -> None:
        if not isinstance(ask, DeletePictures):
            _check_head(ask.head)
        match ask:
            case ShowPictures():
                answer(self._shown(ask))
            case MarkPictures():
                _check_class(ask.name)
                self._album.mark(ask.head, ask.pictures, ask.name)
                answer(TeachAnswer(ask.id, classes=self._album.classes(ask.head)))
            case DeletePictures():
                self._album.delete(ask.pictures)
                answer(TeachAnswer(ask.id))
            case FitHead():
                self._fit(ask, answer)
            case PutLive():
                self._put_live(ask, answer)
            case GoBack():
                push, _version = self._live.go_back(ask.head)
                self._await(ask.id, push, answer)

    def _shown(self, ask: ShowPictures) -> TeachAnswer:
        found = self._album.show(ask.camera, ask.head, ask.order, ask.offset, MAX_SHOWN + 1)
        return TeachAnswer(
            ask.id,
            pictures=tuple(map(_picture, found[:MAX_SHOWN])),
            more=len(found) > MAX_SHOWN,
            classes=self._album.classes(ask.head),
        )

    def _fit(self, ask: FitHead, answer: Answer) -> None:
        if self._fitting:
            raise DataError("a head is being fitted: wait for it")
        marked = self._album.marked(ask.head)
        self._fitting = True

        def run() -> None:
            try:
                lesson = fit_head(ask.head, marked, each=ask.each, key=self._key)
                done = partial(self._fitted, ask, lesson, answer)
            except DevitError as error:
                done = partial(self._not_fitted, TeachAnswer(ask.id, _one_line(error)), answer)
            except Exception as error:  # noqa: BLE001 - the solver's own; the service goes on
                words = f"the fit failed: {_one_line(error)}"
                done = partial(self._not_fitted, TeachAnswer(ask.id, words), answer)
            self._later(done)

        threading.Thread(target=run, name="fit", daemon=True).start()

    def _not_fitted(self, said: TeachAnswer, answer: Answer) -> None:
        self._fitting = False
        answer(said)

    def _fitted(self, ask: FitHead, lesson: Lesson, answer: Answer) -> None:
        self._fitting = False
        self._lessons.pop(ask.head, None)
        self._lessons[ask.head] = lesson
        while len(self._lessons) > _MAX_LESSONS:
            del self._lessons[next(iter(self._lessons))]
        result = lesson.result
        wrong = []
        for one in result.wrong[:_SHOWN_WRONG]:
            kept = self._album.one(int(one.picture), ask.head)
            if kept is not None:
                shown = kept._replace(confidence=one.confidence)
                wrong.append(_picture(shown, given=one.given))
        others = (
            f"{lesson.others} marked pictures were left out: other parts saw them."
            if lesson.others
            else ""
        )
        answer(
            TeachAnswer(
                ask.id,
                pictures=tuple(wrong),
                more=len(result.wrong) > len(wrong),
                classes=self._album.classes(ask.head),
                accuracy=result.top1,
                measured=result.measured,
                unknown=result.unknown,
                fitted=tuple(FittedClass(c.name, c.images, c.recall) for c in result.classes),
                note=others,
            )
        )

    def _put_live(self, ask: PutLive, answer: Answer) -> None:
        wrong = [camera for camera in ask.cameras if not is_camera(camera)]
        if wrong or not ask.cameras:
            raise DataError("name the cameras that the head shall answer for")
        lesson = self._lessons.get(ask.head)
        if lesson is None:
            raise DataError(f"head '{ask.head}' was not fitted since this service started: fit it")
        known = [
            r.cameras for s in self._live.reports.values() for r in s.heads if r.name == ask.head
        ]
        cameras = tuple(dict.fromkeys((*ask.cameras, *(known[0] if known else ()))))
        self._await(ask.id, self._live.push(ask.head, lesson.files, cameras), answer)

    def _await(self, ask: str, push: str, answer: Answer) -> None:
        self._awaited.append(_Awaited(ask, push, time.monotonic() + LIVE_S, answer))


def _picture(kept: Kept, given: str = "") -> ShownPicture:
    return ShownPicture(
        kept.id, round(1000 * kept.at), kept.label, kept.confidence, kept.name, kept.small, given
    )


def _check_head(name: str) -> None:
    if check_head_name(name) == DEFAULT_HEAD:
        raise ConfigError(f"'{DEFAULT_HEAD}' is the bundle's own fusion; choose another name")


def _check_class(name: str) -> None:
    if name != name.strip() or len(name) > MAX_CLASS_LENGTH or (name and not name.isprintable()):
        raise DataError(
            f"a class has 1 to {MAX_CLASS_LENGTH} printable characters, none of them a space at an "
            "end"
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]
