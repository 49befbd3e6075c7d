"""The demo starts several services; a variable that is meant for one of them does not reach all."""

import pytest

from devit_iot.demo.processes import HOST, free_port
from tests.e2e.commands import command


@pytest.mark.slow
def test_a_port_for_metrics_in_the_environment_is_not_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DEVIT_METRICS", f"{HOST}:{free_port()}")
    done = command("devit", "demo", "--count", "2", "--rate", "2", "--json")
    assert done.returncode == 0, done.stderr
