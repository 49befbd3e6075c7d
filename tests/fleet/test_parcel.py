"""What a client is given survives the terminal, whatever its files and names hold."""

import io
import re
import tarfile
import tomllib
from base64 import b64decode

from hypothesis import given, settings
from hypothesis import strategies as st

from devit_iot.fleet.parcel import client_config, paste_line

FILES = st.dictionaries(
    st.from_regex(r"[a-z][a-z.]{0,20}", fullmatch=True), st.binary(max_size=300), max_size=4
)
TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=40)


@settings(max_examples=60, deadline=None)
@given(FILES)
def test_a_line_holds_its_files_and_nothing_for_the_shell(files: dict[str, bytes]) -> None:
    line = paste_line("devit", files)
    found = re.fullmatch(
        r" \(umask 077 && mkdir -p devit && echo ([A-Za-z0-9+/=]+) \| base64 -d "
        r"\| tar xzmf - -C devit\)",
        line,
    )
    assert found is not None
    with tarfile.open(fileobj=io.BytesIO(b64decode(found[1])), mode="r:gz") as archive:
        entries = archive.getmembers()
        assert all(entry.isfile() and entry.mode == 0o600 for entry in entries)
        unpacked = {entry.name: archive.extractfile(entry) for entry in entries}
        assert {name: file.read() for name, file in unpacked.items() if file} == files


@settings(max_examples=60, deadline=None)
@given(TEXT, TEXT, st.lists(TEXT, max_size=3), TEXT, TEXT, st.none() | st.integers(0, 255))
def test_a_configuration_says_what_it_was_told(
    fleet: str, url: str, images: list[str], trust: str, node: str, part: int | None
) -> None:
    text = client_config(fleet=fleet, url=url, images=images, trust=trust, node=node, part=part)
    config = tomllib.loads(text)
    assert (config["fleet"], config["broker"]["url"]) == (fleet, url)
    assert config.get("trust", "") == trust
    assert [entry["topic"] for entry in config.get("images", [])] == images
    of_node = {"name": node} if part is None else {"name": node, "part": part}
    assert config.get("node") == (of_node if node else None)
