"""See the site: figures of all its processes, and views for Prometheus and for probes.

    from dwebsocket import monitor

    urlpatterns = [
        path("metrics", monitor.metrics),
        path("live", monitor.live),
        path("ready", monitor.ready),
    ]

``site()``, ``connections()`` and ``groups()`` return the same as Python objects. They
ask every process of the site: on this machine, and over the broker on all machines.
"""

from __future__ import annotations

from .asking import Scope
from .figures import Counters, Machine, Process, RoundTrips, Site, site
from .listing import (
    Connection,
    Connections,
    Group,
    Groups,
    close,
    close_all,
    connections,
    groups,
)
from .views import Collector, live, metrics, ready

__all__ = (
    "Collector",
    "Connection",
    "Connections",
    "Counters",
    "Group",
    "Groups",
    "Machine",
    "Process",
    "RoundTrips",
    "Scope",
    "Site",
    "close",
    "close_all",
    "connections",
    "groups",
    "live",
    "metrics",
    "ready",
    "site",
)
