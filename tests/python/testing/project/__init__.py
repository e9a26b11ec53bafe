"""A project with tests of its own, which another process runs."""
