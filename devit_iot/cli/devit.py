"""``devit``: everything that is not a service on a board."""

import click

from devit_iot import __version__
from devit_iot.cli.bench import bench
from devit_iot.cli.broker import acl, broker
from devit_iot.cli.bundle import bundle
from devit_iot.cli.camera import camera
from devit_iot.cli.capacity import capacity_
from devit_iot.cli.classify import classify
from devit_iot.cli.collect import collect
from devit_iot.cli.dashboard import dashboard
from devit_iot.cli.decompose import decompose
from devit_iot.cli.demo import demo
from devit_iot.cli.doctor import doctor
from devit_iot.cli.evaluate import evaluate
from devit_iot.cli.fleet import fleet
from devit_iot.cli.forget import forget
from devit_iot.cli.head import head
from devit_iot.cli.homeassistant import homeassistant
from devit_iot.cli.hub import hub
from devit_iot.cli.labels import labels
from devit_iot.cli.plan import plan
from devit_iot.cli.teach import teach_
from devit_iot.cli.top import top
from devit_iot.cli.upper import upper


@click.group()
@click.version_option(__version__)
def main() -> None:
    """Decompose a large Vision Transformer and run its parts together over MQTT."""


COMMANDS = (
    acl,
    bench,
    broker,
    bundle,
    camera,
    capacity_,
    classify,
    collect,
    dashboard,
    decompose,
    demo,
    doctor,
    evaluate,
    fleet,
    forget,
    head,
    homeassistant,
    hub,
    labels,
    plan,
    teach_,
    top,
    upper,
)

for command in COMMANDS:
    main.add_command(command)

if __name__ == "__main__":
    main()
