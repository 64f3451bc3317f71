"""Encodes the Swagger 2 document in the protobuf form that old kubectl insists on (gnostic's `openapi.v2`).

Only the fields that kubectl reads: definitions for validation and explain, PATCH parameters for dry runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _flag(field: int) -> bytes:
    return _varint(field << 3) + b"\x01"


def _any(value: Any) -> bytes:
    return _text(2, json.dumps(value))  # JSON is YAML


def _named(name: str, value: bytes) -> bytes:
    return _text(1, name) + _bytes(2, value)


def _extensions(field: int, schema: Mapping[str, Any]) -> list[bytes]:
    return [_bytes(field, _named(k, _any(v))) for k, v in schema.items() if k.startswith("x-")]


def _schema(schema: Mapping[str, Any]) -> bytes:
    out: list[bytes] = []
    for name, field in (("$ref", 1), ("format", 2), ("description", 4)):
        if name in schema:
            out.append(_text(field, schema[name]))
    out.extend(_text(19, name) for name in schema.get("required") or ())
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        out.append(_bytes(21, _bytes(1, _schema(additional))))
    elif additional:
        out.append(_bytes(21, _flag(2)))
    if "type" in schema:
        out.append(_bytes(22, _text(1, schema["type"])))
    if isinstance(schema.get("items"), dict):
        out.append(_bytes(23, _bytes(1, _schema(schema["items"]))))
    if "properties" in schema:
        properties = schema["properties"].items()
        out.append(_bytes(25, b"".join(_bytes(1, _named(name, _schema(sub))) for name, sub in properties)))
    return b"".join(out + _extensions(31, schema))


def _operation(operation: Mapping[str, Any]) -> bytes:
    out: list[bytes] = []
    for parameter in operation.get("parameters") or ():
        query = _text(2, "query") + _text(4, parameter["name"]) + _text(6, "string")
        out.append(_bytes(8, _bytes(1, _bytes(2, _bytes(3, query)))))
    return b"".join(out + _extensions(13, operation))


def _path(item: Mapping[str, Any]) -> bytes:
    return b"".join(_bytes({"get": 2, "patch": 8}[method], _operation(body)) for method, body in item.items())


def openapi_document(document: Mapping[str, Any]) -> bytes:
    info = _text(1, document["info"]["title"]) + _text(2, document["info"]["version"])
    paths = b"".join(_bytes(2, _named(name, _path(item))) for name, item in document["paths"].items())
    definitions = b"".join(_bytes(1, _named(name, _schema(schema))) for name, schema in document["definitions"].items())
    return _text(1, document["swagger"]) + _bytes(2, info) + _bytes(8, paths) + _bytes(9, definitions)
