"""Camera apps by name: the topics on which they publish images. One table, for nodes and docs."""

from collections.abc import Iterable
from typing import NamedTuple

from devit_iot.errors import ConfigError
from devit_iot.protocol.topics import DEFAULT_IMAGE_FILTERS


class Preset(NamedTuple):
    """Image filters of one camera app, and what to know of them."""

    filters: tuple[str, ...]
    note: str


PRESETS = {
    "default": Preset(DEFAULT_IMAGE_FILTERS, "What a node listens to unless told otherwise."),
    "frigate": Preset(
        ("frigate/{camera}/{camera}/snapshot",),
        "Frigate's snapshots, JPEG; the camera is called `<camera>-<object>`. Retained ones, which "
        "are old, are ignored.",
    ),
    "homeassistant": Preset(
        ("homeassistant/camera/{camera}/image",),
        "Images beside the announcement of an MQTT camera of Home Assistant, raw or base64 "
        "(`image_encoding: b64`).",
    ),
    "esp32-cam": Preset(
        ("esp32-cam/{camera}", "esp32-cam/{camera}/image"),
        "Sketches for the ESP32-CAM, raw JPEG or base64: let each publish to `esp32-cam/<name>`.",
    ),
}


def preset_filters(names: Iterable[str]) -> tuple[str, ...]:
    """The image filters of these camera apps, each once.

    Raises:
        ConfigError: a name is not in the table.
    """
    found: dict[str, None] = {}
    for name in names:
        if name not in PRESETS:
            raise ConfigError(f"no camera app '{name}'; there are: {', '.join(PRESETS)}")
        found |= dict.fromkeys(PRESETS[name].filters)
    return tuple(found)
