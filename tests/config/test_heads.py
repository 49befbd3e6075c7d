"""Which heads answer for a camera, as the configuration says."""

from pathlib import Path

import pytest

from devit_iot.config.config import Config, load_config
from devit_iot.errors import ConfigError


def configured(tmp_path: Path, text: str) -> Config:
    (tmp_path / "fleet.toml").write_text(text)
    return load_config([tmp_path / "fleet.toml"], {})


def test_without_a_word_the_bundles_own_fusion_answers() -> None:
    choice = Config().head_choice
    assert choice.names == ("default",)
    assert choice.of("door") == ("default",)


@pytest.mark.parametrize(
    ("keys", "heads"),
    [
        ('head = "gate"', ("gate",)),
        ('heads = ["gate"]', ("gate",)),
        ('heads = ["gate", "default"]', ("gate", "default")),
        ('head = "gate"\nheads = ["car"]', ("gate", "car")),
        ("", ("default",)),
        ('head = ""\nheads = []', ("default",)),
    ],
)
def test_a_filter_says_which_heads_answer(
    tmp_path: Path, keys: str, heads: tuple[str, ...]
) -> None:
    choice = configured(tmp_path, f'[[images]]\ntopic = "cameras/{{camera}}/image"\n{keys}')
    assert choice.head_choice.of("door") == heads
    assert choice.head_choice.names == heads


def test_a_camera_by_its_name_goes_before_its_filter(tmp_path: Path) -> None:
    text = """
        [heads]
        door = ["gate", "post"]
        "garden-bell" = ["default"]

        [[images]]
        topic = "cameras/{camera}/image"
        head = "bird"

        [[images]]
        topic = "still/shed"
        head = "tool"

        [[images]]
        topic = "still/garden/bell"
    """
    choice = configured(tmp_path, text).head_choice
    assert choice.of("door") == ("gate", "post")
    assert choice.of("garden-bell") == ("default",)
    assert choice.of("feeder") == ("bird",)
    assert choice.of("still-shed") == ("tool",)  # as the filter names its only camera
    assert choice.of("still-garden-bell") == ("default",)
    assert set(choice.names) == {"gate", "post", "default", "bird", "tool"}


TWO = '[[images]]\ntopic = "a/{camera}"\n%s\n[[images]]\ntopic = "b/+"\n%s\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[images]]\ntopic = "a/+"\nhead = "a/b"', "no usable name"),
        ('[[images]]\ntopic = "a/+"\nheads = [""]', "no usable name"),
        ('[[images]]\ntopic = "a/+"\nheads = ["gate", "gate"]', "named twice"),
        ('[[images]]\ntopic = "a/+"\nhead = "gate"\nheads = ["gate"]', "named twice"),
        ('[[images]]\ntopic = "a/+"\nhead = 3', "Expected `str`"),
        ('[[images]]\ntopic = "a/+"\nheds = ["gate"]', "did you mean 'images.heads'"),
        ("[heads]\ndoor = []", "are none"),
        ('[heads]\ndoor = "gate"', "Expected `array`"),
        ('[heads]\ndoor = ["../gate"]', "no usable name"),
        (TWO % ('head = "gate"', ""), "'a/{camera}' and 'b/\\+' have different heads"),
        (TWO % ('heads = ["x", "y"]', 'heads = ["y", "x"]'), "have different heads"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        configured(tmp_path, text)


def test_filters_with_wildcards_may_have_the_same_heads(tmp_path: Path) -> None:
    same = TWO % ('head = "gate"', 'heads = ["gate"]')
    assert configured(tmp_path, same).head_choice.of("door") == ("gate",)
