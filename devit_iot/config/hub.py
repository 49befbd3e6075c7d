"""``[hub]``: the process that keeps a fleet's releases."""

import msgspec

from devit_iot.config.rules import Rules


class HubConfig(msgspec.Struct, frozen=True):
    """``[hub]``: keeps the releases and drives updates.

    Attributes:
        folder: where releases and the hub's state are kept.
        listen: ``[host]:port`` on which files are served.
        url: by which members reach that, without a slash at the end.
        join_listen: ``[host]:port`` for boards that have no certificate yet; empty: none may join.
        join_url: by which boards reach that, without a slash at the end.
        token_file: file with the token that commands must show; the hub makes it. ``token`` in
            ``folder`` unless given.
        cert_file: our certificate as a server; members must show one of ``broker.ca_file`` then.
        key_file: its private key, without a password.
        crl_file: revoked certificates, which the hub lets in no more; read at its start.
        downloads: files that are sent at once; others wait for their turn.
        good_labels: labels of all parts that make a release on trial good.
        failure_share: share of the nodes whose failure ends a release; a part that goes from one to
            the next counts once, and alone never ends it.
        offer_s: how long a member may take to begin.
        download_s: how long the fleet may download without progress.
        install_s: how long a member may load and prove a release.
        activate_s: how long a member may take to go over to it.
        takeover_s: a node that is offline longer gives its part to a spare one.
        replicas: whether nodes that no part needs share the parts of the weakest nodes; else they
            are spares, which serve nothing until a part has no node.
    """

    folder: str = ""
    listen: str = "127.0.0.1:8484"
    url: str = "http://127.0.0.1:8484"
    join_listen: str = ""
    join_url: str = ""
    token_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    crl_file: str = ""
    downloads: int = 8
    good_labels: int = 10
    failure_share: float = 0.25
    offer_s: float = 120.0
    download_s: float = 300.0
    install_s: float = 120.0
    activate_s: float = 60.0
    takeover_s: float = 120.0
    replicas: bool = False

    def rules(self) -> Rules:
        """What must hold, and what is wrong where it does not."""
        numbers = {name: getattr(self, name) for name in self.__struct_fields__}
        return (
            (
                bool(self.cert_file) == bool(self.key_file),
                "hub.cert_file and hub.key_file belong together",
            ),
            *(
                (number > 0, f"hub.{name} must be positive")
                for name, number in numbers.items()
                if isinstance(number, int | float) and not isinstance(number, bool)
            ),
        )
