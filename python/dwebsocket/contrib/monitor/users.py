"""The names of the users whose connections are shown, and users by name."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import DatabaseError

from dwebsocket.logins.rights import of_tenant
from dwebsocket.process.trouble import Trouble

__all__ = ("Names", "keys_of")

#: The most users that a search by name finds.
FOUND = 100
#: The most names that a page remembers.
KNOWN = 1_000

trouble = Trouble(
    logging.getLogger("dwebsocket.monitor"), "The names of users cannot be read"
)


def keys_of(search: str) -> tuple[str, ...]:
    """Return the users of this tenant whose name has a text, as connections have them.

    Args:
        search: The text; upper and lower case are the same. If more users have it
            than FOUND, those found are any of them, and the users of just this name.
    """
    if not search:
        return ()
    model: Any = get_user_model()
    try:
        keys = _found(model, "icontains", search)
        if len(keys) == FOUND:
            keys = list({*keys, *_found(model, "iexact", search)})
    except DatabaseError as error:
        trouble.note(error)
        return ()
    return tuple(of_tenant(str(key)) for key in keys)


def _found(model: Any, lookup: str, search: str) -> list[Any]:
    found = model._default_manager.filter(
        **{f"{model.USERNAME_FIELD}__{lookup}": search}
    )
    return list(found.values_list("pk", flat=True)[:FOUND])


class Names:
    """The names of users, by the keys that connections have."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the names of those users whose name can be found."""
        wanted = set(keys)
        missing = wanted - self._known.keys()
        if missing:
            if len(self._known) + len(missing) > KNOWN:
                self._known.clear()
                missing = wanted
            self._known.update(_read(missing))
        return {key: self._known[key] for key in wanted if self._known.get(key)}


def _read(keys: Iterable[str]) -> dict[str, str]:
    """Read names; "" for a user that is not found."""
    model: Any = get_user_model()
    # A user of another tenant may be another user in this one's database.
    tenant = of_tenant("")
    found = dict.fromkeys(keys, "")
    primary: dict[Any, str] = {}
    for key in found:
        if key.startswith(tenant):
            with contextlib.suppress(ValidationError, ValueError, TypeError):
                primary[model._meta.pk.to_python(key.removeprefix(tenant))] = key
    try:
        users = model._default_manager.filter(pk__in=primary)
        for user in users.only("pk", model.USERNAME_FIELD):
            found[primary[user.pk]] = str(user.get_username())
    except DatabaseError as error:
        trouble.note(error)
        return {}
    trouble.over()
    return found
