"""Certificates: the broker's, its authority's and ours, and how long they last."""

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

from devit_iot.config.config import BrokerConfig
from devit_iot.doctor.finding import Finding, bad, bad_error, ok, warn
from devit_iot.errors import ConfigError
from devit_iot.transport.address import parse_url
from devit_iot.transport.tls import client_context, explain

_SOON_DAYS = 30.0
_DAY_S = 86400.0
_RENEW = "make a new certificate before that: devit fleet add, or ask the broker's owner"


def check_tls(config: BrokerConfig, wait_s: float) -> Iterator[Finding]:
    """What an mqtts broker shows us, and what we show it."""
    host, port, tls = parse_url(config.url)
    if not tls:
        yield _in_the_clear(config, host)
        return
    try:
        context = client_context(config)
    except ConfigError as error:
        yield bad_error("tls", error, "give files that exist and belong together")
        return
    yield from _handshake(config, context, (host, port), wait_s)
    if config.cert_file:
        yield _own(config)


def _in_the_clear(config: BrokerConfig, host: str) -> Finding:
    text = "not asked for: the url is mqtt://"
    if config.username and not _is_loopback(host):
        remedy = "use mqtts://: broker/README.md, Secure set-up"
        return warn("tls", f"{text}, and the password crosses the network as it is", remedy)
    return ok("tls", text)


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")


def _handshake(
    config: BrokerConfig, context: ssl.SSLContext, address: tuple[str, int], wait_s: float
) -> Iterator[Finding]:
    try:
        with (
            socket.create_connection(address, wait_s) as link,
            context.wrap_socket(link, server_hostname=address[0]) as secured,
        ):
            shown = secured.getpeercert() or {}
            version = secured.version()
    except ssl.SSLError as error:
        problem, remedy = explain(error, config)
        yield bad("tls", f"the broker {problem}", remedy or "does it speak TLS on this port?")
        return
    except OSError as error:
        yield bad("tls", f"the handshake failed ({error})", "see the broker's log")
        return
    yield _lasts("tls", f"{version}, the broker's certificate is sound", shown.get("notAfter"))
    for authority in context.get_ca_certs() if config.ca_file else []:
        yield _lasts("authority", f"{config.ca_file} is read", authority.get("notAfter"))


def _lasts(check: str, text: str, until: object) -> Finding:
    """``until`` is as OpenSSL writes it."""
    if not isinstance(until, str):
        return ok(check, text)
    days = (ssl.cert_time_to_seconds(until) - time.time()) / _DAY_S
    text = f"{text}, until {until}"
    return warn(check, f"{text}: {days:.0f} days", _RENEW) if days < _SOON_DAYS else ok(check, text)


def _own(config: BrokerConfig) -> Finding:
    """Whether our certificate is of today, by a handshake with ourselves in memory.

    The standard library decodes only a certificate that it has verified, so this one vouches for
    itself.
    """
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours.check_hostname = False
    ours.verify_mode = ssl.CERT_NONE
    ours.load_cert_chain(config.cert_file, config.key_file, password="")
    judge = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    judge.load_cert_chain(config.cert_file, config.key_file, password="")
    judge.verify_mode = ssl.CERT_REQUIRED
    judge.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    judge.load_verify_locations(config.cert_file)
    to_judge, to_us = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = ours.wrap_bio(to_us, to_judge)
    other = judge.wrap_bio(to_judge, to_us, server_side=True)
    name = Path(config.cert_file).name
    try:
        for _ in range(4):  # flights of a handshake
            for side in (one, other):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
    except ssl.SSLCertVerificationError as error:
        remedy = "make a new one (devit fleet add), and check this machine's clock"
        return bad("certificate", f"ours, {name}: {error.verify_message}", remedy)
    return _lasts("certificate", f"ours, {name}, is sound", (other.getpeercert() or {})["notAfter"])
