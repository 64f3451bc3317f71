"""The patch formats: JSON patch, merge patch, strategic merge patch, and apply.

Pure functions from (live object, patch) to the new object; the live object may be consumed.  Strategic merge
and apply follow the merge keys of the kind's OpenAPI schema.  `objects` calls them, between reading the
cached bytes of an object and validating the outcome.

Apply has no field ownership on the object: what a manager applied before is handed in by the caller, so that
a field that the manager leaves out is removed, but two managers never conflict.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from .errors import ApiError, Object

Definitions = Mapping[str, Any]
Schema = Mapping[str, Any]
PRIMITIVE: Schema = {}


# -- RFC 7386 ------------------------------------------------------------------------------------------


def merge_patch(live: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = live if isinstance(live, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


# -- RFC 6902 ------------------------------------------------------------------------------------------


def _refuse(why: str) -> ApiError:
    return ApiError(422, f"the server rejected our request due to an error in our request: {why}", details={})


def _tokens(pointer: Any) -> list[str]:
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise ApiError(400, f"invalid JSON pointer {pointer!r}")
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def _index(token: str, size: int) -> int:
    if not token.isdigit() or (len(token) > 1 and token[0] == "0") or int(token) >= size:
        raise _refuse(f"Unable to access invalid index: {token}")
    return int(token)


def _walk(document: Any, tokens: list[str]) -> Any:
    for token in tokens:
        if isinstance(document, dict) and token in document:
            document = document[token]
        elif isinstance(document, list):
            document = document[_index(token, len(document))]
        else:
            raise _refuse(f"path does not exist: /{'/'.join(tokens)}")
    return document


def _add(document: Any, tokens: list[str], value: Any) -> Any:
    if not tokens:
        return value
    parent = _walk(document, tokens[:-1])
    last = tokens[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent) + 1), value)
    else:
        raise _refuse(f"add operation does not apply: /{'/'.join(tokens)}")
    return document


def _remove(document: Any, tokens: list[str]) -> Any:
    _walk(document, tokens)
    if not tokens:
        return None
    parent = _walk(document, tokens[:-1])
    if isinstance(parent, list):
        del parent[_index(tokens[-1], len(parent))]
    else:
        del parent[tokens[-1]]
    return document


def json_patch(document: Any, patch: Any) -> Any:
    if not isinstance(patch, list) or not all(isinstance(operation, dict) for operation in patch):
        raise ApiError(400, "json: cannot unmarshal the body into Go value of type jsonpatch.Patch")
    for operation in patch:
        document = _operate(document, operation)
    return document


def _operate(document: Any, operation: Object) -> Any:
    name = operation.get("op")
    path = _tokens(operation.get("path"))
    if name in ("add", "replace", "test") and "value" not in operation:
        raise _refuse(f'operation "{name}" misses its value')
    if name == "add":
        return _add(document, path, copy.deepcopy(operation["value"]))
    if name == "remove":
        return _remove(document, path)
    if name == "replace":
        _walk(document, path)
        if not path:
            return copy.deepcopy(operation["value"])
        parent = _walk(document, path[:-1])
        parent[_index(path[-1], len(parent)) if isinstance(parent, list) else path[-1]] = copy.deepcopy(
            operation["value"]
        )
        return document
    if name in ("move", "copy"):
        source = _tokens(operation.get("from"))
        value = copy.deepcopy(_walk(document, source))
        if name == "move":
            if path[: len(source)] == source and len(path) > len(source):
                raise _refuse("a value cannot be moved into itself")
            document = _remove(document, source)
        return _add(document, path, value)
    if name == "test":
        if not _same(_walk(document, path), operation["value"]):
            raise _refuse(f"testing value {operation['path']} failed: test failed")
        return document
    raise _refuse(f"Unexpected kind: {name}")


def _same(left: Any, right: Any) -> bool:
    """Equality as JSON has it: `1` and `1.0` are equal, `1` and `true` are not."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)


# -- strategic merge ---------------------------------------------------------------------------------------


class Strategic:
    """Strategic merge patches of one builtin kind."""

    def __init__(self, definitions: Definitions, schema: Schema) -> None:
        self._definitions = definitions
        self._schema = schema

    def apply(self, live: Object, patch: Object) -> Object:
        return self._objects(live, patch, self._schema)

    def _resolve(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            schema = self._definitions[schema["$ref"]]
        return schema

    def _property(self, schema: Schema, name: str) -> Schema:
        found: Schema = (schema.get("properties") or {}).get(name) or schema.get("additionalProperties") or PRIMITIVE
        return found if isinstance(found, dict) else PRIMITIVE

    def _objects(self, live: Any, patch: Object, schema: Schema) -> Object:
        schema = self._resolve(schema)
        directive = patch.get("$patch")
        if directive == "replace":
            return {key: value for key, value in patch.items() if key != "$patch"}
        if directive == "delete":
            return {}
        if directive not in (None, "merge"):
            raise ApiError(400, f"Unknown patch type found: {directive}")
        merged: Object = live if isinstance(live, dict) else {}
        retained = patch.get("$retainKeys")
        for key, value in patch.items():
            if key.startswith("$"):
                self._directive(merged, key, value, schema)
            elif value is None:
                merged.pop(key, None)
            else:
                merged[key] = self._value(merged.get(key), value, self._property(schema, key), patch, key)
        if retained is not None:
            for key in [key for key in merged if key not in retained]:
                del merged[key]
        return merged

    def _value(self, live: Any, value: Any, field: Schema, patch: Object, key: str) -> Any:
        if isinstance(value, dict):
            return self._objects(live, value, field)
        if isinstance(value, list) and "merge" in str(field.get("x-kubernetes-patch-strategy", "")).split(","):
            return self._lists(live if isinstance(live, list) else [], value, field, patch, key)
        return value

    def _directive(self, merged: Object, key: str, value: Any, schema: Schema) -> None:
        """`$deleteFromPrimitiveList/x`: the order directives need nothing, the list is merged in order."""
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.split("/", 1)[1]
            merged[name] = [item for item in merged.get(name) or [] if item not in value]

    def _lists(self, live: list[Any], patch: list[Any], field: Schema, parent: Object, name: str) -> list[Any]:
        order = parent.get(f"$setElementOrder/{name}")
        merge_key = field.get("x-kubernetes-patch-merge-key")
        if merge_key is None:
            merged = live + [item for item in patch if item not in live]
            return _ordered(merged, order, lambda item: item)
        if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
            return [item for item in patch if item.get("$patch") != "replace"]
        merged = list(live)
        for item in patch:
            if not isinstance(item, dict) or merge_key not in item:
                raise ApiError(400, f"map: {item} does not contain declared merge key: {merge_key}")
            found = next((i for i, old in enumerate(merged) if old.get(merge_key) == item[merge_key]), None)
            if item.get("$patch") == "delete":
                merged = [old for old in merged if old.get(merge_key) != item[merge_key]]
            elif found is None:
                merged.append(self._objects({}, item, field.get("items") or PRIMITIVE))
            else:
                merged[found] = self._objects(merged[found], item, field.get("items") or PRIMITIVE)
        wanted = None if order is None else [item.get(merge_key) for item in order]
        return _ordered(merged, wanted, lambda item: item.get(merge_key))


def _ordered(merged: list[Any], order: list[Any] | None, key: Callable[[Any], Any]) -> list[Any]:
    """The elements that the patch orders come in that order; those it does not know keep their place."""
    if order is None:
        return merged
    listed = iter(sorted((item for item in merged if key(item) in order), key=lambda item: order.index(key(item))))
    return [next(listed) if key(item) in order else item for item in merged]


# -- apply -------------------------------------------------------------------------------------------------


class Apply:
    """Server-side apply of one kind: a three-way merge by the schema's list types."""

    def __init__(self, definitions: Definitions, schema: Schema) -> None:
        self._definitions = definitions
        self._schema = schema

    def apply(self, live: Object, applied: Object, before: Object | None) -> Object:
        merged: Object = self._merge(live, applied, before, self._schema)
        return merged

    def _resolve(self, schema: Any) -> Schema:
        if not isinstance(schema, dict):
            return PRIMITIVE
        resolved: Schema = schema
        while "$ref" in resolved:
            resolved = self._definitions[resolved["$ref"]]
        return resolved

    def _merge(self, live: Any, applied: Any, before: Any, schema: Schema) -> Any:
        outline = schema
        schema = self._resolve(schema)
        atomic = "atomic" in (outline.get("x-kubernetes-map-type"), schema.get("x-kubernetes-map-type"))
        if isinstance(applied, dict) and isinstance(live, dict) and not atomic:
            return self._merge_maps(live, applied, before if isinstance(before, dict) else {}, schema)
        if isinstance(applied, list) and isinstance(live, list):
            earlier = before if isinstance(before, list) else []
            kind = schema.get("x-kubernetes-list-type")
            if kind == "set":
                kept = [item for item in live if item in applied or item not in earlier]
                return kept + [item for item in applied if item not in live]
            if kind == "map":
                return self._merge_lists(live, applied, earlier, schema)
        return applied

    def _merge_maps(self, live: Object, applied: Object, before: Object, schema: Schema) -> Object:
        properties = schema.get("properties") or {}
        rest = schema.get("additionalProperties") or PRIMITIVE
        rest = rest if isinstance(rest, dict) else PRIMITIVE
        merged = {key: value for key, value in live.items() if key in applied or key not in before}
        for key in [key for key in live if key not in merged and isinstance(live[key], dict)]:
            # Others may have put something below a map that this manager no longer mentions.
            left = self._merge(live[key], {}, before[key], properties.get(key, rest))
            if left:
                merged[key] = left
        for key, value in applied.items():
            if value is None:
                merged.pop(key, None)
            else:
                below = properties.get(key) or rest
                merged[key] = self._merge(
                    live.get(key), value, before.get(key), below if isinstance(below, dict) else PRIMITIVE
                )
        return merged

    def _merge_lists(self, live: list[Any], applied: list[Any], before: list[Any], schema: Schema) -> list[Any]:
        keys: list[str] = schema.get("x-kubernetes-list-map-keys") or []
        items = self._resolve(schema.get("items"))
        defaults = {key: ((items.get("properties") or {}).get(key) or {}).get("default") for key in keys}

        def identity(item: Any) -> bytes:
            if not isinstance(item, dict):
                raise ApiError(400, f"an element of a list with keys {keys} is not an object: {item!r}")
            return orjson.dumps([item.get(key, defaults[key]) for key in keys])

        wanted = {identity(item): item for item in applied}
        earlier = {identity(item): item for item in before}
        merged = []
        for item in live:
            name = identity(item)
            if name in wanted:
                merged.append(self._merge(item, wanted.pop(name), earlier.get(name), items))
            elif name not in earlier:
                merged.append(item)
        return merged + list(wanted.values())
