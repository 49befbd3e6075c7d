"""A broker for trying things out, where mosquitto is not installed: amqtt, MQTT 3.1.1 only."""

import asyncio
import logging
import signal

from devit_iot.errors import BrokerError


def run_embedded_broker(host: str, port: int, websocket_port: int | None = None) -> None:
    """Serve until SIGTERM or SIGINT. No persistence, no authentication: not for production.

    Args:
        host: address to listen on.
        port: port for MQTT.
        websocket_port: port for MQTT in WebSockets, which browsers speak; None: no such port.

    Raises:
        BrokerError: amqtt is not installed, or the address cannot be listened on.
    """
    try:
        from amqtt.broker import Broker
        from amqtt.errors import AMQTTError
        from amqtt.errors import BrokerError as StartError
    except ImportError as error:
        raise BrokerError(
            "no broker: install mosquitto, or the embedded one by pip install 'devit-iot[demo]'"
        ) from error
    logging.getLogger("amqtt").setLevel(logging.CRITICAL)  # its errors are tracebacks
    logging.getLogger("transitions").setLevel(logging.ERROR)
    listeners = {"default": {"type": "tcp", "bind": f"{host}:{port}"}}
    if websocket_port is not None:
        listeners["browsers"] = {"type": "ws", "bind": f"{host}:{websocket_port}"}
    config = {
        "listeners": listeners,
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
    except (AMQTTError, StartError, OSError) as error:
        raise BrokerError(f"the embedded broker cannot serve {host}:{port}: {error}") from error
