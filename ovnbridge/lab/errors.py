"""The one error of the lab that a caller is meant to read: its text says what happened, in words."""

from __future__ import annotations


class LabError(RuntimeError):
    """Something the user of the lab should see: a command that failed, a daemon that ended, a deadline that passed."""
