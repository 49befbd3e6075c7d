"""The add-on's program: aggregator, page and hub, told what Home Assistant's options say.

It ends when one of them ends, so that the Supervisor sees it and starts all again.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

OPTIONS = Path(os.environ.get("ADDON_OPTIONS", "/data/options.json"))
DATA = Path(os.environ.get("ADDON_DATA", "/data"))
SUPERVISOR = os.environ.get("ADDON_SUPERVISOR", "http://supervisor")
USER = 10001
"""The programs' user: root is for reading the options only."""

_WAIT_S = 10.0


def mqtt_service(token: str) -> Mapping[str, Any]:
    """Address, name and password of Mosquitto's add-on, from the Supervisor.

    Raises:
        SystemExit: there is no such add-on, or the Supervisor does not answer.
    """
    request = urllib.request.Request(
        f"{SUPERVISOR}/services/mqtt", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_WAIT_S) as answer:
            data: Mapping[str, Any] = json.load(answer)["data"]
            return data
    except (OSError, ValueError, KeyError) as error:
        sys.exit(
            f"no broker: install the add-on Mosquitto broker, or set the option broker ({error})"
        )


def environment(options: Mapping[str, Any], token: str) -> dict[str, str]:
    """The variables of all programs, made of the add-on's options."""
    if options.get("broker"):
        broker = options["broker"]
        username, password = options.get("username", ""), options.get("password", "")
    else:
        service = mqtt_service(token)
        scheme = "mqtts" if service.get("ssl") else "mqtt"
        broker = f"{scheme}://{service['host']}:{service['port']}"
        username, password = service.get("username", ""), service.get("password", "")
    found = {
        "DEVIT_BROKER": broker,
        "DEVIT_FLEET": options["fleet"],
        "DEVIT_USERNAME": username,
        "DEVIT_PASSWORD": password,
    }
    if options["hub"]:
        found["DEVIT_STORE"] = str(DATA / "devit" / "aggregate")
    else:
        found["DEVIT_BUNDLE"] = options["bundle"] or demo_bundle()
    return {name: value for name, value in found.items() if value}


def demo_bundle() -> str:
    """The bundle that the package brings."""
    import devit_iot

    return str(Path(devit_iot.__file__).parent / "demo" / "bundle")


def commands(options: Mapping[str, Any]) -> list[list[str]]:
    """The programs, with what only one of them is told."""
    websocket = options.get("websocket") or "ws://localhost:1884"
    found = [
        ["devit-aggregate", "start"],
        ["devit", "dashboard", "--listen", "0.0.0.0:8099", "--websocket", websocket],
    ]
    if options["hub"]:
        folder = str(DATA / "devit" / "hub")
        found.append(
            ["devit", "hub", "--hub-folder", folder, "--hub-listen", ":8484",
             "--hub-url", options["hub_url"]]
        )  # fmt: skip
    return found


def own_folder() -> Path:
    """The folder of stores and releases, which the programs' user owns."""
    folder = DATA / "devit"
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        shutil.chown(folder, USER, USER)
    return folder


def run(programs: list[list[str]], variables: Mapping[str, str]) -> int:
    """Run the programs until one ends or SIGTERM comes; return the exit code."""
    rights = {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}
    running = {}
    for command in programs:
        process = subprocess.Popen(command, env={**os.environ, **variables}, **rights)  # type: ignore[call-overload]
        running[process.pid] = process

    def stop(*_: object) -> None:
        for process in running.values():
            process.terminate()

    signal.signal(signal.SIGTERM, stop)
    ended, status = os.wait()
    code = os.waitstatus_to_exitcode(status)
    print(f"{' '.join(running.pop(ended).args)} ended with code {code}", flush=True)
    stop()
    for process in running.values():
        process.wait()
    return max(code, 0) if code != -signal.SIGKILL else 1


def main() -> None:
    """Read the options and run what they ask for."""
    options = json.loads(OPTIONS.read_text(encoding="utf-8"))
    variables = environment(options, os.environ.get("SUPERVISOR_TOKEN", ""))
    own_folder()
    sys.exit(run(commands(options), variables))


if __name__ == "__main__":
    main()
