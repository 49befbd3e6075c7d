"""The site of the documents: it builds, all its links lead somewhere, the reference is whole."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin

import click
import msgspec
import pytest

from devit_iot.cli.aggregate import main as aggregate
from devit_iot.cli.devit import main as devit
from devit_iot.cli.node import main as node
from devit_iot.cli.options import AGGREGATOR, CLIENT, FLEET, HOME_ASSISTANT, HUB, NODE
from devit_iot.config.config import Config, ImagesConfig
from devit_iot.protocol import topics
from devit_iot.protocol.crop import CameraCrops, CropOrder, CropPlan
from devit_iot.protocol.feature import Feature, Timing
from devit_iot.protocol.hub_status import HubStatus
from devit_iot.protocol.label import Label, Ranked
from devit_iot.protocol.release import Release, Rollout, UpdateStatus
from devit_iot.protocol.status import AggregatorStatus, NodeStatus
from devit_iot.protocol.steady_state import SteadyState
from tests.support.documents import DOCUMENTS

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
CONFIGURATION = ROOT / "docs" / "configuration.md"
PROGRAMS: dict[str, click.Command] = {
    "devit": devit,
    "devit-node": node,
    "devit-aggregate": aggregate,
}
MESSAGES = (
    *(Label, Ranked, NodeStatus, AggregatorStatus, Feature, Timing),
    *(Rollout, Release, UpdateStatus, HubStatus, SteadyState, CropPlan, CameraCrops, CropOrder),
)
LOADED = {"img": "src", "link": "href", "script": "src", "source": "src", "iframe": "src"}


class Page(HTMLParser):
    """What a page links to, what it loads, its anchors and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.text = ""
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif LOADED.get(tag) in given:
            self.loaded.append(given[LOADED[tag]])

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Page]:
    """Every page by its place."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    pages = {path.relative_to(folder).as_posix(): Page(path) for path in folder.rglob("*.html")}
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert (lost := list(dead_links(pages, files))) == [], lost
    return pages


def dead_links(pages: dict[str, Page], files: set[str]) -> Iterator[str]:
    """Links and pictures within the site that are not there, and anchors that no page has."""
    for place, page in pages.items():
        for link in (*page.links, *page.loaded):
            target = urljoin(f"//site/{place}", link).removeprefix("//site/")
            path, _, anchor = target.partition("#")
            if "//" in path or place == "404.html":  # leads out; is shown at any place
                continue
            file = unquote(path) if path and not path.endswith("/") else f"{path}index.html"
            if file not in files or (anchor and unquote(anchor) not in pages[file].anchors):
                yield f"{place}: {link}"


def test_a_dead_link_would_be_found(site: dict[str, Page]) -> None:
    broken = Page(ROOT / "docs" / "flow.svg")
    broken.links = ["nowhere.html", "docs/protocol.html#nothing", "docs/protocol.html#2-topics"]
    pages = site | {"broken.html": broken}
    found = [lost for lost in dead_links(pages, set(pages)) if lost.startswith("broken")]
    assert found == [f"broken.html: {link}" for link in broken.links[:2]]


def test_every_document_is_a_page_that_people_find(site: dict[str, Page]) -> None:
    for path in DOCUMENTS:
        place = path.relative_to(ROOT).with_suffix(".html").as_posix()
        place = place.replace("README.html", "index.html")
        assert place in site
        reached = [urljoin(f"//site/{page}", link) for page in ("index.html", "docs/protocol.html")
                   for link in site[page].links]  # fmt: skip
        assert f"//site/{place}" in {link.partition("#")[0] for link in reached}, place


def test_nothing_is_loaded_from_elsewhere(site: dict[str, Page]) -> None:
    outside = {link for page in site.values() for link in page.loaded if "//" in link}
    assert outside == set()


def test_markdown_becomes_html(site: dict[str, Page]) -> None:
    """Lists and fences that only GitHub understands would be left as they are."""
    for place, page in site.items():
        if not place.startswith(("csrc/", "tests/")):
            assert "```" not in page.text.replace("`````", ""), place
            assert "\n| ---" not in page.text, place


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{path} {name}")


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_command_and_option_is_explained(site: dict[str, Page], program: str) -> None:
    page = site[f"reference/{program}.html"]
    for path, command in commands(PROGRAMS[program], program):
        assert command.help, path
        assert path.replace(" ", "-") in page.anchors
        for option in (p for p in command.params if isinstance(p, click.Option)):
            assert option.help, f"{path} {option.opts[0]}"
            assert all(flag in page.text for flag in option.opts), f"{path} {option.opts[0]}"


def test_every_message_and_field_is_explained(site: dict[str, Page]) -> None:
    page = site["reference/messages.html"]
    for struct in MESSAGES:
        assert struct.__name__.lower() in page.anchors
        assert [f.name for f in msgspec.structs.fields(struct) if f.name not in page.text] == []


def test_every_topic_says_who_may_publish_and_read_it(site: dict[str, Page]) -> None:
    home = topics.Topics("home")
    rows = {
        home.feature("<shard>", "<node>"): "nodeaggregator, collector, node",
        home.label("<camera>"): "aggregator, owner"
        "aggregator, collector, dashboard, homeassistant, hub, owner, teacher, viewer",
        home.state("<camera>", "<head>"): "aggregator, owner"
        "aggregator, dashboard, homeassistant, owner, teacher, viewer",
        home.node_status("<node>"): "node, owner"
        "aggregator, dashboard, homeassistant, hub, node, owner, teacher, viewer",
        home.aggregator_status("<shard>"): "aggregator, owner"
        "aggregator, collector, dashboard, homeassistant, hub, owner, teacher, viewer",
        home.crops: "aggregatoraggregator, node",
        home.release: "hubaggregator, dashboard, homeassistant, node, owner, teacher, viewer",
        home.node_update("<node>"): "node, owner"
        "dashboard, homeassistant, hub, owner, teacher, viewer",
        home.aggregator_update("<shard>"): "aggregator, owner"
        "dashboard, homeassistant, hub, owner, teacher, viewer",
        topics.DEFAULT_IMAGE_FILTERS[0]: "cameraaggregator, collector, dashboard, node, teacher",
        topics.DiscoveryTopics().devices.replace("+", "<id>"): "aggregator, homeassistant, owner"
        "homeassistant, owner",
        topics.HOME_ASSISTANT_STATUS: "homeassistantaggregator, homeassistant",
    }
    text = "".join(site["reference/topics.html"].text.split("\n"))
    for topic, roles in rows.items():
        row = text.partition(topic.replace("/home/", "/<fleet>/"))[2][:140]
        assert roles in row, f"{topic}: {row}"


def test_the_tables_of_the_configuration_are_current() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPTS / "configuration_tables.py", "--check"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_key_and_option_of_the_configuration_is_there() -> None:
    text = CONFIGURATION.read_text()
    structs: list[type[msgspec.Struct]] = [Config, ImagesConfig]
    structs += [type(field.default) for field in msgspec.structs.fields(Config)
                if isinstance(field.default, msgspec.Struct)]  # fmt: skip
    assert len(structs) >= 6
    keys = [field.name for struct in structs for field in msgspec.structs.fields(struct)]
    tables = {field.name for field in msgspec.structs.fields(Config)}
    for key in keys:
        assert f"| `{key}` |" in text or (key in tables and re.search(rf"\[{key}[].]", text)), key
    for setting in (*CLIENT, *FLEET, *NODE, *AGGREGATOR, *HOME_ASSISTANT, *HUB):
        assert f"`{setting.flag}` `{setting.variable}`" in text, setting.flag
