"""The files of containers as the programs that read them see them."""

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
Object = dict[str, Any]


def load(path: Path) -> list[Object]:
    """The documents of a YAML file."""
    return list(yaml.safe_load_all(path.read_text()))


@functools.cache
def compose() -> Object:
    (document,) = load(ROOT / "compose.yaml")
    return document


@functools.cache
def objects() -> list[Object]:
    """Every object that `kubectl apply -k` makes; a List is its items."""
    (kustomization,) = load(KUBERNETES / "kustomization.yaml")
    found: list[Object] = []
    for name in kustomization["resources"]:
        for document in load(KUBERNETES / name):
            found += document["items"] if document["kind"] == "List" else [document]
    return found


def of_kind(*kinds: str) -> list[Object]:
    return [item for item in objects() if item["kind"] in kinds]


def pods() -> Iterator[tuple[Object, Object]]:
    """Each workload with the pod that it makes."""
    for workload in of_kind("Deployment", "StatefulSet"):
        yield workload, workload["spec"]["template"]


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector takes these labels; no condition takes all."""
    expressions = selector.get("matchExpressions", [])
    assert all(each["operator"] == "In" for each in expressions)
    return all(labels.get(k) == v for k, v in selector.get("matchLabels", {}).items()) and all(
        labels.get(each["key"]) in each["values"] for each in expressions
    )
