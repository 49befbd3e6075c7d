"""A broker for trying things out, where mosquitto is not installed: amqtt, MQTT 3.1.1 only."""

import asyncio
import logging
import signal

from devit_iot.errors import BrokerError


def run_embedded_broker(host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT. No persistence, no authentication: not for production.

    Raises:
        BrokerError: amqtt is not installed, or the address cannot be listened on.
    """
    try:
        from amqtt.broker import Broker
        from amqtt.errors import AMQTTError
    except ImportError as error:
        raise BrokerError(
            "no broker: install mosquitto, or the embedded one by pip install 'devit-iot[demo]'"
        ) from error
    logging.getLogger("amqtt").setLevel(logging.ERROR)
    logging.getLogger("transitions").setLevel(logging.ERROR)
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }

    async def serve() -> None:
        broker = Broker(config)
        await broker.start()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await stop.wait()
        await broker.shutdown()

    try:
        asyncio.run(serve())
    except (AMQTTError, OSError) as error:
        raise BrokerError(f"the embedded broker cannot serve {host}:{port}: {error}") from error
