"""The broker: whether it lets this node in, and delivers what it grants."""

import secrets
import socket
import statistics
import time
from collections.abc import Generator, Iterator, Mapping
from functools import partial

import msgspec

from devit_iot import __version__
from devit_iot.config.config import BrokerConfig, Config, read_password
from devit_iot.doctor.abilities import await_message, check_abilities, check_limits
from devit_iot.doctor.finding import Finding, bad, bad_error, ok, warn
from devit_iot.doctor.release import check_release
from devit_iot.doctor.tls import check_tls
from devit_iot.doctor.websocket import check_websocket
from devit_iot.errors import BrokerError, ConfigError
from devit_iot.protocol.status import NodeStatus
from devit_iot.protocol.topics import ImageFilter, Topics
from devit_iot.transport.address import parse_url, parse_urls
from devit_iot.transport.base import Will
from devit_iot.transport.probe import Probe

RETAINED_S = 0.5
"""Within this time a broker delivers what it retains, seconds."""

_BURSTS, _BURST = 40, 3
_HELD_S = 0.03  # Linux acknowledges after 40 ms what it need not acknowledge at once
_HELD_BURSTS = 3
_ACL = "let this user read and write {}: see `devit acl`"
_NODELAY = "set_tcp_nodelay true in mosquitto.conf (broker/README.md), or look for a faster link"


def check_broker(
    config: Config, environment: Mapping[str, str], wait_s: float = 5.0
) -> Iterator[Finding]:
    """Check the broker from the network up to what is delivered; nothing after a broken check.

    A running node is not disturbed: the client id is another one, and what is published on the
    node's status topic is what it said itself, not retained. Only where the broker calls sessions
    after users is it interrupted for a moment.

    Args:
        config: the node's configuration.
        environment: environment variables, which may hold the password.
        wait_s: the longest time for each answer.
    """
    answering: list[str] = []
    urls = parse_urls(config.broker.url)
    for url in urls:
        finding = _check_network(url, wait_s)
        answering += [url] * (finding.level == "ok")
        yield finding
    if not answering:
        return
    host, _, _ = parse_url(answering[0])
    broker = msgspec.structs.replace(config.broker, url=answering[0])  # one speaks for all
    config = msgspec.structs.replace(config, broker=broker)
    sound = True
    for finding in check_tls(config.broker, wait_s):
        yield finding
        sound = sound and finding.level != "bad"
    if sound:
        yield from _check_mqtt(config, environment, wait_s)
    yield check_websocket(host, wait_s)


def _check_network(url: str, wait_s: float) -> Finding:
    """Whether something listens there."""
    host, port, _ = parse_url(url)
    begin = time.monotonic()
    try:
        socket.create_connection((host, port), wait_s).close()
    except OSError as error:
        remedy = "start the broker, check --broker, and the firewall between the two"
        return bad("network", f"{host}:{port} is unreachable ({error})", remedy)
    return ok("network", f"{host}:{port} answers in {1e3 * (time.monotonic() - begin):.1f} ms")


def _check_mqtt(config: Config, environment: Mapping[str, str], wait_s: float) -> Iterator[Finding]:
    try:
        password = read_password(config.broker, environment)
        first, second = (_probe(config, password, wait_s) for _ in range(2))
        connect = partial(_probe, config, password, wait_s)
    except ConfigError as error:
        yield bad_error("login", error, "give a file that holds the password")
        return
    try:
        with first:
            user = _user(config.broker)
            if first.foreign:
                yield _occupied()
                return
            yield ok("login", f"let in {user}, MQTT {first.version}{_of_sessions(first)}")
            yield check_limits(first)
            yield from _check_images(config, first)
            if config.store:
                release = Topics(config.fleet).release
                granted = first.subscribe(release)
                payload = _said_before(first, release) if granted else None
                yield check_release(config, granted=granted, payload=payload)
            topic = Topics(config.fleet).node_status(config.node_name)
            said = yield from _check_echo(config, first, topic, wait_s)
            if said is not None:
                status, kept = said
                yield _check_round_trip(first, topic, status, wait_s)
                with second:
                    yield _check_shared(first, second, topic, status, wait_s)
                if not second.foreign:  # then it has taken the place of the first
                    yield from check_abilities(first, connect, topic, status, wait_s, kept=kept)
                    yield from _check_spaces(config, first)
    except BrokerError as error:
        if first.taken_over:
            yield _occupied()
        else:
            yield bad_error("login", error, "see the broker's log")


def _occupied() -> Finding:
    """The broker calls sessions after their users, and a node has ours."""
    return warn(
        "login",
        "let in, in the place of a node that runs as the same user: its session is left alone, and "
        "nothing more can be checked",
        "stop the node meanwhile: sudo systemctl stop devit-node",
    )


def _user(broker: BrokerConfig) -> str:
    if broker.username:
        return f"as {broker.username}"
    return "with our certificate" if broker.cert_file else "without a name"


def _probe(config: Config, password: str | None, wait_s: float, will: Will | None = None) -> Probe:
    client_id = Topics(config.fleet).doctor_client_id(config.node_name, secrets.token_hex(4))
    return Probe(config.broker, client_id=client_id, password=password, wait_s=wait_s, will=will)


def _check_images(config: Config, probe: Probe) -> Iterator[Finding]:
    filters = [ImageFilter(images.topic).mqtt for images in config.images]
    denied = [topic for topic in filters if not probe.may_subscribe(topic)]
    if denied:
        remedy = _ACL.format("images there")
        yield bad("images", f"the broker denies the subscription to {', '.join(denied)}", remedy)
    else:
        yield ok("images", f"subscriptions granted: {', '.join(filters)}")


def _of_sessions(probe: Probe) -> str:
    """Before MQTT 5 nobody can say how long a session is worth keeping."""
    return "" if probe.version == "5" else "; it keeps sessions as long as it will, not session_s"


def _check_spaces(config: Config, probe: Probe) -> Iterator[Finding]:
    """NATS takes no topic with a space, and ends the connection of whoever publishes on one.

    The filter that is asked for lies within one of ours, so that no access list denies it.
    """
    filters = [ImageFilter(images.topic).mqtt for images in config.images]
    wild = next((topic for topic in filters if "+" in topic), None)
    if wild is not None and not probe.may_subscribe(wild.replace("+", "a b")):
        text = "the broker takes no topic with a space, as NATS, and throws out who publishes there"
        yield warn("spaces in topics", text, "name cameras without spaces")


def _check_echo(
    config: Config, probe: Probe, topic: str, wait_s: float
) -> Generator[Finding, None, tuple[bytes, bool] | None]:
    """Publish on our status topic; return what, and whether the broker had kept it before.

    It returns None if nothing comes back.
    """
    remedy = _ACL.format(topic)
    if not probe.subscribe(topic):
        yield bad("delivery", f"the broker denies the subscription to {topic}", remedy)
        return None
    kept = _said_before(probe, topic)
    status = kept or _silent(config).encode()
    refusal = probe.publish(topic, status, qos=1)
    if refusal:
        yield bad("delivery", f"the broker refuses what we publish on {topic}: {refusal}", remedy)
        return None
    if await_message(probe, topic, status, wait_s) is None:
        text = f"the broker grants {topic} and delivers nothing there"
        yield bad("delivery", text, remedy)
        return None
    yield ok("delivery", f"what we publish on {topic} comes back")
    return status, kept is not None


def _said_before(probe: Probe, topic: str) -> bytes | None:
    """What the node itself said there last; the broker keeps it."""
    end = time.monotonic() + RETAINED_S
    while (left := end - time.monotonic()) > 0:
        arrival = probe.get(left)
        if arrival is not None and arrival.message.topic == topic:
            return arrival.message.payload
    return None


def _silent(config: Config) -> NodeStatus:
    """The status of a node that does not run."""
    return NodeStatus(
        state="offline",
        fingerprint="",
        parts=(config.node.part or 0) + 1,
        version=__version__,
        node=config.node_name,
        part=config.node.part or 0,
    )


def _check_round_trip(probe: Probe, topic: str, payload: bytes, wait_s: float) -> Finding:
    """How long a message takes there and back, and whether close ones are held back."""
    trips, held = [], 0
    for _ in range(_BURSTS):
        begin = time.monotonic()
        for _ in range(_BURST):
            probe.publish(topic, payload)
        arrivals = [await_message(probe, topic, payload, wait_s) for _ in range(_BURST)]
        came = [at for at in arrivals if at is not None]
        if len(came) < _BURST:
            remedy = "look for a fault of the link: packets are lost"
            return bad("round trip", f"{_BURST - len(came)} of {_BURST} messages are lost", remedy)
        trips.append(came[0] - begin)
        held += came[-1] - came[0] > _HELD_S
    text = f"{1e3 * statistics.median(trips):.1f} ms, median of {_BURSTS}"
    if held < _HELD_BURSTS:
        return ok("round trip", text)
    text = f"{text}; but {held} times messages close to each other were held back for over 30 ms"
    return warn("round trip", f"{text}, as by Nagle's algorithm", _NODELAY)


def _check_shared(
    sender: Probe, receiver: Probe, topic: str, payload: bytes, wait_s: float
) -> Finding:
    """Some brokers grant shared subscriptions and deliver nothing; we need none."""
    check = "shared subscriptions"
    if receiver.foreign:
        return ok(check, "not checked: the broker lets a user in once; nothing here needs them")
    try:
        if not receiver.subscribe(f"$share/devit-doctor-{secrets.token_hex(4)}/{topic}"):
            return ok(check, "denied; nothing here needs them")
        sender.publish(topic, payload)
        came = await_message(receiver, topic, payload, wait_s) is not None
    except BrokerError as error:
        return ok(check, f"not checked: {str(error).partition(';')[0]}; nothing here needs them")
    if not came:
        remedy = "use none at this broker; nothing here needs them"
        return warn(check, "granted, and nothing is delivered", remedy)
    return ok(check, "delivered; nothing here needs them")
