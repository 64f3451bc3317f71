"""The `scale` subresource of workloads and of custom resources that declare it."""

from __future__ import annotations

from typing import Any

import orjson

from . import errors, jsonpath, patches
from .errors import ApiError, Object
from .objects import Objects, WriteOptions
from .resources import Resource
from .store import Key


class ScaleView:
    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def get(self, resource: Resource, key: Key) -> Object:
        entry = resource.collection.objects.get(key)
        if entry is None:
            raise errors.not_found(resource.group, resource.plural, key[1])
        return scale_of(resource, resource.decode(entry.data))

    def put(self, resource: Resource, key: Key, scale: Object, options: WriteOptions) -> Object:
        entry = resource.collection.objects.get(key)
        if entry is None:
            raise errors.not_found(resource.group, resource.plural, key[1])
        replicas = (scale.get("spec") or {}).get("replicas", 0)
        if not isinstance(replicas, int) or replicas < 0:
            text = f"Invalid value: {replicas}: must be greater than or equal to 0"
            raise errors.invalid("autoscaling", "Scale", key[1], [errors.Cause("spec.replicas", text)])
        obj = resource.decode(entry.data)
        *parents, last = _paths(resource)[0]
        place = obj
        for name in parents:
            place = place.setdefault(name, {})
        place[last] = replicas
        obj["metadata"]["resourceVersion"] = (scale.get("metadata") or {}).get("resourceVersion")
        if not obj["metadata"]["resourceVersion"]:
            obj["metadata"]["resourceVersion"] = str(entry.version)
        _, data = self._objects.update(resource, key, obj, options)
        return scale_of(resource, orjson.loads(data))

    def patch(self, resource: Resource, key: Key, kind: str, patch: Any, options: WriteOptions) -> Object:
        scale = self.get(resource, key)
        scale["metadata"].pop("resourceVersion")
        changed = (
            patches.json_patch(scale, patch)
            if kind.startswith("application/json-")
            else patches.merge_patch(scale, patch)
        )
        if not isinstance(changed, dict):
            raise ApiError(400, "the patch does not leave a Scale")
        return self.put(resource, key, changed, options)


def _paths(resource: Resource) -> tuple[list[str], str, str]:
    """Where the wanted replicas, the present replicas and the selector of a kind are."""
    if resource.definition is None:
        return ["spec", "replicas"], ".status.replicas", ""
    scale = resource.definition["subresources"]["scale"]
    spec = scale["specReplicasPath"].strip(".").split(".")
    return spec, scale["statusReplicasPath"], scale.get("labelSelectorPath", "")


def scale_of(resource: Resource, obj: Object) -> Object:
    spec_path, status_path, selector_path = _paths(resource)
    meta = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: Object = {"replicas": jsonpath.first(status_path)(obj) or 0}
    selector = jsonpath.first(selector_path)(obj) if selector_path else _selector_text(obj)
    if selector:
        status["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: meta[name] for name in kept if name in meta},
        "spec": {"replicas": jsonpath.first("." + ".".join(spec_path))(obj) or 0},
        "status": status,
    }


def _selector_text(obj: Object) -> str:
    labels = ((obj.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
