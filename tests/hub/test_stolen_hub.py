"""A thief has the hub's certificate and key: real members install nothing, and say why."""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from devit_iot.bundle.reading import Bundle
from devit_iot.cli.fleet_keys import sign_for
from devit_iot.config.config import BrokerConfig, load_config
from devit_iot.fleet.folder import FleetFolder
from devit_iot.protocol.label import Label
from devit_iot.protocol.release import Release, Rollout, UpdateStatus
from devit_iot.trust.metadata import in_days, sign_targets, version_of
from tests.support.fleets import image_file, make_bundle, wait_until
from tests.support.mosquitto import Client, needs_mosquitto
from tests.support.releases import release_of
from tests.support.secure_fleet import NODES, TOPICS, WAIT_S, SecureFleet
from tests.support.signed_hub import SignedHub, allowed

pytestmark = needs_mosquitto
NUMBERS = itertools.count(100)  # each release has a higher one
MEMBERS = (*NODES, "aggregator")
IMAGES = itertools.count()  # each is another one: the same image twice is one request


class Thief(NamedTuple):
    """Has what the hub has, a server of its own, and the broker's ear.

    ``serves``, ``allowed``, ``old`` and ``own``: the bundle that the fleet serves, one that its
    owner allows too, one that the owner allowed once, and the thief's.
    """

    fleet: SecureFleet
    client: Client
    hub: SignedHub
    targets: bytes
    old_targets: bytes
    rollout: Rollout
    serves: Bundle
    allowed: Bundle
    old: Bundle
    own: Bundle

    def release(self, bundle: Bundle) -> Release:
        """The next release, for the nodes that have a part."""
        wanted = self.rollout.wanted
        assert wanted is not None
        self.hub.hold(bundle)
        return release_of(bundle, next(NUMBERS), wanted.members)

    def say(self, rollout: Rollout) -> None:
        """Write the fleet's release, as the hub may."""
        self.client.publish(TOPICS.release, rollout.encode(), retain=True)

    def wait(self, is_so: Callable[[UpdateStatus], bool]) -> dict[str, UpdateStatus]:
        """What every member said when it was so for the first time."""
        found: dict[str, UpdateStatus] = {}
        deadline = time.monotonic() + WAIT_S
        while len(found) < len(MEMBERS) and time.monotonic() < deadline:
            topic, payload = self.client.get()
            update = UpdateStatus.decode(payload)
            if is_so(update):
                name = TOPICS.node_of(topic) if "/nodes/" in topic else "aggregator"
                found.setdefault(name, update)
        assert set(found) == set(MEMBERS), found
        return found


def config(fleet: SecureFleet, name: str) -> BrokerConfig:
    return load_config([fleet.config(name)], {}).broker


@pytest.fixture(scope="module")
def thief(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Thief]:
    folder = tmp_path_factory.mktemp("stolen")
    fleet = SecureFleet(folder)
    for name in MEMBERS:  # this machine may have no time server, and its clock is right
        path = fleet.config(name)
        path.write_text(path.read_text().replace("[updates]", '[updates]\nexpiry = "always"'))
    serves, other, old, own = (
        make_bundle(folder / f"bundle-{seed}", parts=2, seed=seed) for seed in range(4)
    )
    signed = fleet.path / "updates/targets.json"
    with fleet.running():
        fleet.wait_there()
        sign_for(fleet.client, fleet.path, [old])
        old_targets = signed.read_bytes()
        sign_for(fleet.client, fleet.path, [serves, other])
        number = fleet.client.push(serves, "").number
        wait_until(lambda: fleet.serving() == {number}, WAIT_S)
        now = fleet.status()
        assert now is not None
        fleet.stop("hub")
        keys = FleetFolder(fleet.path).update_keys
        assert keys is not None
        updates = (TOPICS.node_update("+"), TOPICS.aggregator_update("+"))
        with (
            SignedHub(keys) as hub,
            Client(config(fleet, "hub"), *updates, client_id="hub") as client,
        ):
            hub.version = int(time.time()) + 10_000
            yield Thief(
                fleet,
                client,
                hub,
                signed.read_bytes(),
                old_targets,
                now.rollout,
                *(serves, other, old, own),
            )
        for name in MEMBERS:
            assert "Traceback" not in fleet.log(name)


def own_bundle(thief: Thief) -> Release:
    wanted = allowed(thief.own)
    version = version_of(thief.targets)
    thief.hub.say(sign_targets(version, [wanted], thief.hub.signer, in_days(9)))
    return thief.release(thief.own)


def wrong_signature(thief: Thief) -> Release:
    ours, own = allowed(thief.allowed), allowed(thief.own)
    changed = thief.targets.replace(ours.sha256.encode(), own.sha256.encode())
    changed = changed.replace(ours.fingerprint.encode(), own.fingerprint.encode())
    assert changed != thief.targets
    thief.hub.say(changed)
    return thief.release(thief.own)


def no_metadata(thief: Thief) -> Release:
    thief.hub.metadata.clear()
    return thief.release(thief.own)


def old_release(thief: Thief) -> Release:
    thief.hub.say(thief.old_targets)
    return thief.release(thief.old)


def not_allowed_now(thief: Thief) -> Release:
    thief.hub.say(thief.targets)
    return thief.release(thief.old)


def expired(thief: Thief) -> Release:
    thief.hub.say(thief.targets, in_days(-1))
    return thief.release(thief.allowed)


def mixed_metadata(thief: Thief) -> Release:
    thief.hub.say(thief.targets)
    name = f"{thief.hub.version}.snapshot.json"
    before = thief.hub.metadata[name]
    thief.hub.say(thief.targets)
    thief.hub.metadata[f"{thief.hub.version}.snapshot.json"] = before
    return thief.release(thief.allowed)


def mixed_files(thief: Thief) -> Release:
    """The manifest of one bundle under the name of another."""
    thief.hub.say(thief.targets)
    forged = thief.release(thief.own)
    return Release(
        forged.number,
        thief.allowed.manifest.fingerprint,
        forged.manifest,
        forged.manifest_size,
        forged.parts,
        members=forged.members,
    )


def changed_file(thief: Thief) -> Release:
    thief.hub.say(thief.targets)
    release = thief.release(thief.allowed)
    manifest = thief.allowed.manifest
    for entry in (manifest.fusion, *(part.weights for part in manifest.parts)):
        content = thief.hub.files[entry.sha256]
        thief.hub.files[entry.sha256] = content[:-1] + bytes([content[-1] ^ 1])
    return release


@pytest.mark.parametrize(
    ("attack", "error"),
    [
        (own_bundle, "not by the fleet's owner"),
        (wrong_signature, "not by the fleet's owner"),
        (no_metadata, "nothing that the fleet's owner signed"),
        (old_release, "older than what was seen here"),
        (not_allowed_now, "does not allow bundle"),
        (expired, "out of date"),
        (mixed_metadata, "does not fit together|not by the fleet's owner"),
        (mixed_files, "another manifest"),
        (changed_file, "has SHA-256"),
    ],
)
def test_nothing_is_installed_and_the_state_says_why(
    thief: Thief, attack: Callable[[Thief], Release], error: str
) -> None:
    release = attack(thief)
    wanted = thief.rollout.wanted
    assert wanted is not None
    thief.say(Rollout(thief.hub.url, current=wanted, next=release))
    said = thief.wait(lambda u: u.release == release.number and u.state == "TERMINATED")
    for update in said.values():
        assert update.serving == wanted.number
        assert_matches(error, update.error)
    assert_still_serves(thief)


def test_what_is_said_to_be_good_is_not_believed_either(thief: Thief) -> None:
    release = own_bundle(thief)
    thief.say(Rollout(thief.hub.url, current=release))
    said = thief.wait(lambda u: u.release == release.number and bool(u.error))
    for update in said.values():
        assert_matches("not by the fleet's owner", update.error)
        assert update.state != "ACTIVATED"
    assert_still_serves(thief)


def test_it_can_only_choose_among_what_the_owner_allows(thief: Thief) -> None:
    """Without this the tests above would prove nothing."""
    thief.hub.say(thief.targets)
    release = thief.release(thief.allowed)
    thief.say(Rollout(thief.hub.url, current=thief.rollout.wanted, next=release))
    thief.wait(lambda u: u.release == release.number and u.state == "INSTALLED")


def assert_matches(pattern: str, text: str) -> None:
    with pytest.raises(AssertionError, match=pattern):
        raise AssertionError(text)


def assert_still_serves(thief: Thief) -> None:
    """An image gets its label of both parts, by the old bundle."""
    fleet = thief.fleet
    with (
        Client(config(fleet, "viewer"), TOPICS.labels, client_id="viewer") as viewer,
        Client(config(fleet, "camera"), client_id="camera") as camera,
    ):
        camera.publish("cameras/door/image", image_file(next(IMAGES)))
        while (message := viewer.inbox.get(timeout=WAIT_S)).retained:
            """That is the label of an earlier image."""
        label = Label.decode(message.payload)
        assert label.fingerprint == thief.serves.manifest.fingerprint
        assert not label.degraded
