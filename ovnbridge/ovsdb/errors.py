"""What may go wrong with a database, as callers must tell it apart."""

from __future__ import annotations

from typing import Any


class OvsdbError(Exception):
    """Base of the errors of this package."""


class SessionLost(OvsdbError):
    """The connection ended; the text says why."""


class ProtocolError(SessionLost):
    """The peer sent something that OVSDB does not allow."""


class NotConnected(OvsdbError):
    """Nothing was sent: there is no synchronised connection."""


class OutcomeUnknown(OvsdbError):
    """The request was sent but its outcome did not arrive: it may or may not have been committed."""


class RequestError(OvsdbError):
    """The server answered a request with a JSON-RPC error."""

    def __init__(self, method: str, error: Any) -> None:
        super().__init__(f"{method}: {error}")
        self.error = error

    @property
    def name(self) -> str:
        """The error string of RFC 7047."""
        return str(self.error.get("error", "")) if isinstance(self.error, dict) else str(self.error)


class TransactionError(OvsdbError):
    """The server refused a transaction; nothing of it was committed.

    `index` is the failing operation's, or None when the transaction failed as a whole at its commit.
    """

    def __init__(self, error: str, details: str, index: int | None) -> None:
        super().__init__(f"{error}: {details}" if details else error)
        self.error = error
        self.details = details
        self.index = index


class Deposed(OvsdbError):
    """Another leader's epoch is in the database: this process must not write any more."""
