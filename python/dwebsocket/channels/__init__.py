"""A channel layer for Django Channels, on this package's hub and its brokers.

    CHANNEL_LAYERS = {"default": {"BACKEND": "dwebsocket.channels.ChannelLayer"}}

It needs ``pip install dwebsocket-rs[channels]``.
"""

from __future__ import annotations

from .layer import ChannelLayer

__all__ = ("ChannelLayer",)
