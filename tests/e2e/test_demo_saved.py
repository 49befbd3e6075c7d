"""What `devit demo --save` writes, for those who start a fleet by hand without a checkout."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from devit_iot.bundle.reading import Bundle
from devit_iot.cli.devit import main


def save(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["demo", "--save", *map(str, arguments)])
    return done.exit_code, done.output


def test_bundle_and_images_are_written(tmp_path: Path) -> None:
    code, said = save(tmp_path / "demo")
    assert code == 0, said
    assert len(Bundle(tmp_path / "demo" / "bundle").manifest.parts) == 4
    assert len(list((tmp_path / "demo" / "images").glob("*/*.png"))) == 100


def test_a_folder_of_images_is_copied(tmp_path: Path) -> None:
    (tmp_path / "data" / "fox").mkdir(parents=True)
    (tmp_path / "data" / "fox" / "1.png").write_bytes(b"png")
    assert save(tmp_path / "demo", "--data", tmp_path / "data")[0] == 0
    assert (tmp_path / "demo" / "images" / "fox" / "1.png").read_bytes() == b"png"


@pytest.mark.parametrize("there", ["folder", "file"])
def test_nothing_is_overwritten(there: str, tmp_path: Path) -> None:
    path = tmp_path / "demo"
    path.mkdir() if there == "folder" else path.write_text("mine")
    code, said = save(path)
    assert code == 1
    assert said == f"Error: --save {path} is there already: name a new folder\n"


@pytest.mark.parametrize(("option", "name"), [("--data", "no.zip"), ("--bundle", "nowhere")])
def test_what_is_missing_is_named(option: str, name: str, tmp_path: Path) -> None:
    code, said = save(tmp_path / "demo", option, tmp_path / name)
    assert code == 1
    assert said.startswith(f"Error: --save {tmp_path / 'demo'}: ")
    assert name in said
    assert "Traceback" not in said
