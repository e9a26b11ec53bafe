"""A middleware that takes its time with a response."""

from __future__ import annotations

import time
from typing import Any

from .report import Report


class Slow:
    """Sleeps so many seconds as ``?slow=`` says, once it has the response."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        """Answer late."""
        response = self.get_response(request)
        if "slow" in request.GET:
            Report(request)("slow", response.status_code)
            time.sleep(float(request.GET["slow"]))
        return response
