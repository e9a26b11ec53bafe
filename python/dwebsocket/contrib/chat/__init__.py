"""Rooms with history and presence over one WebSocket, and a panel to show them."""
