"""Plain Django views: the metrics of the site, and probes of this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dwebsocket import _engine
from dwebsocket.conf import settings
from dwebsocket.exceptions import ConfigurationError
from dwebsocket.hub import connecting
from dwebsocket.process import exit, figures

from .asking import Scope
from .figures import site

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ("Collector", "live", "metrics", "ready")


class Collector:
    """The metrics of the site for a registry of ``prometheus_client``.

    For projects that have a view for their own metrics:
    ``REGISTRY.register(monitor.Collector())``.

    Args:
        scope: "site": all machines that answer over the broker; "machine": this one.
    """

    def __init__(self, scope: Scope = "site") -> None:
        self._scope: Scope = scope

    def describe(self) -> list[Metric]:
        """Return nothing: the registry must not ask all processes at the start."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Ask all processes, and return their metrics.

        Raises:
            ConfigurationError: ``prometheus_client`` is not installed.
        """
        _library()
        from .exposition import families

        return families(site(self._scope))


def _library() -> Any:
    """Return the module ``prometheus_client``.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        import prometheus_client
    except ImportError as error:
        raise ConfigurationError(
            "dwebsocket.monitor.metrics needs prometheus_client: "
            "pip install 'dwebsocket-rs[metrics]'"
        ) from error
    return prometheus_client


@never_cache
@require_safe
def metrics(request: HttpRequest, scope: Scope = "site") -> HttpResponse:
    """Return the metrics of all processes of the site, for Prometheus.

    The header Accept decides between OpenMetrics and Prometheus's older text.

    Args:
        request: The request.
        scope: "site": all machines that answer over the broker; "machine": this one.
            The URL gives it: ``path("metrics", monitor.metrics, {"scope": "machine"})``

    Raises:
        ConfigurationError: ``prometheus_client`` is not installed.
    """
    library = _library()
    from prometheus_client.exposition import choose_encoder

    figures.attach()
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    registry = library.CollectorRegistry()
    registry.register(Collector(scope))
    response = HttpResponse(encode(registry), content_type=content_type)
    response["Vary"] = "Accept"
    return response


@never_cache
@require_safe
def live(request: HttpRequest) -> HttpResponse:
    """Answer 200 as long as the process answers at all."""
    return JsonResponse({"status": "live"})


@never_cache
@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """Say whether this process may get new requests.

    503 with the status "stopping" from the moment its stop has begun; otherwise 200,
    with the status "degraded" while the broker is away, or "ready".
    """
    if exit.stopping():
        answer = JsonResponse({"status": "stopping"}, status=503)
        answer["Retry-After"] = "10"
        return answer
    if settings.BROKER is None:
        return JsonResponse({"status": "ready"})
    connecting.connect()
    broker = _engine.hub_stats().broker
    status = "ready" if broker == "connected" else "degraded"
    return JsonResponse({"status": status, "broker": broker})
