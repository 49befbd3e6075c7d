"""Options of the services: each is a flag, a DEVIT_* variable and a key of the TOML file.

The tables of docs/configuration.md are made from here and config.py.
"""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast, get_args

import click

from devit_iot.bundle.storage import Dtype
from devit_iot.cli.number import Number
from devit_iot.cli.old_options import variables
from devit_iot.config.camera_apps import PRESETS, preset_filters
from devit_iot.config.config import Config, load_config
from devit_iot.engine.base import ENGINES
from devit_iot.errors import ConfigError
from devit_iot.protocol.topics import DEFAULT_IMAGE_FILTERS

Function = TypeVar("Function", bound=Callable[..., Any])

_REPEATED = ("images", "camera_apps")
_MAX_WATTS = 10_000
_PACKAGE = Path(__file__).resolve().parent.parent


class Setting(NamedTuple):
    """One option: ``key`` is its place in the file; the variable is DEVIT_ plus the flag."""

    flag: str
    key: str
    kind: Any
    help: str

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "DEVIT_" + self.flag.removeprefix("--").upper().replace("-", "_")


CLIENT = (
    Setting("--broker", "broker.url", str, "mqtt://host[:port], or mqtts:// for TLS."),
    Setting("--username", "broker.username", str, "User name at the broker."),
    Setting("--password-file", "broker.password_file", str, "File with the password."),
    Setting("--ca-file", "broker.ca_file", str, "Certificate authority of an mqtts broker."),
    Setting("--cert-file", "broker.cert_file", str, "Our certificate, if the broker wants one."),
    Setting("--key-file", "broker.key_file", str, "Its private key."),
    Setting("--log-format", "log.format", click.Choice(["human", "json"]), "Form of the log."),
    Setting(
        "--log-level", "log.level", click.Choice(["debug", "info", "warning", "error"]), "Detail."
    ),
)
FLEET_NAME = (Setting("--fleet", "fleet", str, "The fleet's name."),)
CELLS = (Setting("--cells", "cells", bool, "Is the broker an upper one, of many cells?"),)
TRUST = (Setting("--trust", "trust", str, "Public key that must have signed the bundle."),)
FLEET = (
    *FLEET_NAME,
    Setting("--bundle", "bundle", str, "Folder of the fleet bundle."),
    Setting("--store", "store", str, "Folder for bundles from the fleet's hub, instead."),
    *TRUST,
    Setting("--shards", "shards", int, "Number of aggregators that share the requests."),
    Setting("--metrics", "metrics", str, "[host]:port for Prometheus and health checks."),
)
NODE = (
    Setting("--name", "node.name", str, "Unique name of this node; default: the host's."),
    Setting("--part", "node.part", int, "Index of the part to run."),
    Setting("--replica", "node.replica", str, "auto, or i/n: the i-th of n nodes with this part."),
    Setting("--engine", "node.engine", str, "native, tflite, or torch."),
    Setting("--isa", "node.isa", str, "Instruction set to force, for instance scalar."),
    Setting(
        "--dtype",
        "node.dtype",
        click.Choice(get_args(Dtype)),
        "To compute in; default: what the part is stored in.",
    ),
    Setting("--threads", "node.threads", int, "CPU threads of one inference; 0: all."),
    Setting("--profile", "node.profile", str, "What devit bench --profile wrote, to announce."),
    Setting("--images", "images", str, "Image topics, may be repeated (variable: by spaces)."),
    Setting(
        "--camera-app",
        "camera_apps",
        click.Choice(list(PRESETS)),
        "Camera app by name, may be repeated (variable: by spaces).",
    ),
)
_TOKEN = Setting("--token-file", "hub.token_file", str, "File with the token of commands.")
HUB_CLIENT = (
    Setting("--hub-url", "hub.url", str, "Where the hub serves files."),
    Setting("--hub-folder", "hub.folder", str, "Folder of the hub's releases and state."),
    _TOKEN,
)
JOIN_CLIENT = (
    Setting("--hub-join-url", "hub.join_url", str, "Where boards join that are new."),
    _TOKEN,
)
HUB = (
    *HUB_CLIENT,
    Setting("--hub-listen", "hub.listen", str, "[host]:port to serve files on."),
    Setting("--hub-join-listen", "hub.join_listen", str, "[host]:port to let boards join on."),
    Setting("--hub-cert-file", "hub.cert_file", str, "The hub's certificate as a server."),
    Setting("--hub-key-file", "hub.key_file", str, "Its private key."),
    Setting("--hub-crl-file", "hub.crl_file", str, "List of revoked certificates."),
)
AGGREGATOR = (
    Setting("--shard", "aggregator.shard", int, "Which of the shards to serve."),
    Setting("--deadline", "aggregator.deadline_s", float, "Seconds to wait for missing parts."),
)
COLLECT = (
    Setting("--collect-folder", "collect.folder", str, "Where pictures are kept."),
    Setting("--collect-key", "collect.key", str, "Private key that signs taught heads."),
)
DISCOVERY = (
    Setting("--discovery-prefix", "homeassistant.prefix", str, "Where Home Assistant looks."),
)
HOME_ASSISTANT = (
    Setting("--homeassistant", "homeassistant.enabled", bool, "Announce the fleet to it?"),
    *DISCOVERY,
)


def engine_option(function: Function) -> Function:
    """Add ``--engine`` to a command without a configuration."""
    return click.option(
        "--engine",
        type=click.Choice(sorted(ENGINES)),
        default="native",
        show_default=True,
        help="What computes the parts.",
    )(function)


def threads_option(function: Function) -> Function:
    """Add ``--threads`` to a command without a configuration."""
    return click.option(
        "--threads",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Of the engine; 0 for all CPUs.",
    )(function)


def dtype_option(function: Function) -> Function:
    """Add ``--dtype`` to a command without a configuration."""
    return click.option(
        "--dtype",
        type=click.Choice(get_args(Dtype)),
        help="What to compute in; default: what parts are stored in.",
    )(function)


def watts_option(function: Function) -> Function:
    """Add ``--watts`` to a command that says joules."""
    return click.option(
        "--watts",
        type=Number(0, _MAX_WATTS),
        default=0.0,
        help="What the machine takes while it computes, if it has no energy meter of its own.",
    )(function)


def image_options(function: Function) -> Function:
    """Add ``--images`` and ``--camera-app``; the command gets the filters of both as ``images``."""

    @functools.wraps(function)
    def wrapper(
        *, images: tuple[str, ...], camera_apps: tuple[str, ...], **values: object
    ) -> object:
        chosen = tuple(dict.fromkeys((*preset_filters(camera_apps), *images)))
        return function(images=chosen or DEFAULT_IMAGE_FILTERS, **values)

    for flag, name, kind, text in (
        ("--camera-app", "camera_apps", click.Choice(list(PRESETS)), "Camera app by name; repeat."),
        ("--images", "images", str, "Image topics; repeat. Default: a node's."),
    ):
        wrapper = click.option(flag, name, type=kind, multiple=True, help=text)(wrapper)
    return cast("Function", wrapper)


def settings(*groups: tuple[Setting, ...]) -> Callable[[Function], Function]:
    """Add the options of ``groups``, and ``--config``, to a command."""

    def decorate(function: Function) -> Function:
        for setting in reversed([setting for group in groups for setting in group]):
            function = click.option(
                setting.flag,
                setting.key.replace(".", "__"),
                type=setting.kind,
                multiple=setting.key in _REPEATED,
                envvar=variables(setting.variable),
                help=setting.help,
            )(function)
        return click.option(
            "--config",
            "config_file",
            type=click.Path(dir_okay=False, path_type=Path),
            envvar="DEVIT_CONFIG",
            help="TOML file; options and DEVIT_* variables win over it.",
        )(function)

    return decorate


def configuration(
    config_file: Path | None, values: Mapping[str, object], *, board: str | None = None
) -> Config:
    """The configuration of one process: board, file, variables and options, the last one wins."""
    files = [] if board is None else [board_file(board)]
    files += [] if config_file is None else [config_file]
    overrides = {name.replace("__", "."): value for name, value in values.items()}
    overrides["camera_apps"] = overrides.get("camera_apps") or None  # an empty tuple: not given
    patterns = overrides.pop("images", None)
    if isinstance(patterns, tuple) and patterns:
        overrides["images"] = [{"topic": pattern} for pattern in patterns]
    return load_config(files, overrides)


def shipped_files(folder: str = "") -> dict[str, Path]:
    """Board -> its shipped file in ``firmware_configs`` or a folder of it."""
    homes = (_PACKAGE / "boards", _PACKAGE.parent / "firmware_configs")
    return {path.stem: path for home in homes for path in sorted((home / folder).glob("*.toml"))}


def board_file(board: str) -> Path:
    """The shipped configuration of a board, ``firmware_configs/<board>.toml``."""
    known = shipped_files()
    if board not in known:
        raise ConfigError(f"no board '{board}'; there are: {', '.join(sorted(known))}")
    return known[board]
