"""What `homeassistant/*.json` holds: `python -m tests.golden.make_homeassistant` makes it.

A real Home Assistant took each of them: `make test-homeassistant` shows them to it. Make them again
only together with that.
"""

from pathlib import Path

import msgspec

from devit_iot.config.states import StateConfig
from devit_iot.homeassistant.devices import Announcement, Devices
from devit_iot.homeassistant.heads import HeadSensor
from tests.golden.make import NODE_STATUS, NODE_STATUS_3

FOLDER = Path(__file__).parent / "homeassistant"

HOME = Devices("home", shards=1, version="0.1.0")
BARN = Devices("barn.2", shards=2, version="0.1.0", label_expire_s=60)
BARN_WITH_HUB = Devices("barn", shards=1, version="0.1.0", has_hub=True)
HOSTILE = "{{ 1 % 0 }} <b>\"'\\~$&{% x"
"""A camera's name may hold all of this; nothing in it may be taken for a template."""

CASES: dict[str, Announcement] = {
    "fleet": HOME.fleet(),
    "fleet_of_two_aggregators": BARN.fleet(),
    "fleet_with_hub": BARN_WITH_HUB.fleet(),
    "camera": HOME.camera("entrée"),
    "camera_heads": HOME.camera(
        "yard",
        [
            HeadSensor(
                "gate",
                is_main=True,
                classes=("closed", "open", "unknown"),
                rule=StateConfig(on="open", device_class="garage_door"),
            ),
            HeadSensor(
                "bird", is_main=False, classes=("tit", "None", " robin"), rule=StateConfig()
            ),
            HeadSensor("default", is_main=False, classes=("cat",), rule=None),
        ],
    ),
    "camera_hostile": BARN.camera(HOSTILE),
    "node": HOME.node("pi-1", NODE_STATUS_3, has_thermometer=True),
    "node_plain": BARN.node(
        "pi.2",
        msgspec.structs.replace(NODE_STATUS, machine="", version=""),
        has_thermometer=False,
    ),
}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, announcement in CASES.items():
        (FOLDER / f"{name}.json").write_bytes(announcement.payload)
