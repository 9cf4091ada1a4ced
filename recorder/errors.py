"""The error tree of the ``recorder`` package (evidence, spool and sources have their own branches)."""

from __future__ import annotations


class RecorderError(Exception):
    """The recorder cannot do what it was asked; the message says what happened and what to do."""


class ConfigError(RecorderError):
    """The configuration file is missing, unreadable, or says something that is not known here."""
