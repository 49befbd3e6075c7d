"""The README is short, and leads to everything else."""

import re

from tests.support.documents import DOCUMENTS, ROOT

README = (ROOT / "README.md").read_text()
MAX_LINES = 80
"""Two screens."""

OF_A_PART = {"devit_iot/dashboard/vendor/README.md"}
"""Documents that another one leads to."""


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= MAX_LINES


def test_it_leads_to_every_document() -> None:
    linked = {target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", README)}
    documents = {path.relative_to(ROOT).as_posix() for path in DOCUMENTS}
    assert documents - OF_A_PART - {"README.md"} <= linked
