"""Middleware that leaves its mark, in all forms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpResponse
from django.utils.deprecation import MiddlewareMixin


def synchronous(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Put a stamp on the request, and a header on the response."""

    def middleware(request: Any) -> Any:
        request.stamps = [*getattr(request, "stamps", []), "sync"]
        response = get_response(request)
        response["X-Sync"] = "passed"
        return response

    return middleware


class Asynchronous:
    """The same in a class with an async ``__call__``."""

    sync_capable = False
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response
        assert iscoroutinefunction(get_response)
        markcoroutinefunction(self)

    async def __call__(self, request: Any) -> HttpResponse:
        """Put a stamp on the request, and a cookie on the response."""
        request.stamps = [*getattr(request, "stamps", []), "async"]
        await asyncio.sleep(0)
        response: HttpResponse = await self.get_response(request)
        response.set_cookie("passed", "through")
        return response


class Mixed(MiddlewareMixin):
    """One of both kinds, whose hook is a function: Django's own are like this."""

    def process_response(self, request: Any, response: HttpResponse) -> HttpResponse:
        """Put a header on the response."""
        response["X-Mixed"] = "passed"
        return response
