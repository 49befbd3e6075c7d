"""A plan as a TOML file, which the operator may edit."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from devit_iot.config.board_profile import assignments
from devit_iot.config.config import fraction
from devit_iot.config.struct_file import read_struct
from devit_iot.errors import ConfigError
from devit_iot.planning.plan import Plan

_HEAD = "# Who carries which part: docs/fleet.md says what each line means."


def write_plan(plan: Plan, path: Path) -> None:
    """Write ``plan`` so that :func:`read_plan` reads the same.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        path.write_text("\n".join([_HEAD, *_lines(plan)]) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write the plan {path}: {error}") from error


def read_plan(path: Path) -> Plan:
    """The plan in a file.

    Raises:
        ConfigError: it cannot be read or parsed, a key is unknown, a board stands twice, or a part
            has no board.
    """
    plan = read_struct(path, Plan, "plan")
    _check(plan, path)
    return plan


def _check(plan: Plan, path: Path) -> None:
    names = [board.name for board in plan.boards]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{path}: board '{name}' stands there twice")
    if any(not 0 <= board.part < plan.parts for board in plan.boards):
        raise ConfigError(f"{path}: a board has a part that is not 0 to {plan.parts - 1}")
    for part in range(plan.parts):
        replicas = sorted(
            fraction(board.replica, f"{path}: replica of '{board.name}'")
            for board in plan.boards
            if board.part == part
        )
        if replicas != [(index, len(replicas)) for index in range(len(replicas))] or not replicas:
            raise ConfigError(
                f"{path}: the boards of part {part} are not replicas 0/n to n-1/n of it"
            )


def _lines(plan: Plan) -> Iterator[str]:
    table = msgspec.to_builtins(plan)
    rows = {name: table.pop(name) for name in ("boards", "spares")}
    yield from assignments({key: value for key, value in table.items() if value is not None})
    for name, entries in rows.items():
        for entry in entries:
            yield from ("", f"[[{name}]]", *assignments(entry))
