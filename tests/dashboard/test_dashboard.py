"""The live page's server, and what its files must not have; the page itself: tests/browser."""

import hashlib
import json
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from devit_iot.dashboard.server import DashboardServer, PageFacts
from devit_iot.errors import DevitError
from devit_iot.programs import own_program
from devit_iot.protocol.cells import CellTopics
from devit_iot.protocol.topics import DEFAULT_IMAGE_FILTERS, Topics

FOLDER = Path(__file__).parents[2] / "devit_iot" / "dashboard"
VENDOR = FOLDER / "vendor"
OWN = [
    path
    for path in FOLDER.rglob("*")
    if path.is_file() and VENDOR not in path.parents and path.suffix not in {".py", ".pyc"}
]
MAX_LINES = 400
FACTS = PageFacts(Topics("home"), DEFAULT_IMAGE_FILTERS, "ws://127.0.0.1:9001/mqtt")


@pytest.fixture(scope="module")
def server() -> Iterator[DashboardServer]:
    server = DashboardServer("127.0.0.1", 0, FACTS)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server
    server.stop()
    thread.join()


def ask(
    server: DashboardServer, path: str, *, method: str = "GET", **headers: str
) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def test_the_page_of_an_upper_broker_asks_for_cells_and_no_pictures() -> None:
    facts = PageFacts(CellTopics("home"), (), "ws://127.0.0.1:9001/mqtt")
    server = DashboardServer("127.0.0.1", 0, facts)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        said = json.loads(ask(server, "/fleet.json")[1])
    finally:
        server.stop()
        thread.join()
    topics = {name: topic for name, topic in said["topics"].items() if name != "teach"}
    assert said["cells"]
    assert said["images"] == []
    assert all(topic.startswith("cells/+/") for topic in topics.values())
    assert topics["connected"] == "cells/+/connected"
    assert "hub" not in topics


def raw(server: DashboardServer, request: bytes) -> bytes:
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port or 0), 20) as link:
        link.sendall(request)
        link.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: link.recv(65536), b""))


def policy(answer: HTTPResponse) -> dict[str, list[str]]:
    text = answer.headers["Content-Security-Policy"]
    directives = [directive.split() for directive in text.split(";")]
    return {name: values for name, *values in directives}


def test_every_file_of_the_page_is_served(server: DashboardServer) -> None:
    for path in OWN:
        answer, content = ask(server, f"/{path.relative_to(FOLDER)}")
        assert (answer.status, content) == (200, path.read_bytes()), path
    assert ask(server, "/")[1] == ask(server, "/index.html?x=/etc")[1]
    for ours in ("server.py", "__init__.py"):
        assert (FOLDER / ours).exists()
        assert ask(server, f"/{ours}")[0].status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/../pyproject.toml",
        "/app/../../bundle.py",
        "/%2e%2e/bundle.py",
        "/app/%2e%2e/index.html",
        "/app/main.js/",
        "/app",
        "/vendor/README.md",
        "/etc/passwd",
        "/app\\main.js",
        "/index.html%00.js",
    ],
)
def test_nothing_else_is_served(server: DashboardServer, path: str) -> None:
    answer, content = ask(server, path)
    assert (answer.status, content) == (404, b"no such file\n")


@pytest.mark.parametrize("path", ["/", "/fleet.json", "/app/main.js", "/nothing"])
def test_every_answer_has_the_headers(server: DashboardServer, path: str) -> None:
    answer, _ = ask(server, path)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert "Python" not in answer.headers["Server"]
    rules = policy(answer)
    assert rules["default-src"] == ["'none'"]
    assert rules["script-src"] == rules["style-src"] == ["'self'"]
    assert rules["img-src"] == ["'self'", "blob:"]
    assert rules["connect-src"] == ["'self'", "ws://127.0.0.1:9001"]
    assert rules["require-trusted-types-for"] == ["'script'"]
    assert rules["trusted-types"] == rules["base-uri"] == ["'none'"]
    assert rules["frame-ancestors"] == ["'self'"]  # Home Assistant's sidebar


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "<script>"])
def test_only_reading_is_answered(server: DashboardServer, method: str) -> None:
    answer, content = ask(server, "/", method=method)
    assert (answer.status, content) == (501, b"Not Implemented\n")
    assert policy(answer)["default-src"] == ["'none'"]


@pytest.mark.parametrize(
    "request_", [b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\0"]
)
def test_what_is_no_request_ends_nothing(server: DashboardServer, request_: bytes) -> None:
    assert b"<" not in raw(server, request_)
    assert b"400" in raw(server, b"GET / x y HTTP/1.1\r\n\r\n").splitlines()[0]
    assert ask(server, "/")[0].status == 200


def test_a_long_request_is_refused(server: DashboardServer) -> None:
    assert b"414" in raw(server, b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\n\r\n").splitlines()[0]
    assert ask(server, "/")[0].status == 200


def test_who_says_nothing_holds_nobody_up(server: DashboardServer) -> None:
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port or 0), 20):
        assert ask(server, "/")[0].status == 200


def test_head_has_no_body(server: DashboardServer) -> None:
    answer, content = ask(server, "/app/main.js", method="HEAD")
    size = (FOLDER / "app/main.js").stat().st_size
    assert (answer.status, content, answer.headers["Content-Length"]) == (200, b"", str(size))


def test_what_the_browser_has_is_not_sent_again(server: DashboardServer) -> None:
    tag = ask(server, "/app/main.js")[0].headers["ETag"]
    answer, content = ask(server, "/app/main.js", If_None_Match=tag)
    assert (answer.status, content) == (304, b"")
    assert ask(server, "/app/main.js", If_None_Match='"x"')[0].status == 200


def test_the_facts_are_those_of_the_code(server: DashboardServer) -> None:
    answer, content = ask(server, "/fleet.json")
    facts = json.loads(content)
    assert answer.headers["Content-Type"] == "application/json"
    assert facts["fleet"] == "home"
    assert facts["topics"] == {
        "labels": "devit/v1/home/labels/+",
        "head_labels": "devit/v1/home/labels/+/+",
        "states": "devit/v1/home/states/+/+",
        "nodes": "devit/v1/home/nodes/+/status",
        "aggregators": "devit/v1/home/aggregators/+/status",
        "hub": "devit/v1/home/hub/status",
        "node_updates": "devit/v1/home/nodes/+/update",
        "teach": {
            "state": "devit/v1/home/teach/state",
            "ask": "devit/v1/home/teach/ask/",
            "answer": "devit/v1/home/teach/answer/",
        },
    }
    assert facts["client_id"] == "devit-home-dashboard-"
    assert facts["images"][1] == {
        "pattern": "cameras/{camera}/image/{request}",
        "filter": "cameras/+/image/+",
    }


@pytest.mark.parametrize(
    ("host", "broker", "source"),
    [
        ("localhost:8080", "ws://127.0.0.1:9001/mqtt", "ws://127.0.0.1:9001"),
        ("hub.local:8080", "ws://hub.local:9001/mqtt", "ws://hub.local:9001"),
        ("10.0.0.2", "ws://10.0.0.2:9001/mqtt", "ws://10.0.0.2:9001"),
        ("[fd00::2]:8080", "ws://[fd00::2]:9001/mqtt", "ws://*:9001"),
        ("hub; script-src *", "ws://127.0.0.1:9001/mqtt", "ws://127.0.0.1:9001"),
        ("a@b", "ws://b:9001/mqtt", "ws://b:9001"),
        ("[x]", "ws://127.0.0.1:9001/mqtt", "ws://127.0.0.1:9001"),
        ("'self'", "ws://127.0.0.1:9001/mqtt", "ws://127.0.0.1:9001"),
        ("", "ws://127.0.0.1:9001/mqtt", "ws://127.0.0.1:9001"),
    ],
)
def test_a_broker_on_this_machine_is_where_the_page_is(
    server: DashboardServer, host: str, broker: str, source: str
) -> None:
    answer, content = ask(server, "/fleet.json", Host=host)
    assert json.loads(content)["broker"] == broker
    assert policy(answer)["connect-src"] == ["'self'", source]
    assert policy(answer)["script-src"] == ["'self'"]


def test_a_broker_elsewhere_stays_there() -> None:
    server = DashboardServer("127.0.0.1", 0, FACTS._replace(websocket="wss://hub.local:9001/mqtt"))
    thread = threading.Thread(target=server.run)
    thread.start()
    _, content = ask(server, "/fleet.json", Host="10.0.0.2:8080")
    server.stop()
    thread.join()
    assert json.loads(content)["broker"] == "wss://hub.local:9001/mqtt"


def test_a_taken_port_is_named(server: DashboardServer) -> None:
    port = urlsplit(server.url).port or 0
    with pytest.raises(DevitError, match=rf"127\.0\.0\.1:{port}.*choose another --listen"):
        DashboardServer("127.0.0.1", port, FACTS)


def test_the_command_serves_until_it_is_told_to_end() -> None:
    command = [*own_program("devit_iot.cli.devit"), "dashboard", "--listen", "127.0.0.1:0"]
    arguments = ["--fleet", "barn", "--broker", "mqtts://hub.local", "--images", "in/{camera}"]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "wss://hub.local:9001/mqtt" in line
        connection = HTTPConnection(re.findall(r"http://(\S+)/", line)[0], timeout=20)
        connection.request("GET", "/fleet.json")
        facts = json.loads(connection.getresponse().read())
        connection.close()
        process.terminate()
        assert process.wait(20) == 0
    assert facts["fleet"] == "barn"
    assert facts["images"] == [{"pattern": "in/{camera}", "filter": "in/+"}]


def test_nothing_can_make_html_of_a_text() -> None:
    """The policy would stop it too; here it is seen without a browser."""
    sinks = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|srcdoc|"
        r"\beval\b|new Function|DOMParser|setHTML|javascript:|\.on[a-z]+\s*=[^=]"
    )
    scripts = [path for path in OWN if path.suffix == ".js"]
    assert len(scripts) > 10
    for path in scripts:
        assert re.findall(sinks, path.read_text()) == [], path


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere() -> None:
    text = (FOLDER / "index.html").read_text()
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", text) == []
    assert re.findall(r"<script(?![^>]* src=\"app/)", text) == []
    for path in OWN:
        addresses = re.findall(r"(?:https?:)?//[\w.-]+\.\w+/\S*", path.read_text())
        assert [a for a in addresses if "www.w3.org" not in a] == [], path


def test_no_file_of_ours_is_too_long() -> None:
    assert [p for p in OWN if len(p.read_text().splitlines()) > MAX_LINES] == []


def test_what_is_of_others_is_unchanged_and_has_its_licence() -> None:
    listed = re.findall(
        r"^([0-9a-f]{64})  (\S+)$", (VENDOR / "README.md").read_text(), re.MULTILINE
    )
    files = [p for p in VENDOR.rglob("*") if p.suffix in {".js", ".woff2"}]
    assert {name for _, name in listed} == {p.relative_to(VENDOR).as_posix() for p in files}
    for digest, name in listed:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name
        assert list((VENDOR / name).parent.glob("LICENSE*"))
