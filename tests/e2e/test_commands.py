"""The commands as a person runs them: results, and one-line errors that say what to do."""

import json
import shutil
import socket
import subprocess
import zipfile
from pathlib import Path

import pytest

from devit_iot.demo.processes import FleetProcesses, free_port
from tests.e2e.commands import assert_one_line_error, command
from tests.e2e.conftest import DEMO
from tests.support.fleets import huge_jpeg, wait_until


@pytest.fixture
def images(tmp_path: Path) -> Path:
    with zipfile.ZipFile(DEMO / "images.zip") as archive:
        for name in archive.namelist()[::8]:
            archive.extract(name, tmp_path / "images")
    return tmp_path / "images"


def test_classify_prints_a_json_line_per_image(images: Path) -> None:
    files = sorted(images.rglob("*.png"))
    done = command("devit", "classify", DEMO / "bundle", *files, "--json")
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["file"] for result in results] == [str(file) for file in files]
    right = sum(result["label"] == Path(result["file"]).parent.name for result in results)
    assert right >= 0.5 * len(files)
    for result in results:
        assert set(result) == {"file", "label", "class_index", "confidence", "top5"}
        assert len(result["top5"]) == 5
        assert result["top5"][0]["label"] == result["label"]
        assert 0 < sum(entry["confidence"] for entry in result["top5"]) <= 1.000001


def test_classify_goes_on_after_a_bad_image(images: Path) -> None:
    bad = images / "bad.jpg"
    bad.write_bytes(huge_jpeg())
    good = min(images.rglob("*.png"))
    done = command("devit", "classify", DEMO / "bundle", bad, images / "absent.png", good)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    assert len(done.stderr.splitlines()) == 2
    assert "20000x20000" in done.stderr


def test_engines_agree(images: Path) -> None:
    file = min(images.rglob("*.png"))
    outputs = [
        json.loads(command("devit", "classify", DEMO / "bundle", file, *options, "--json").stdout)
        for options in (["--engine", "native", "--dtype", "float32"], ["--engine", "torch"])
    ]
    assert outputs[0]["label"] == outputs[1]["label"]
    assert outputs[0]["confidence"] == pytest.approx(outputs[1]["confidence"], abs=1e-5)


def test_evaluate_a_tree_and_a_zip(images: Path) -> None:
    tree = command("devit", "evaluate", DEMO / "bundle", "--data", images, "--json")
    assert json.loads(tree.stdout)["images"] == 13
    whole = command("devit", "evaluate", DEMO / "bundle", "--data", DEMO / "images.zip", "--json")
    result = json.loads(whole.stdout)
    assert result["images"] == 100
    assert result["top5"] >= result["top1"] >= 0.6


def test_evaluate_names_a_folder_that_is_no_class(images: Path) -> None:
    min(images.iterdir()).rename(images / "zebra crossing")
    done = command("devit", "evaluate", DEMO / "bundle", "--data", images)
    assert_one_line_error(done, "'zebra crossing'", "class")


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text('[broker]\nusrname = "pi"\n')
    done = command("node", "start", "--config", file, "--bundle", DEMO / "bundle")
    assert_one_line_error(done, "usrname", "broker.username")


CANNOT_START: list[tuple[list[str | Path], list[str]]] = [
    (["--bundle", "nowhere"], ["nowhere", "not a bundle"]),
    ([], ["--bundle"]),
    (["--bundle", DEMO / "bundle", "--part", "4"], ["0 to 3"]),
    (["--bundle", DEMO / "bundle", "--engine", "onnx"], ["native", "torch"]),
    (["--bundle", DEMO / "bundle", "--isa", "sse9"], ["sse9", "scalar"]),
    (["--bundle", DEMO / "bundle", "--broker", "http://hub"], ["mqtt://"]),
    (["--bundle", DEMO / "bundle", "--broker", "mqtt://a:b@hub"], ["password"]),
    (["--bundle", DEMO / "bundle", "--replica", "2/2"], ["replica"]),
    (["--bundle", DEMO / "bundle", "--board", "pi9"], ["pi5"]),
    (["--bundle", DEMO / "bundle", "--name", "a/b"], ["name"]),
    (["--bundle", DEMO / "bundle", "--password-file", "nowhere"], ["password_file"]),
    (["--bundle", DEMO / "bundle", "--metrics", "9464"], ["[host]:port"]),
    (["--bundle", DEMO / "bundle", "--metrics", "256.0.0.1:9464"], ["cannot serve metrics"]),
]


@pytest.mark.parametrize(
    ("arguments", "words"), CANNOT_START, ids=["-".join(map(str, a[-2:])) for a, _ in CANNOT_START]
)
def test_a_node_that_cannot_start_says_why(arguments: list[str | Path], words: list[str]) -> None:
    assert_one_line_error(command("node", "start", *arguments), *words)


def test_a_tampered_bundle_is_refused(tmp_path: Path) -> None:
    shutil.copytree(DEMO / "bundle", tmp_path / "bundle")
    weights = tmp_path / "bundle" / "part-0.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    done = command("node", "start", "--bundle", tmp_path / "bundle")
    assert_one_line_error(done, "part-0.safetensors", "copy the bundle again")
    weights.unlink()
    done = command("node", "start", "--bundle", tmp_path / "bundle")
    assert_one_line_error(done, "part-0.safetensors", "missing")


def test_a_wrong_password_ends_it_and_a_right_one_does_not(tmp_path: Path) -> None:
    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("mosquitto is not on PATH: install it to test passwords")
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "pi", "secret"], check=True)
    passwords.chmod(0o644)
    port = free_port()
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\npassword_file {passwords}\nuser root\n")
    options: list[str | Path] = [
        "start",
        "--bundle",
        DEMO / "bundle",
        "--broker",
        f"mqtt://127.0.0.1:{port}",
    ]
    with subprocess.Popen(["mosquitto", "-c", config], stderr=subprocess.DEVNULL) as broker:
        try:
            wait_until(lambda: _try_connect(port))
            done = command(
                "node", *options, "--username", "pi", environment={"DEVIT_PASSWORD": "wrong"}
            )
            assert_one_line_error(done, "refused us", "password")
            secret = tmp_path / "secret"
            secret.write_text("secret\n")
            with FleetProcesses(tmp_path, bundle=DEMO / "bundle", fleet="t") as processes:
                processes.port = port
                processes.start_node(0, "--username", "pi", "--password-file", str(secret))
                wait_until(lambda: "connected" in processes.log("node-0"))
        finally:
            broker.terminate()


def test_an_unreachable_broker_is_tried_again(tmp_path: Path) -> None:
    with FleetProcesses(tmp_path, bundle=DEMO / "bundle", fleet="t") as processes:
        processes.start_node(0, "--log-format", "json")
        wait_until(lambda: processes.log("node-0").count("unreachable") >= 2)
        processes.check()  # still running
        line = json.loads(processes.log("node-0").splitlines()[1])
        assert line["level"] == "warning"
        assert processes.terminate("node-0") == 0


def _try_connect(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_broker_whose_port_is_taken_says_so_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = command("devit", "broker", "--port", str(taken.getsockname()[1]))
    assert_one_line_error(done, "cannot serve 127.0.0.1:", "address already in use")
    assert len(done.stderr.splitlines()) == 1
