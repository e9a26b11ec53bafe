"""Servers that several tests share."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .harness import Server
from .specs import Spec

#: So many run at a time; the one that was used longest ago makes room.
LIMIT = 20


class Pool:
    """Starts servers at first use and keeps them."""

    def __init__(self, directory: Path, env: Mapping[str, str]) -> None:
        self._directory = directory
        self._env = dict(env)
        self._shared: OrderedDict[str, Server] = OrderedDict()
        self._private: list[Server] = []
        self._count = 0

    def _make(self, spec: str | Spec, **options: Any) -> Server:
        self._count += 1
        directory = self._directory / str(self._count)
        directory.mkdir()
        env = {**self._env, **options.pop("env", {})}
        return Server(spec, directory, env=env, **options)

    def get(self, spec: str, **options: Any) -> Server:
        """Return a running server that tests may share."""
        name = json.dumps([spec, options], sort_keys=True)
        server = self._shared.pop(name, None)
        if server is None or server.process.poll() is not None:
            if len(self._shared) >= LIMIT:
                self._shared.popitem(last=False)[1].stop()
            server = self._make(spec, **options).start()
        self._shared[name] = server
        server.begin()
        return server

    def fresh(self, spec: str | Spec, *, start: bool = True, **options: Any) -> Server:
        """Return a server for one test only."""
        server = self._make(spec, **options)
        self._private.append(server)
        return server.start() if start else server

    def end_test(self) -> None:
        """Kill what the test started for itself, close its connections."""
        for server in (*self._shared.values(), *self._private):
            server.drop_clients()
        while self._private:
            self._private.pop().kill()

    def running(self) -> list[Server]:
        """Return the servers of which a failing test may want to show the log."""
        return [*self._private, *list(self._shared.values())[-1:]]

    def close(self) -> None:
        """Stop everything."""
        self.end_test()
        for server in self._shared.values():
            server.kill()
        self._shared.clear()
