"""Server-side tables: what `kubectl get` prints."""

from __future__ import annotations

from typing import Any

import orjson

from . import jsonpath
from .errors import Object
from .resources import Resource
from .table_columns import AGE, BUILTIN_COLUMNS, NAME, Column
from .timestamps import since


def columns_of(resource: Resource) -> list[Column]:
    if resource.definition is None:
        return BUILTIN_COLUMNS.get((resource.group, resource.plural), [NAME, AGE])
    declared = resource.definition.get("additionalPrinterColumns")
    if not declared:
        return [NAME, AGE]
    return [NAME, *(_declared(column) for column in declared)]


def _declared(column: Object) -> Column:
    find = jsonpath.parse(column["jsonPath"])
    kind = column["type"]

    def cell(obj: Object) -> Any:
        found = find(obj)
        if not found:
            return None
        value = found[0]
        if len(found) > 1 or isinstance(value, (list, dict)):
            return _as_json(found if len(found) > 1 else value) if kind == "string" else None
        if kind == "date":
            return since(value)
        return value if kind != "string" or isinstance(value, str) else _as_json(value)

    return Column(
        column["name"], cell, kind, column.get("priority", 0), column.get("format", ""), column.get("description", "")
    )


def _as_json(value: Any) -> str:
    return orjson.dumps(value).decode()


def partial(obj: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def render(resource: Resource, objects: list[Object], meta: Object | None, include: str) -> Object:
    columns = columns_of(resource)
    rows = []
    for obj in objects:
        row: Object = {"cells": [column.cell(obj) if "uid" in obj["metadata"] else None for column in columns]}
        if include == "Object":
            row["object"] = obj
        elif include != "None":
            row["object"] = partial(obj)
        rows.append(row)
    if meta is None:
        meta = {"resourceVersion": objects[0]["metadata"].get("resourceVersion", "")} if objects else {}
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": [
            {
                "name": column.name,
                "type": column.kind,
                "format": column.format,
                "description": column.description,
                "priority": column.priority,
            }
            for column in columns
        ],
        "rows": rows,
    }
