"""TLS towards the broker: its certificate and name are always verified, ours is shown if given."""

import ssl

from devit_iot.config.config import BrokerConfig
from devit_iot.errors import ConfigError


class ClientContext(ssl.SSLContext):
    """Remembers the alert with which the broker ended a connection."""

    alert: ssl.SSLError | None = None

    def raise_alert(self) -> None:
        """Raise the last one, once."""
        alert, self.alert = self.alert, None
        if alert is not None:
            raise alert


class _Socket(ssl.SSLSocket):
    """What paho needs of a socket and would do without."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - as in ssl
        """Close at once if it fails: paho leaves that to the garbage collector."""
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Keep an alert: in TLS 1.3 a client's certificate is refused after the handshake.

        paho makes a lost connection of it, and nobody would know why.
        """
        try:
            return super().recv(buflen, flags)
        except ssl.SSLError as error:
            if _is_alert(error) and isinstance(self.context, ClientContext):
                self.context.alert = error
            raise


def client_context(config: BrokerConfig) -> ClientContext:
    """TLS 1.2 or later with the files that ``config`` names.

    Raises:
        ConfigError: a file cannot be read, or the key is not the certificate's.
    """
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _Socket
    try:
        if config.ca_file:
            context.load_verify_locations(config.ca_file)
        else:
            context.load_default_certs()
    except OSError as error:  # ssl's errors too
        raise ConfigError(f"cannot read broker.ca_file {config.ca_file}: {error}") from error
    if config.cert_file:
        try:  # a password, or a key that wants one would ask on the terminal
            context.load_cert_chain(config.cert_file, config.key_file, password="")
        except OSError as error:
            raise ConfigError(
                f"cannot use broker.cert_file {config.cert_file} with broker.key_file "
                f"{config.key_file}: {error}"
            ) from error
    return context


def explain(error: ssl.SSLError, config: BrokerConfig) -> tuple[str, str]:
    """What is wrong with a connection, and what to do about it: nothing if it may pass."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"shows a certificate that is not trusted ({error.verify_message})",
            "check broker.ca_file, the host in broker.url and this machine's clock",
        )
    if _is_alert(error) and not config.cert_file:
        return (
            f"ends the connection ({error.reason})",
            "if it wants certificates, set broker.cert_file and broker.key_file",
        )
    if _is_alert(error):
        return (
            f"refuses our certificate ({error.reason})",
            f"check {config.cert_file}: its authority, its dates, and whether it was revoked",
        )
    return f"is unreachable ({error}); trying again", ""


def _is_alert(error: ssl.SSLError) -> bool:
    return "ALERT" in (error.reason or "")
