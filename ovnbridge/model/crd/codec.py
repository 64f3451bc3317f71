"""Wire form of custom resources: decoding as tolerant as Kubernetes, encoding of whole objects.

`Decoder` is what a reflector uses instead of msgspec's: one pass when the input is as the schema says, a second,
slower one when it holds nulls. Whatever the input, the only error is msgspec.ValidationError.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from ovnbridge.model.crd.base import Object
from ovnbridge.model.crd.kind_info import KindInfo
from ovnbridge.model.crd.kinds import KINDS

T = TypeVar("T")


class Decoder(Generic[T]):
    """Decodes JSON into `kind`. Unknown fields are ignored, null means absent, types are checked."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._decoder = msgspec.json.Decoder(kind)

    def decode(self, data: bytes | str) -> T:
        """The value; msgspec.ValidationError, with the path of the offending field, when there is none."""
        try:
            try:
                return self._decoder.decode(data)
            except msgspec.ValidationError:
                return convert(msgspec.json.decode(data), self._kind)
        except msgspec.ValidationError:
            raise
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise msgspec.ValidationError(f"not valid JSON: {error} - at `$`") from None


def convert(data: Any, kind: type[T]) -> T:
    """Like `Decoder.decode`, for JSON that is already decoded into dicts and lists."""
    try:
        return msgspec.convert(_without_nulls(data), kind)
    except RecursionError:
        raise msgspec.ValidationError("nested too deeply - at `$`") from None


def info_of(kind: type[Object]) -> KindInfo:
    """The entry of the kind table for a type."""
    info = KINDS[kind.__name__]
    assert info.type is kind
    return info


def to_object(value: Object) -> dict[str, Any]:
    """The Kubernetes object: apiVersion, kind, metadata without empties, and the parts, all without nulls."""
    resource = info_of(type(value)).resource
    parts: dict[str, Any] = _without_nulls(msgspec.json.decode(msgspec.json.encode(value)))
    metadata = {name: field for name, field in parts.pop("metadata").items() if field not in ("", 0)}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **parts}


def encode(value: Object) -> bytes:
    """`to_object` as JSON."""
    return msgspec.json.encode(to_object(value))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(field) for name, field in value.items() if field is not None}
    if isinstance(value, list | tuple):
        return [_without_nulls(item) for item in value]
    return value
