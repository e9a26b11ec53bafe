"""Tests of what is in examples/, each run as its readers run it."""
