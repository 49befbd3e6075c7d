"""What `devit fleet push` and `sign` allow, from what the owner and the hub remember."""

import shutil
from pathlib import Path

import pytest

from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.signature import new_key
from devit_iot.cli.fleet_keys import sign_for
from devit_iot.errors import ConfigError, TrustError
from devit_iot.fleet.folder import FleetFolder, FleetState
from devit_iot.hub.client import HubClient
from devit_iot.hub.commands import Done, SignedView, SignRequest
from devit_iot.trust.metadata import allowed_by, in_days, sign_targets, signer_of, version_of
from tests.support.fleets import make_bundle
from tests.support.signed_hub import allowed, allowed_of


class StandIn(HubClient):
    """A hub that believes everything."""

    def __init__(self) -> None:
        super().__init__("http://hub", "token", None)
        self.targets = ""
        self.kept: tuple[str, ...] = ()

    def signed(self) -> SignedView | None:
        return SignedView(self.targets, self.kept)

    def sign(self, request: SignRequest) -> Done:
        self.targets = request.targets
        return Done("signed")

    @property
    def allowed(self) -> set[str]:
        """Fingerprints of what may be installed."""
        return {one.fingerprint for one in allowed_by(self.targets.encode())}

    @property
    def version(self) -> int:
        """The version of what was signed."""
        return version_of(self.targets.encode())


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    folder = tmp_path_factory.mktemp("bundles")
    return [make_bundle(folder / str(seed), parts=2, seed=seed) for seed in range(4)]


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    return FleetFolder.create(tmp_path / "fleet", FleetState("home", ("hub.local",))).path


def names(*bundles: Bundle) -> set[str]:
    return {bundle.manifest.fingerprint for bundle in bundles}


def test_the_new_one_and_what_the_hub_still_needs(fleet: Path, bundles: list[Bundle]) -> None:
    hub = StandIn()
    for index, bundle in enumerate(bundles):
        sign_for(hub, fleet, [bundle])
        hub.kept = tuple(names(*bundles[max(0, index - 1) : index + 1]))
    assert hub.allowed == names(bundles[3], bundles[2], bundles[1])
    assert hub.version == 4
    hub.kept = (*hub.kept, *names(bundles[0]))  # a hub's wish does not bring an old one back
    sign_for(hub, fleet, [])
    assert hub.allowed == names(bundles[3], bundles[2])
    sign_for(hub, fleet, [bundles[2]], only=True)
    assert hub.allowed == names(bundles[2])
    assert hub.version == 6


def test_a_copy_of_an_earlier_day_goes_on_from_the_hub(
    fleet: Path, bundles: list[Bundle], tmp_path: Path
) -> None:
    hub = StandIn()
    sign_for(hub, fleet, [bundles[0]])
    shutil.copytree(fleet, tmp_path / "copy")
    hub.kept = tuple(names(bundles[0]))
    sign_for(hub, fleet, [bundles[1]])
    hub.kept = tuple(names(bundles[0], bundles[1]))
    sign_for(hub, tmp_path / "copy", [bundles[2]])
    assert hub.allowed == names(bundles[2], bundles[1], bundles[0])
    assert hub.version == 3


def test_what_a_hub_made_up_is_not_signed(fleet: Path, bundles: list[Bundle]) -> None:
    hub = StandIn()
    sign_for(hub, fleet, [bundles[0]])
    evil = allowed_of(7)
    forged = sign_targets(9, [evil, allowed(bundles[0])], signer_of(new_key()), in_days(9))
    hub.targets, hub.kept = forged.decode(), (evil.fingerprint, *names(bundles[0]))
    sign_for(hub, fleet, [bundles[1]])
    assert hub.allowed == names(bundles[1], bundles[0])
    assert hub.version == 10


def test_a_replaced_key_s_word_is_not_signed_again(fleet: Path, bundles: list[Bundle]) -> None:
    hub = StandIn()
    sign_for(hub, fleet, [bundles[0]])
    hub.kept = tuple(names(bundles[0]))
    FleetFolder(fleet).rotate("targets")
    with pytest.raises(TrustError, match="nothing to allow yet"):
        sign_for(hub, fleet, [])
    sign_for(hub, fleet, [bundles[1]])
    assert hub.allowed == names(bundles[1])


def test_a_folder_without_keys_is_one_clear_line(
    fleet: Path, bundles: list[Bundle], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="give --folder FLEET"):
        sign_for(StandIn(), tmp_path, [bundles[0]])
    for path in (fleet / "updates").glob("targets-*.key"):
        path.unlink()
    with pytest.raises(ConfigError, match="When a key is lost"):
        sign_for(StandIn(), fleet, [bundles[0]])
    shutil.rmtree(fleet / "updates")
    with pytest.raises(ConfigError, match="devit fleet rotate all"):
        sign_for(StandIn(), fleet, [bundles[0]])


@pytest.mark.parametrize("targets", ["{", "{}", "no"])
def test_a_hub_that_sends_rubbish_is_one_clear_line(
    fleet: Path, bundles: list[Bundle], targets: str
) -> None:
    hub = StandIn()
    hub.targets = targets
    with pytest.raises(TrustError, match="does not parse"):
        sign_for(hub, fleet, [bundles[0]])
