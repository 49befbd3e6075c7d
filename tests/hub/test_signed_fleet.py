"""The owner's commands and a hub: pushes are signed, rollbacks need no key, new keys arrive."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from threading import Event, Thread

from devit_iot.bundle.reading import Bundle
from devit_iot.config.config import load_config
from devit_iot.fleet.folder import FleetFolder
from tests.e2e.commands import assert_one_line_error, command
from tests.support.fleets import image_file, make_bundle, wait_until
from tests.support.mosquitto import Client, needs_mosquitto
from tests.support.secure_fleet import NODES, WAIT_S, SecureFleet

_IMAGES = itertools.count()


@contextmanager
def camera(fleet: SecureFleet) -> Iterator[None]:
    """Publish images inside the block, so that releases become good."""
    done = Event()
    broker = load_config([fleet.config("camera")], {}).broker

    def publish(client: Client) -> None:
        while not done.wait(0.1):
            client.publish("cameras/door/image", image_file(next(_IMAGES)))

    with Client(broker, client_id="camera") as client:
        thread = Thread(target=publish, args=(client,))
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


class Owner:
    """A person with the fleet's folder, the hub's token and the viewer's certificate."""

    def __init__(self, fleet: SecureFleet) -> None:
        self._fleet = fleet

    def says(self, name: str, *arguments: str | Path) -> "CompletedProcess[str]":
        """Run `devit fleet`."""
        address = ("--hub-url", f"https://127.0.0.1:{self._fleet.hub_port}")
        token = ("--token-file", self._fleet.folder / "hub/token")
        config = ("--config", self._fleet.config("viewer"))
        return command("devit", "fleet", name, *arguments, *config, *address, *token)

    def push(self, bundle: Bundle) -> None:
        """Push a bundle, until it is good."""
        done = self.says("push", bundle.path, "--no-wait", "--folder", self._fleet.path)
        assert done.returncode == 0, done.stderr
        self.wait_good(bundle)

    def wait_good(self, bundle: Bundle) -> None:
        """Wait until a bundle is good, and all nodes serve it."""
        wanted = bundle.manifest.fingerprint

        def is_good() -> bool:
            now = self._fleet.status()
            current = now.rollout.current if now is not None else None
            if now is None or current is None or now.rollout.next is not None:
                return False
            return current.fingerprint == wanted and self._fleet.serving() == {current.number}

        with camera(self._fleet):
            wait_until(is_good, 2 * WAIT_S)


@needs_mosquitto
def test_the_owner_signs_and_the_hub_chooses(tmp_path: Path) -> None:
    fleet = SecureFleet(tmp_path)
    owner = Owner(fleet)
    one, two, three = (make_bundle(tmp_path / str(seed), parts=2, seed=seed) for seed in range(3))
    hidden = tmp_path / "hidden"
    with fleet.running():
        fleet.wait_there()
        refused = owner.says("push", one.path, "--folder", tmp_path)
        assert_one_line_error(refused, "give --folder FLEET")
        nothing = owner.says("sign", "--folder", fleet.path)
        assert_one_line_error(nothing, "nothing to allow yet")
        owner.push(one)
        owner.push(two)

        (fleet.path / "updates").rename(hidden)  # the keys are in a drawer
        back = owner.says("rollback", "--no-wait")
        assert back.returncode == 0, back.stderr
        owner.wait_good(one)
        hidden.rename(fleet.path / "updates")

        only = owner.says("sign", one.path, "--only", "--folder", fleet.path)
        assert only.stdout == f"allowed: bundle {one.manifest.fingerprint}\n"
        assert_one_line_error(owner.says("rollback"), "does not allow", "devit fleet sign")

        for role in ("root", "targets", "hub"):
            FleetFolder(fleet.path).rotate(role)
        early = owner.says("sign", one.path, "--folder", fleet.path)
        assert_one_line_error(early, "the root names another key of the hub")
        fleet.stop("hub")
        fleet.start("hub")
        fleet.wait_there()
        owner.push(three)
    for name in (*NODES, "aggregator", "hub"):
        assert "Traceback" not in fleet.log(name)
