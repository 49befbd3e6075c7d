"""What `devit labels` prints of several heads and of states."""

from collections.abc import Callable, Iterable

import msgspec
import pytest
from click.testing import CliRunner

from devit_iot.cli import labels as labels_module
from devit_iot.config.config import Config
from devit_iot.errors import BrokerError
from devit_iot.monitor.watch import Watch
from devit_iot.protocol.cells import CellTopics
from devit_iot.protocol.label import Label
from devit_iot.protocol.steady_state import SteadyState
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Message
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from tests.golden.make import LABEL, LABEL_3, STEADY_STATE

TOPICS = Topics("home")
Said = Label | SteadyState


def said() -> Iterable[tuple[str, Said]]:
    """A label of the main head, one of another, and a state, of two cameras."""
    for camera in ("door", "yard"):
        yield TOPICS.label(camera), msgspec.structs.replace(LABEL, camera=camera)
        gate = msgspec.structs.replace(LABEL_3, camera=camera)
        yield TOPICS.head_label(camera, "gate"), gate
        state = msgspec.structs.replace(STEADY_STATE, camera=camera)
        yield TOPICS.state(camera, "gate"), state


class Speaking(MemoryTransport):
    """A connection on which everything is said at once."""

    def start(
        self, *, on_ready: Callable[[], None], on_refused: Callable[[BrokerError], None]
    ) -> None:
        super().start(on_ready=on_ready, on_refused=on_refused)
        for topic, message in said():
            self._broker.publish(topic, message.encode())


def speak(monkeypatch: pytest.MonkeyPatch, transport: type[MemoryTransport]) -> None:
    """The command listens to ``transport``."""

    def watch(
        _config: Config,
        _name: str,
        filters: Iterable[str],
        on_message: Callable[[Message], None],
        on_ready: Callable[[], None],
    ) -> Watch:
        return Watch(transport(MemoryBroker()), filters, on_message, on_ready)

    monkeypatch.setattr(labels_module, "watch", watch)


@pytest.fixture(autouse=True)
def speaking(monkeypatch: pytest.MonkeyPatch) -> None:
    speak(monkeypatch, Speaking)


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ((), ["door  cat", "door  gate  cat", "yard  cat", "yard  gate  cat"]),
        (("--head", "gate"), ["door  gate  cat", "yard  gate  cat"]),
        (("--head", "default"), ["door  cat", "yard  cat"]),
        (("--head", "gate", "--head", "default", "--camera", "yard"), ["yard  cat", "yard  gate"]),
        (("--states",), ["door  gate  open  was closed", "yard  gate  open  was closed"]),
        (("--states", "--camera", "yard", "--head", "gate"), ["yard  gate  open  was closed"]),
    ],
)
def test_labels_of_every_head_and_states(options: tuple[str, ...], lines: list[str]) -> None:
    done = CliRunner().invoke(labels_module.labels, [*options, "--count", str(len(lines))])
    assert done.exit_code == 0, done.output
    printed = done.output.splitlines()
    assert len(printed) == len(lines)
    for line, wanted in zip(printed, lines, strict=True):
        assert wanted in line


def test_a_state_as_json_is_what_was_published() -> None:
    done = CliRunner().invoke(labels_module.labels, ["--states", "--json", "--count", "1"])
    wanted = msgspec.structs.replace(STEADY_STATE, camera="door")
    assert SteadyState.decode(done.output.strip().encode()) == wanted


class Upper(MemoryTransport):
    """An upper broker: two cells say the same of a camera, one of them twice."""

    def start(
        self, *, on_ready: Callable[[], None], on_refused: Callable[[BrokerError], None]
    ) -> None:
        super().start(on_ready=on_ready, on_refused=on_refused)
        label = msgspec.structs.replace(LABEL, camera="door").encode()
        for cell in ("hall", "hall", "yard"):
            self._broker.publish(CellTopics("home", cell).label("door"), label)
        self._broker.publish("cells/a b/devit/v1/home/labels/door", label)
        state = msgspec.structs.replace(STEADY_STATE, camera="door").encode()
        self._broker.publish(CellTopics("home", "yard").state("door", "gate"), state)


@pytest.fixture
def upper(monkeypatch: pytest.MonkeyPatch) -> None:
    speak(monkeypatch, Upper)


@pytest.mark.usefixtures("upper")
def test_at_an_upper_broker_the_cell_stands_before_the_camera() -> None:
    """What a bridge sends again is printed once."""
    options = ["--cells", "true"]
    done = CliRunner().invoke(labels_module.labels, [*options, "--count", "2"])
    assert done.exit_code == 0, done.output
    lines = [line for line in done.output.splitlines() if "refused" not in line]
    assert ["hall/door" in lines[0], "yard/door" in lines[1]] == [True, True]
    done = CliRunner().invoke(labels_module.labels, [*options, "--states", "--count", "1"])
    assert "yard/door  gate  open  was closed" in done.output
    done = CliRunner().invoke(labels_module.labels, [*options, "--json", "--count", "1"])
    said = msgspec.json.decode(done.output.splitlines()[-1])
    assert (said["cell"], said["camera"]) == ("hall", "door")
