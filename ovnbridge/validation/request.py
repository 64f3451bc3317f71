"""What is asked of the judge, and what it answers."""

from __future__ import annotations

from typing import Any, Final

import msgspec

CREATE: Final = "CREATE"
UPDATE: Final = "UPDATE"
DELETE: Final = "DELETE"

CONFLICT: Final = 409
INVALID: Final = 422
FORBIDDEN: Final = 403

_ANNOTATIONS: Final = "metadata.annotations"


class Problem(msgspec.Struct, frozen=True):
    """One refusal: path of the field, a sentence that names the other object if there is one, and an HTTP status."""

    field: str
    message: str
    code: int = INVALID

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One write that is under review. `value` and `old` are decoded objects; `key` is the World key."""

    kind: str
    operation: str
    key: str
    value: Any | None = None
    old: Any | None = None
    annotations: str = _ANNOTATIONS
    """Path of the annotations in what the user wrote."""

    @property
    def template(self) -> bool:
        """Whether this is a pod that a workload would make."""
        return self.annotations != _ANNOTATIONS

    @property
    def changes_spec(self) -> bool:
        """Whether an update changes what the network is to be. What is being deleted is not judged any more."""
        if self.value is None or self.value.metadata.deleting:
            return False
        return self.old is None or bool(self.value.spec != self.old.spec)
