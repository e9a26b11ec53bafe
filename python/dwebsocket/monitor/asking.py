"""Asks the processes of the site: over sockets on this machine, and over the broker.

Questions and answers are JSON objects; ``src/monitor/question.rs`` lists the questions.
A process that does not answer in time is left out.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

from dwebsocket import _engine
from dwebsocket.conf import settings
from dwebsocket.hub import blocking, connecting
from dwebsocket.process import figures

__all__ = ("Answer", "Here", "Scope", "ask", "here")

#: Which processes are asked: those of the site, or only those of this machine.
Scope: TypeAlias = Literal["site", "machine"]

#: An object of JSON.
Answer: TypeAlias = dict[str, Any]

#: Seconds within which the processes must answer.
PATIENCE = 1.0

_PART = 65_536


class Here(NamedTuple):
    """The site's processes on this machine.

    Args:
        places: What the directories say, one object for each.
        problem: Why a directory could not be read, if there is one.
    """

    places: list[Answer]
    problem: OSError | None = None


def here() -> Here:
    """Read the directories of the site's figures on this machine."""
    found: list[Answer] = []
    problem: OSError | None = None
    for path in figures.directories():
        try:
            found.append(json.loads(_engine.monitor_read(path)))
        except FileNotFoundError:
            pass
        except OSError as error:
            problem = error
    return Here(found, problem)


def ask(
    question: Answer, scope: Scope = "site", places: list[Answer] | None = None
) -> list[Answer]:
    """Return the answers of all processes, each once; this process is one of them.

    Args:
        question: The question.
        scope: The processes to ask.
        places: The places of :func:`here`, if the caller has them already.
    """
    answers: dict[str, Answer] = {}
    text = json.dumps(question)
    if places is None:
        places = here().places
    own = json.loads(_engine.monitor_answer(text))
    for answer in _neighbours(text, places, own["process"]):
        answers[answer["process"]] = answer
    answers[own["process"]] = own
    if scope == "site" and settings.BROKER is not None:
        connecting.connect()
        for reply in blocking.call(_engine.monitor_ask, text, PATIENCE):
            with contextlib.suppress(ValueError, TypeError, KeyError):
                answer = json.loads(reply)
                # What a neighbour has said over its socket counts, but not its machine.
                known = answers.setdefault(answer["process"], answer)
                if "machine" in answer:
                    known.setdefault("machine", answer["machine"])
    return [answers[name] for name in sorted(answers)]


def _neighbours(text: str, places: list[Answer], own: str) -> Iterator[Answer]:
    """Ask the other processes of this machine: first all, then read the answers."""
    deadline = time.monotonic() + PATIENCE
    processes = [one for place in places for one in place["processes"]]
    with contextlib.ExitStack() as stack:
        asked = [
            line
            for one in processes
            if one["process"] != own
            and (line := _send(stack, one["socket"], text, deadline)) is not None
        ]
        for line in asked:
            with contextlib.suppress(OSError, ValueError):
                yield json.loads(_read(line, deadline))


def _left(deadline: float) -> float:
    # 0 would make the socket one that does not block.
    return max(deadline - time.monotonic(), 0.001)


def _send(
    stack: contextlib.ExitStack, path: str, text: str, deadline: float
) -> socket.socket | None:
    line = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    try:
        line.settimeout(_left(deadline))
        line.connect(path)
        line.sendall(text.encode())
        line.shutdown(socket.SHUT_WR)
    except OSError:
        # The process has not had a WebSocket yet, is stopped, or has just ended.
        return None
    return line


def _read(line: socket.socket, deadline: float) -> bytes:
    parts: list[bytes] = []
    while True:
        line.settimeout(_left(deadline))
        part = line.recv(_PART)
        if not part:
            return b"".join(parts)
        parts.append(part)
