"""A person draws the rectangle that a head looks at, or writes it, and gets it as configuration."""

import tomllib
from collections.abc import Iterator

import msgspec
import pytest
from playwright.sync_api import Page, expect

from devit_iot.config.crops import CropConfig
from devit_iot.demo.processes import FleetProcesses
from devit_iot.protocol.crop import Crop
from tests.browser.collector import HOSTILE, collector, whole
from tests.browser.conftest import Opener, live
from tests.browser.teaching import open_dialog
from tests.support.fleets import wait_until

SIDES = {"x": "Left", "y": "Top", "w": "Width", "h": "Height"}


@pytest.fixture
def page(processes: FleetProcesses, opened: Opener) -> Iterator[Page]:
    """The dialog of a camera that has two pictures, with its rectangle shown."""
    page = live(opened(processes.websocket_url))
    with collector(processes.url, whole):
        open_dialog(page)
        expect(page.locator("#teach-shots .shot")).to_have_count(2)
        page.locator("#teach-rectangle summary").click()
        yield page


def said(page: Page) -> dict[str, dict[str, CropConfig]]:
    """The table of the configuration that the page shows."""
    text = page.get_by_label("Text for the configuration").input_value()
    return msgspec.convert(tomllib.loads(text)["crops"], dict[str, dict[str, CropConfig]])


def pull(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw with the mouse between two places, as shares of the picture."""
    stage = page.locator(".rectangle-stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    assert box is not None
    (x0, y0), (x1, y1) = (
        (box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)
    )
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move((x0 + x1) / 2, (y0 + y1) / 2)
    page.mouse.move(x1, y1)
    page.mouse.up()


def fields(page: Page) -> list[float]:
    return [float(page.get_by_label(name, exact=True).input_value()) for name in SIDES.values()]


def test_the_whole_picture_is_where_it_begins(page: Page) -> None:
    wait_until(lambda: said(page) == {"door": {"gate": CropConfig(0, 0, 1, 1)}})


@pytest.mark.parametrize("backwards", [False, True])
def test_it_is_drawn_with_the_mouse(page: Page, backwards: bool) -> None:  # noqa: FBT001
    corners = (0.25, 0.5), (0.75, 0.9)
    pull(page, *(reversed(corners) if backwards else corners))
    assert fields(page) == pytest.approx([0.25, 0.5, 0.5, 0.4], abs=0.02)
    crop = said(page)["door"]["gate"]
    assert [crop.x, crop.y, crop.w, crop.h] == fields(page)
    assert crop.crop == Crop.of(*fields(page))


def test_what_leaves_the_picture_ends_at_its_edge(page: Page) -> None:
    pull(page, (0.5, 0.5), (1.3, 0.5))
    assert fields(page) == pytest.approx([0.5, 0.5, 0.5, 0.01], abs=0.02)
    assert said(page)["door"]["gate"].crop


def test_a_finger_draws_it_too(page: Page) -> None:
    """The page would scroll under the finger otherwise."""
    stage = page.locator(".rectangle-stage")
    assert stage.evaluate("element => getComputedStyle(element).touchAction") == "none"
    stage.evaluate(
        """element => {
          const box = element.getBoundingClientRect();
          const send = (type, x, y) => element.dispatchEvent(new PointerEvent(type, {
            pointerId: 1, pointerType: "touch", button: type === "pointermove" ? -1 : 0,
            clientX: box.left + x * box.width, clientY: box.top + y * box.height, bubbles: true,
          }));
          element.setPointerCapture = () => {};
          send("pointerdown", 0.2, 0.2);
          send("pointermove", 0.6, 0.4);
          send("pointerup", 0.6, 0.4);
          send("pointermove", 0.9, 0.9);
        }"""
    )
    assert fields(page) == pytest.approx([0.2, 0.2, 0.4, 0.2], abs=0.02)


def test_it_is_written_with_the_keyboard(page: Page) -> None:
    for name, value in zip(SIDES.values(), ("0.5", "0.25", "0.2", "0.3"), strict=True):
        page.get_by_label(name, exact=True).fill(value)
        page.keyboard.press("Tab")
    assert said(page) == {"door": {"gate": CropConfig(0.5, 0.25, 0.2, 0.3)}}
    page.get_by_label("Width", exact=True).fill("7")
    page.keyboard.press("Tab")
    assert fields(page) == [0.5, 0.25, 0.5, 0.3]
    text = page.get_by_label("Text for the configuration").input_value()
    assert "--crop 0.5,0.25,0.5,0.3" in text
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#teach-rectangle [role=status]")).not_to_be_empty()


def test_a_camera_with_a_strange_name_is_a_key_of_toml(page: Page) -> None:
    page.locator("#teach-close").click()
    page.locator("#collected button").nth(1).click()
    page.locator("#teach-rectangle summary").click()
    wait_until(lambda: list(said(page)) == [HOSTILE])  # the answer for the other camera comes
