"""Answers that do not come from the store: discovery, OpenAPI, health, version."""

from __future__ import annotations

import orjson
from aiohttp import web

from . import errors
from .discovery import AGGREGATED, Discovery
from .errors import Object
from .openapi import OpenApi
from .resources import Registry

JSON = "application/json"
OPENAPI_V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


def answer(data: bytes, code: int = 200, content_type: str = JSON) -> web.Response:
    return web.Response(body=data, status=code, headers={"Content-Type": content_type})


class Documents:
    def __init__(self, registry: Registry) -> None:
        self._discovery = Discovery(registry)
        self._openapi = OpenApi(registry)

    def get(self, request: web.BaseRequest) -> web.Response:
        path = request.raw_path.partition("?")[0].rstrip("/") or "/"
        accept = request.headers.get("Accept", "")
        if path in ("/healthz", "/livez", "/readyz"):
            return answer(b"ok", content_type="text/plain; charset=utf-8")
        if path == "/openapi/v2":
            if "protobuf" in accept and JSON not in accept:
                return answer(self._openapi.v2_protobuf(), content_type=OPENAPI_V2_PROTOBUF)
            return answer(self._openapi.v2_json())
        if path == "/openapi/v3":
            return answer(self._openapi.v3_index())
        if path.startswith("/openapi/v3/"):
            found = self._openapi.v3(path.removeprefix("/openapi/v3/"))
            if found is not None:
                return answer(found)
            raise errors.no_such_path()
        if path in ("/api", "/apis") and "as=APIGroupDiscoveryList" in accept and "v=v2;" in accept + ";":
            return answer(orjson.dumps(self._discovery.aggregated(core=path == "/api")), content_type=AGGREGATED)
        document = self._discovery_document(path)
        if document is None:
            raise errors.no_such_path()
        return answer(orjson.dumps(document))

    def _discovery_document(self, path: str) -> Object | None:
        parts = path.strip("/").split("/")
        if path == "/":
            return {"paths": ["/api", "/apis", "/healthz", "/openapi/v2", "/openapi/v3", "/version"]}
        if parts == ["version"]:
            return self._discovery.version()
        if parts == ["api"]:
            return self._discovery.core_versions()
        if parts == ["apis"]:
            return self._discovery.groups()
        if parts[0] == "api" and len(parts) == 2:
            return self._discovery.resources("", parts[1])
        if parts[0] == "apis" and len(parts) == 2:
            return self._discovery.group(parts[1])
        if parts[0] == "apis" and len(parts) == 3:
            return self._discovery.resources(parts[1], parts[2])
        return None
