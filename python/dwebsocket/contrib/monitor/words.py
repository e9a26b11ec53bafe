"""The texts of the page that its script shows, in the language of the request."""

from __future__ import annotations

from django.utils.translation import gettext as _

__all__ = ("words",)


def words() -> dict[str, str]:
    """Return the texts by name; ``{...}`` is filled in by the script."""
    return {
        "live": _("Live"),
        "reconnecting": _("The connection is lost. Reconnecting"),
        "ended": _("Your login has ended, or you may not see this page any longer."),
        "unknown": _("unknown"),
        "noBroker": _("no broker"),
        "connected": _("connected"),
        "away": _("away"),
        "ok": _("answers"),
        "silent": _("does not answer"),
        "stopping": _("stopping"),
        "closing": _("closing"),
        "perSecond": _("{number}/s"),
        "seconds": _("{number} s"),
        "minutes": _("{number} min"),
        "hours": _("{number} h"),
        "days": _("{number} d"),
        "milliseconds": _("{number} ms"),
        "messages": _("{number} messages since it was opened"),
        "dropped": _("{number} dropped"),
        "more": _("and {number} more"),
        "close": _("Close"),
        "closeLabel": _("Close the connection of {user} to {path}"),
        "nobody": _("nobody"),
        "filterUser": _("Show only the connections of {user}"),
        "filterGroup": _("Show the connections in {group}"),
        "about": _("{user}, {path}, {address}"),
        "allOf": _("All connections of {user}"),
        "closed": _("Connections closed: {number}."),
        "nothing": _(
            "No connection was closed: it had ended already, or its process "
            "does not answer."
        ),
        "forbidden": _("You may not close connections."),
        "gone": _("This connection has ended already."),
        "unavailable": _("This was not possible just now. Please try again."),
        "notFound": _("No connection."),
        "noGroup": _("No group."),
        "page": _("Page {number}"),
        "pages": _("{number} (not counted above)"),
    }
