"""Metrics and health of a service over HTTP, for Prometheus and for supervisors.

``/metrics`` and ``/healthz``, nothing else. A thread of its own reads the last status that the
service made of itself; the service never waits for it. The only user of prometheus_client.
"""

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol

from devit_iot.config.listen import metrics_address
from devit_iot.errors import ConfigError
from devit_iot.protocol.release import UpdateStatus
from devit_iot.protocol.status import NodeStatus
from devit_iot.service import metrics
from devit_iot.service.durations import Durations
from devit_iot.service.metrics import Sample
from devit_iot.service.status import StatusReporter

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector

CLIENT_S = 10.0
"""Seconds after which the server hangs up on a client that says nothing."""

_TEXT = ("Content-Type", "text/plain; charset=utf-8")


class Monitored(Protocol):
    """What is looked at; a member of a fleet with a hub has an ``update`` too."""

    @property
    def reporter(self) -> StatusReporter:
        """The reporter of its status."""

    @property
    def durations(self) -> Mapping[str, Durations]:
        """Where its time went."""


@contextmanager
def exporting(
    listen: str, service: Monitored, limit_s: float, *, client_s: float = CLIENT_S
) -> Iterator[int]:
    """Serve the metrics and health of ``service`` inside the block; yields the port.

    Args:
        listen: ``[host]:port``; port 0: any free one. Empty: serve nothing, port 0.
        service: what to look at.
        limit_s: without progress for longer it is not healthy.
        client_s: see ``CLIENT_S``.

    Raises:
        ConfigError: the address cannot be used, or prometheus_client is not installed.
    """
    collector = _Collector(service, limit_s)
    pages = partial(_pages, collector, lambda: service.reporter.health_problem(limit_s))
    with _serving(listen, pages, client_s) as port:
        yield port


@contextmanager
def exporting_samples(
    listen: str, samples: Callable[[], Iterable[Sample]], problem: Callable[[], str]
) -> Iterator[int]:
    """Serve metrics of others, and the health of who listens to them, inside the block.

    Args:
        listen: as in :func:`exporting`.
        samples: makes the metrics, each name once; called on the server's threads.
        problem: why the listener is not healthy, in words; empty if it is.

    Raises:
        ConfigError: as in :func:`exporting`.
    """
    with _serving(listen, partial(_pages, _Samples(samples), problem), CLIENT_S) as port:
        yield port


@contextmanager
def _serving(listen: str, pages: "Callable[[], WSGIApplication]", client_s: float) -> Iterator[int]:
    if not listen:
        yield 0
        return
    from devit_iot.service.metrics_server import MetricsHandler, MetricsServer  # costs a start time

    host, port = metrics_address(listen)
    application = pages()
    try:
        server = MetricsServer((host, port), partial(MetricsHandler, client_s))
    except OSError as error:
        raise ConfigError(
            f"cannot serve metrics on {listen}: {error.strerror}; choose another --metrics"
        ) from error
    server.set_app(application)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _pages(collector: "Collector", problem: Callable[[], str]) -> "WSGIApplication":
    try:
        from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
    except ImportError as error:
        raise ConfigError(
            "--metrics needs prometheus_client: pip install 'devit-iot[metrics]'"
        ) from error
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    exposition: WSGIApplication = make_wsgi_app(registry)

    def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return exposition(environ, start_response)
        if path != "/healthz":
            start_response("404 Not Found", [_TEXT])
            return [b"/metrics or /healthz\n"]
        said = problem()
        start_response("503 Service Unavailable" if said else "200 OK", [_TEXT])
        return [f"{said or 'healthy'}\n".encode()]

    return application


class _Samples:
    """Makes Prometheus's families of samples."""

    def __init__(self, samples: Callable[[], Iterable[Sample]]) -> None:
        self._samples = samples

    def collect(self) -> "Iterator[Metric]":
        for sample in self._samples():
            yield _family(sample)


class _Collector:
    """Makes Prometheus's families of the last status."""

    def __init__(self, service: Monitored, limit_s: float) -> None:
        self._service = service
        self._limit_s = limit_s

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.metrics_core import GaugeMetricFamily, HistogramMetricFamily

        healthy = not self._service.reporter.health_problem(self._limit_s)
        yield GaugeMetricFamily(metrics.HEALTHY.name, metrics.HEALTHY.help, float(healthy))
        status = self._service.reporter.latest
        if status is None:  # before the first refresh of the status
            return
        update: UpdateStatus | None = getattr(self._service, "update", None)
        told = [*metrics.of(status), *(metrics.of(update) if update is not None else ())]
        for metric, children in told:
            yield _family(Sample(metric.name, metric.kind, metric.help, metric.labels, children))
        is_node = isinstance(status, NodeStatus)
        row = metrics.NODE_DURATIONS if is_node else metrics.AGGREGATOR_DURATIONS
        histogram = HistogramMetricFamily(row.name, row.help, labels=row.labels)
        for stage, durations in self._service.durations.items():
            buckets, total_s = durations.histogram
            histogram.add_metric([stage], [(_bound(le), n) for le, n in buckets], total_s)
        yield histogram


def _family(sample: Sample) -> "Metric":
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

    kind = CounterMetricFamily if sample.kind == "counter" else GaugeMetricFamily
    family = kind(sample.name, sample.help, labels=sample.labels)
    for labels, number in sample.children.items():
        family.add_metric(labels, float(number))
    return family


def _bound(seconds: float) -> str:
    return "+Inf" if math.isinf(seconds) else repr(seconds)
