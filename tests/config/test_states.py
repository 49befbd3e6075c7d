"""When labels change a state, as the configuration says."""

from pathlib import Path

import pytest

from devit_iot.config.config import Config, load_config
from devit_iot.config.states import StateConfig
from devit_iot.errors import ConfigError


def configured(tmp_path: Path, text: str) -> Config:
    (tmp_path / "fleet.toml").write_text(text)
    return load_config([tmp_path / "fleet.toml"], {})


def test_a_head_has_a_state_of_three_equal_labels_unless_told_otherwise(tmp_path: Path) -> None:
    text = '[states.gate]\nrepeats = 5\nhold_s = 2.5\non = "open"\ndevice_class = "garage_door"'
    config = configured(tmp_path, text)
    wanted = StateConfig(repeats=5, hold_s=2.5, on="open", device_class="garage_door")
    assert config.state_rule("gate") == wanted
    assert config.state_rule("bird") == StateConfig(repeats=3)
    assert config.state_rule("default") is None
    assert configured(tmp_path, "[states.default]").state_rule("default") == StateConfig()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[states.gate]\nrepeat = 3", "unknown key 'states.gate.repeat'; did you mean"),
        ("[states.gate]\nrepeats = 0", "repeats must be 1 to 1000"),
        ("[states.gate]\nrepeats = 1.5", "Expected `int`"),
        ("[states.gate]\nthreshold = 80", "threshold must be 0 to 1"),
        ("[states.gate]\nthreshold = nan", "threshold must be 0 to 1"),
        ("[states.gate]\nhold_s = -1", "hold_s must be 0 to 86400"),
        ("[states.gate]\nsettle_s = inf", "settle_s must be 0 to 86400"),
        ('[states.gate]\ndevice_class = "garage_door"', "say which class is `on`"),
        ('[states.gate]\non = "open"\ndevice_class = "gate"', "Invalid enum value 'gate'"),
        ('[states."a/b"]\nrepeats = 3', "no usable name"),
        ("[states]\ngate = 3", "Expected `object`"),
        ("states = 3", "Expected `object`"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        configured(tmp_path, text)
