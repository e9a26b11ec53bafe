"""Tests of the chat's page in a real browser."""
