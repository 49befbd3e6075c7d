"""A signed bundle is the signer's, to the last byte, or it is refused in one line."""

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from devit_iot.build import build_node
from devit_iot.build_aggregator import build_aggregator
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.signature import SIGNATURE, check_trust, new_key, sign, verify
from devit_iot.cli.devit import main
from devit_iot.config.config import load_config
from devit_iot.errors import BundleError, ConfigError
from tests.support.fleets import make_bundle

# RFC 8032, section 7.1, test 2
PUBLIC = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
SIGNED_72 = (
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("signature") / "bundle").path


@pytest.fixture
def tiny(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "bundle"))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["bundle", *map(str, arguments)])


def signed(folder: Path, key: Path) -> str:
    """Sign with a new key; the public key."""
    made = run("keygen", key)
    assert made.exit_code == 0, made.output
    result = run("sign", folder, "--key", key)
    assert result.exit_code == 0, result.output
    assert result.output == made.output
    return result.output.strip()


def test_the_published_test_vector() -> None:
    assert verify(PUBLIC, b"\x72", bytes.fromhex(SIGNED_72))
    assert not verify(PUBLIC, b"\x73", bytes.fromhex(SIGNED_72))


def test_a_signed_bundle_opens(tiny: Path, tmp_path: Path) -> None:
    public = signed(tiny, tmp_path / "key")
    Bundle(tiny, trust=public).verify()
    Bundle(tiny).verify()
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert run("verify", tiny, "--trust", public).exit_code == 0


def flip(file: str, position: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        data = bytearray((folder / file).read_bytes())
        data[position] ^= 1
        (folder / file).write_bytes(data)

    return change


def rename(folder: Path) -> None:
    """What the fingerprint does not cover, the signature does."""
    fields = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(fields | {"name": "other"}))


def respell(folder: Path) -> None:
    fields = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(fields))


def other_signature(folder: Path) -> None:
    by_other, _ = sign(new_key(), (folder / "manifest.json").read_bytes())
    (folder / SIGNATURE).write_bytes(by_other)


def resign(edit: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / SIGNATURE).write_bytes(edit((folder / SIGNATURE).read_bytes()))

    return change


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "manifest": (flip("manifest.json", 40), "no signature"),
    "name": (rename, "no signature"),
    "spelling": (respell, "no signature"),
    "signature": (flip(SIGNATURE, 5), "no signature"),
    "longer": (resign(lambda signature: signature + b"\0"), "no signature"),
    "empty": (resign(lambda _: b""), "no signature"),
    "missing": (lambda folder: (folder / SIGNATURE).unlink(), "is not signed"),
    "other key": (other_signature, "no signature"),
    "weights": (flip("part-0.safetensors", -1), "not the file that the manifest names"),
    "fusion": (flip("fusion.safetensors", -1), "not the file that the manifest names"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_refused_in_one_line(tiny: Path, tmp_path: Path, what: str) -> None:
    change, problem = CHANGES[what]
    public = signed(tiny, tmp_path / "key")
    change(tiny)
    result = run("verify", tiny, "--trust", public)
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert problem in result.output


@pytest.mark.parametrize("build", [build_node, build_aggregator])
def test_a_service_refuses_what_it_cannot_trust(
    tiny: Path, tmp_path: Path, build: Callable[..., object]
) -> None:
    public = signed(tiny, tmp_path / "key")
    build(load_config([], {"bundle": str(tiny), "trust": public}), {})
    rename(tiny)
    build(load_config([], {"bundle": str(tiny)}), {})
    with pytest.raises(BundleError, match="no signature"):
        build(load_config([], {"bundle": str(tiny), "trust": public}), {})


def test_a_file_that_no_signature_covers_is_not_used(tiny: Path, tmp_path: Path) -> None:
    public = signed(tiny, tmp_path / "key")
    values = {"bundle": str(tiny), "trust": public, "node.engine": "tflite"}
    with pytest.raises(ConfigError, match="signature covers no"):
        build_node(load_config([], values), {})


@pytest.mark.parametrize("key", ["x", PUBLIC[:-1], PUBLIC + "0", PUBLIC.upper(), PUBLIC + "\n"])
def test_what_is_no_public_key(key: str) -> None:
    with pytest.raises(ConfigError, match="no public key"):
        check_trust(key)
    with pytest.raises(ConfigError, match="no public key"):
        load_config([], {"trust": key})


def test_what_is_no_private_key(tiny: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    plain, locked = serialization.NoEncryption(), serialization.BestAvailableEncryption(b"word")
    # An algorithm that nobody knows; Ed448, whose keys are longer.
    unknown, short = (
        b"-----BEGIN PRIVATE KEY-----\n"
        + base64.b64encode(bytes.fromhex(f"302e0201003005{name}04220420") + bytes(range(32)))
        + b"\n-----END PRIVATE KEY-----\n"
        for name in ("0603276570", "06032b6571")
    )
    edwards, other = ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())
    kinds = (
        ("no private key", b"nonsense"),
        ("no private key", unknown),
        ("no private key", short),
        ("without a password", edwards.private_bytes(pem, pkcs8, locked)),
        ("no Ed25519", other.private_bytes(pem, pkcs8, plain)),
    )
    for problem, content in kinds:
        (tmp_path / "key").write_bytes(content)
        result = run("sign", tiny, "--key", tmp_path / "key")
        assert (result.exit_code, result.output.count("\n")) == (1, 1)
        assert problem in result.output
        assert not (tiny / SIGNATURE).exists()


def test_keygen_replaces_no_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("precious")
    result = run("keygen", tmp_path / "key")
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert (tmp_path / "key").read_text() == "precious"


def test_a_damaged_bundle_is_not_signed(tiny: Path, tmp_path: Path) -> None:
    run("keygen", tmp_path / "key")
    flip("part-1.safetensors", -1)(tiny)
    assert run("sign", tiny, "--key", tmp_path / "key").exit_code == 1
    assert not (tiny / SIGNATURE).exists()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_finds_the_same(tiny: Path, tmp_path: Path) -> None:
    """A device in another language can check a signature too."""
    signed(tiny, tmp_path / "key")
    key, public = str(tmp_path / "key"), str(tmp_path / "public")
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True)
    check = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin"]
    check += ["-in", str(tiny / "manifest.json"), "-sigfile", str(tiny / SIGNATURE)]
    done = subprocess.run(check, check=True, capture_output=True, text=True)
    assert "Verified Successfully" in done.stdout


def test_without_the_library_a_service_refuses_in_one_line(tiny: Path) -> None:
    """A service without ``trust`` does not need the library."""
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from devit_iot.bundle.reading import Bundle; from pathlib import Path\n"
        "from devit_iot.errors import BundleError\n"
        f"folder = Path({str(tiny)!r}); Bundle(folder).verify()\n"
        f"(folder / {SIGNATURE!r}).write_bytes(bytes(64))\n"
        f"try: Bundle(folder, trust={PUBLIC!r})\n"
        "except BundleError as error: print(error)"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join([root, *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "signatures need cryptography: pip install 'devit-iot[signed]'\n"
