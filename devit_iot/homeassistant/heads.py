"""What Home Assistant is told of a camera's heads: their steady states, and further labels.

Pure. Names of classes become options and payloads, never a part of a template.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from devit_iot.config.states import StateConfig
from devit_iot.homeassistant.templates import (
    class_state,
    fields_template,
    shown_class,
    value_template,
)
from devit_iot.protocol.label import UNKNOWN
from devit_iot.protocol.topics import Topics

MAX_OPTIONS = 100
"""Classes that a sensor lists as its options; one with more lists none."""

_BOTH = 2

Json = dict[str, Any]
Heads = Mapping[str, Sequence[str]]
"""Head -> its classes, the camera's main head first."""

StateRule = Callable[[str], StateConfig | None]
"""Head -> when its labels change its state; None: it has no state."""


class HeadSensor(NamedTuple):
    """A head of a camera as Home Assistant is to show it.

    Attributes:
        head: its name.
        is_main: whether its labels are those of the camera.
        classes: names, by index.
        rule: when its labels change its state; None: it has no state.
    """

    head: str
    is_main: bool
    classes: Sequence[str]
    rule: StateConfig | None

    @property
    def problem(self) -> str:
        """Why it is no binary sensor although a class is to be shown as on; empty if it is one."""
        if self.rule is None or not self.rule.on or self._both() is not None:
            return ""
        return (
            f"states.{self.head}.on is '{self.rule.on}', and the head's classes are "
            f"{', '.join(self.classes[:MAX_OPTIONS])}: a binary sensor needs two, beside "
            f"'{UNKNOWN}', that Home Assistant can take; it is shown as a sensor"
        )

    def components(self, topics: Topics, camera: str) -> dict[str, Json]:
        """Its entities by key: the label of a head that is not the main one, and the state."""
        found: dict[str, Json] = {}
        if not self.is_main:
            found[f"label_{self.head}"] = self._label(topics.head_label(camera, self.head))
        if self.rule is not None:
            found[f"state_{self.head}"] = self._state(topics.state(camera, self.head))
        return found

    def _label(self, topic: str) -> Json:
        return {
            "platform": "sensor",
            "name": f"Label {self.head}",
            "icon": "mdi:tag",
            "state_topic": topic,
            "value_template": class_state("label", "value"),
            "json_attributes_topic": topic,
            "json_attributes_template": fields_template("confidence", "class_index", "top5"),
        }

    def _state(self, topic: str) -> Json:
        shared = {
            "name": f"State {self.head}",
            "state_topic": topic,
            "json_attributes_topic": topic,
            "json_attributes_template": fields_template(
                "since", "before", "confidence", "head_version"
            ),
        }
        both = self._both()
        if both is not None and self.rule is not None:
            kind = self.rule.device_class
            return {
                "platform": "binary_sensor",
                **({"device_class": kind} if kind else {}),
                **shared,
                "value_template": value_template("value_json.state", "value_json.class_index >= 0"),
                "payload_on": both[0],
                "payload_off": both[1],
            }
        options = [
            shown_class(name, index) for index, name in enumerate(self.classes) if name != UNKNOWN
        ]
        listed = {"device_class": "enum", "options": options} if options else {}
        return {
            "platform": "sensor",
            "icon": "mdi:state-machine",
            **(listed if len(options) <= MAX_OPTIONS else {}),
            **shared,
            "value_template": class_state("state", "value and value_json.class_index >= 0"),
        }

    def _both(self) -> tuple[str, str] | None:
        """The classes that are on and off, if they are two and Home Assistant takes their names."""
        on = "" if self.rule is None else self.rule.on
        rest = [name for name in self.classes if name not in {on, UNKNOWN}]
        known = [name for name in self.classes if name != UNKNOWN]
        plain = all(shown_class(name, 0) == name for name in known)
        return (on, rest[0]) if on and len(known) == _BOTH and len(rest) == 1 and plain else None


def sensors(heads: Heads, rule: StateRule) -> list[HeadSensor]:
    """The heads of one camera, the main one first."""
    return [
        HeadSensor(head, index == 0, classes, rule(head))
        for index, (head, classes) in enumerate(heads.items())
    ]
