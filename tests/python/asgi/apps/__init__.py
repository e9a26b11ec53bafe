"""Applications as views."""
