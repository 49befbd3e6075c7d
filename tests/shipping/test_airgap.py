"""Where no route leads anywhere: a fleet, its page and its doctor work, once they are installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from devit_iot.programs import own_program
from tests.shipping.clean import said
from tests.support.mosquitto import needs_mosquitto

ALONE = ("unshare", "--net", "bash", "-ec")
SCRIPT = """
ip link set lo up
test -z "$(ip route)"
test -z "$(ip -6 route show default)"
if {python} -c 'import socket; socket.create_connection(("192.0.2.1", 53), 2)' 2>/dev/null; then
  echo 'there is a way out'; exit 9
fi
"""
FLEET = """
mosquitto -p 1883 >broker.log 2>&1 &
{devit} demo --save demo
{node} start --broker mqtt://127.0.0.1 --bundle demo/bundle --part 0 --name pi-0 >node.log 2>&1 &
{aggregate} start --broker mqtt://127.0.0.1 --bundle demo/bundle >aggregate.log 2>&1 &
{devit} dashboard --broker mqtt://127.0.0.1 --listen 127.0.0.1:8080 >page.log 2>&1 &
trap 'kill $(jobs -p); wait' EXIT
for _ in $(seq 240); do
  {devit} camera demo/images --broker mqtt://127.0.0.1 --topic cameras/desk/image --count 1 \
    >camera.log 2>&1 || true
  grep -q desk aggregate.log && break
  sleep 0.5
done
{python} -c 'import urllib.request as r; print(r.urlopen("http://127.0.0.1:8080/").status)'
{devit} doctor --broker mqtt://127.0.0.1 --bundle demo/bundle --part 1 --name pi-1
grep desk aggregate.log
"""
"""Every program by its name, as on a board: the demo does not start them here."""


def _possible() -> bool:
    tools = all(shutil.which(tool) for tool in ("unshare", "ip"))
    return tools and subprocess.run([*ALONE, "ip link set lo up"], check=False).returncode == 0


pytestmark = [
    pytest.mark.slow,
    needs_mosquitto,
    pytest.mark.skipif(
        not _possible(), reason="no network namespaces: needs root, util-linux and iproute2"
    ),
]


def test_a_fleet_works_without_any_route(tmp_path: Path) -> None:
    programs = {
        "python": sys.executable,
        "devit": " ".join(own_program("devit_iot.cli.devit")),
        "node": " ".join(own_program("devit_iot.cli.node")),
        "aggregate": " ".join(own_program("devit_iot.cli.aggregate")),
    }
    script = (SCRIPT + FLEET).format_map(programs)
    lines = said(*ALONE, script, cwd=tmp_path).splitlines()
    assert "200" in lines
    assert any("desk" in line for line in lines)


def test_a_way_out_would_be_found(tmp_path: Path) -> None:
    way = SCRIPT.replace("ip link set lo up", "ip link set lo up; ip route add 192.0.2.0/24 dev lo")
    done = subprocess.run([*ALONE, way.format(python=sys.executable)], cwd=tmp_path, check=False)
    assert done.returncode != 0
