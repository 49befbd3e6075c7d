"""Which request an image is, which of two is kept, and who computes it.

Normative: docs/protocol.md.
"""

import hashlib

REQUEST_ID_BYTES = 16


def request_id(topic: str, payload: bytes) -> bytes:
    """The 16-byte id of an image whose topic names none: blake2b of topic, a zero byte, payload.

    Every node receives the same message and so computes the same id, without any coordination.
    """
    digest = hashlib.blake2b(topic.encode(), digest_size=REQUEST_ID_BYTES)
    digest.update(b"\0")
    digest.update(payload)
    return digest.digest()


def preference(request_id: bytes) -> int:
    """Which image a node computes if it cannot compute all: the one with the largest value.

    Nodes that are behind see the same images and so prefer the same ones, without coordination:
    else each would compute others, and no label would rest on all parts.
    """
    return int.from_bytes(hashlib.blake2b(request_id, digest_size=8).digest(), "little")


def weight(request_id: bytes, node: str) -> int:
    """How much a node is the one to compute a request: of the living ones the heaviest does.

    When a node comes or goes, only requests that it computes change hands (rendezvous hashing).
    """
    return int.from_bytes(
        hashlib.blake2b(request_id + node.encode(), digest_size=8).digest(), "little"
    )
