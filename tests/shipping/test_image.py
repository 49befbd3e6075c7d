"""The images of the Containerfile: small, without rights, and a label from them."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from devit_iot.demo.processes import FleetProcesses, free_port
from tests.e2e.watching import known_images, watching
from tests.shipping.clean import download
from tests.shipping.conftest import PYTHON
from tests.shipping.image import BUILD, MISSING, SUITE, Image, import_base
from tests.support.fleets import wait_until
from tests.support.mosquitto import needs_mosquitto

EXTRAS = "devit-iot[demo,fleet,hub,metrics,signed]"
MIB = 2**20
LARGEST = {"node": 330 * MIB, "hub": 370 * MIB}
START_S = 120.0

pytestmark = [
    pytest.mark.slow,
    needs_mosquitto,
    pytest.mark.skipif(bool(MISSING), reason=f"no image is built without {', '.join(MISSING)}"),
    pytest.mark.skipif(not SUITE, reason=f"no Debian has Python {PYTHON}: no base for the image"),
    pytest.mark.skipif(os.geteuid() != 0, reason="chroot and mounts need root"),
]


def healthy(image: Image, variables: list[str]) -> bool:
    """What the health check of the image says."""
    try:
        image.health(variables)
    except AssertionError as error:
        if "503" in str(error):
            return False
        raise
    return True


@pytest.fixture(scope="module")
def images(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Image]]:
    """Both images, in a store that is thrown away afterwards."""
    context = tmp_path_factory.mktemp("context")
    download(EXTRAS, dist, context / "dist")
    for folder in ("store", "run"):
        shutil.rmtree(BUILD / folder, ignore_errors=True)
    import_base()
    yield {target: Image(target, context) for target in LARGEST}
    for folder in ("store", "run"):
        shutil.rmtree(BUILD / folder, ignore_errors=True)


@pytest.mark.parametrize("target", LARGEST)
def test_it_is_small_and_without_rights(images: dict[str, Image], target: str) -> None:
    image = images[target]
    print(f"{target}: {image.size / MIB:.0f} MiB")  # noqa: T201 - a figure of docs/containers.md
    assert image.size < LARGEST[target]
    assert image.config["User"] == "10001:10001"
    assert image.run("id", "-u").strip() == "10001"
    with pytest.raises(AssertionError, match="Read-only file system"):
        image.run("touch", "/opt/devit/x")
    with pytest.raises(AssertionError, match=r"not found|No such file"):
        image.run("g++", "--version")


def test_its_defaults_start_a_node_and_an_aggregator(images: dict[str, Image]) -> None:
    assert images["node"].config["Cmd"] == ["devit-node", "start"]
    assert images["hub"].config["Cmd"] == ["devit-aggregate", "start"]
    for image in images.values():
        program, _ = image.config["Cmd"]
        assert "version" in image.run(program, "--version")
        assert image.run("ls", "/opt/devit/bundle/manifest.json")


def test_nodes_and_aggregator_of_the_images_make_a_label(
    images: dict[str, Image], tmp_path: Path
) -> None:
    known = known_images()[0]
    port = free_port()
    variables = [f"DEVIT_METRICS=127.0.0.1:{port}"]
    names = {f"node-{part}": images["node"].wrapper() for part in range(4)}
    names["aggregator"] = images["hub"].wrapper()
    bundle = Path("/opt/devit/bundle")
    python = "/opt/devit/bin/python"
    with FleetProcesses(tmp_path, bundle=bundle, fleet="test", wrappers=names) as processes:
        processes.start_broker("mosquitto")
        with watching(processes.url) as viewer:
            processes.start_node(0, "--metrics", f"127.0.0.1:{port}", python=python)
            for part in range(1, 4):
                processes.start_node(part, python=python)
            processes.start_aggregator("--deadline", "10", python=python)

            def ready() -> bool:
                processes.check()
                return len(viewer.online) == 5

            wait_until(ready, START_S)
            viewer.show("porch", known.payload)
            wait_until(lambda: "porch" in viewer.labels, START_S)
        label = viewer.labels["porch"]
        assert (label.label, label.parts_used) == (known.class_name, (0, 1, 2, 3))
        assert healthy(images["node"], variables)
        processes.kill("broker")
        wait_until(lambda: not healthy(images["node"], variables), START_S)


def test_the_hubs_image_runs_the_demo(images: dict[str, Image]) -> None:
    said = images["hub"].run("devit", "demo", "--count", "6", "--rate", "2", "--json")
    result = json.loads(said.splitlines()[-1])
    assert (result["labels"], result["degraded"]) == (6, 0)
