"""Whether the broker has a WebSocket listener, which a page in a browser needs."""

import base64
import secrets
import socket

from devit_iot.doctor.finding import Finding, ok, warn

PORTS = (9001, 8083, 8080, 8000, 15675)
"""As mosquitto's documents, EMQX, other brokers, HiveMQ and RabbitMQ have them."""

_PATHS = ("/mqtt", "/ws")
_REMEDY = (
    "for pages in a browser add to mosquitto.conf: listener 9001, and below it protocol websockets"
)


def check_websocket(host: str, wait_s: float, ports: tuple[int, ...] = PORTS) -> Finding:
    """Try the usual ports; ``warn`` if none speaks MQTT over WebSocket (RFC 6455)."""
    for port in ports:
        for path in _PATHS:
            if _upgrades(host, port, path, wait_s):
                return ok("websocket", f"ws://{host}:{port}{path}")
    tried = ", ".join(map(str, ports))
    return warn("websocket", f"no listener without TLS on the usual ports ({tried})", _REMEDY)


def _upgrades(host: str, port: int, path: str, wait_s: float) -> bool:
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: mqtt\r\n\r\n"
    )
    try:
        with socket.create_connection((host, port), wait_s) as link:
            link.sendall(request.encode())
            return link.recv(1024).startswith(b"HTTP/1.1 101")
    except OSError:
        return False
