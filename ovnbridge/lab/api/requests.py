"""From an HTTP request on a resource to an answer: verbs, selectors, versions, forms of answer.

`server` hands every request to `Requests.handle` after faults have had their say; the work is done by
`objects` (writes), `lifecycle` (deletions), `store` (reads) and `watch`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import orjson
import yaml
from aiohttp import web

from . import actions, errors, tables
from .documents import JSON, Documents, answer
from .errors import ApiError, Cause, Object
from .faults import Faults
from .lifecycle import Lifecycle
from .objects import Objects, WriteOptions
from .query import (
    Query,
    Target,
    decode_continue,
    delete_options,
    encode_continue,
    flag,
    from_yaml,
    number,
)
from .resources import Registry, Resource
from .scale import ScaleView
from .selectors import Selector, parse_selector
from .store import Entry, Key, Store
from .watch import DEFAULT_TIMEOUT, WatchQuery, WatchStream

PATCHES = {
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
}
PROTOBUF_REFUSAL = (
    "the body of the request was in an unknown format - accepted media types include: application/json, "
    "application/yaml (this API server does not read protobuf; with `kubectl create NOUN` use "
    "`--dry-run=client -o yaml | kubectl apply -f -`)"
)
CONTINUE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list "
    "without the continue parameter, or use the continue token in this response to retrieve the remainder"
)


class Requests:
    def __init__(
        self,
        store: Store,
        registry: Registry,
        objects: Objects,
        lifecycle: Lifecycle,
        faults: Faults,
        bookmark_interval: float,
    ) -> None:
        self._store = store
        self._registry = registry
        self._objects = objects
        self._lifecycle = lifecycle
        self._faults = faults
        self._bookmark_interval = bookmark_interval
        self._documents = Documents(registry)
        self._scale = ScaleView(objects)

    async def handle(self, request: web.BaseRequest, target: Target | None, query_text: str) -> web.StreamResponse:
        query = dict(parse_qsl(query_text, keep_blank_values=True)) if query_text else {}
        if target is None:
            return self._documents.get(request)
        resource = self._registry.find(target.group, target.version, target.plural)
        if resource is None or (target.namespace and not resource.namespaced):
            raise errors.no_such_path()
        if "create" in resource.verbs and len(resource.verbs) == 1:
            return await self._review(request, resource)
        if target.sub:
            return await self._subresource(request, resource, target, query)
        if request.method == "GET":
            if target.name:
                return self._get(request, resource, target)
            return await self._list_or_watch(request, resource, target, query)
        return await self._write(request, resource, target, query)

    # -- reads ---------------------------------------------------------------------------------------------

    @staticmethod
    def _form(request: web.BaseRequest, resource: Resource, query: Query) -> tuple[str, Callable[[bytes], bytes]]:
        """How objects are shown: whole, as rows of a Table, or metadata only."""
        accept = request.headers.get("Accept", "")
        if "as=Table" in accept:
            include = query.get("includeObject", "Metadata")
            return "table", lambda data: orjson.dumps(tables.render(resource, [resource.decode(data)], None, include))
        if "as=PartialObjectMetadata" in accept:
            return "metadata", lambda data: orjson.dumps(tables.partial(orjson.loads(data)))
        return "object", resource.text

    def _get(self, request: web.BaseRequest, resource: Resource, target: Target) -> web.Response:
        entry = resource.collection.objects.get((target.namespace, target.name))
        if entry is None:
            raise errors.not_found(resource.group, resource.plural, target.name)
        _, form = self._form(request, resource, {})
        return answer(form(entry.data))

    async def _list_or_watch(
        self, request: web.BaseRequest, resource: Resource, target: Target, query: Query
    ) -> web.StreamResponse:
        supported = {"metadata.name": None, "metadata.namespace": None, **resource.collection.field_readers}
        selector = parse_selector(query.get("labelSelector", ""), query.get("fieldSelector", ""), supported)
        name, form = self._form(request, resource, query)
        if flag(query, "watch"):
            watch = WatchStream(
                self._store,
                self._faults,
                resource,
                self._watch_query(target.namespace, selector, query),
                form,
                name,
                self._bookmark_interval,
            )
            return await watch.run(request)
        return self._list(resource, target.namespace, selector, query, name)

    def _watch_query(self, namespace: str, selector: Selector, query: Query) -> WatchQuery:
        initial = flag(query, "sendInitialEvents")
        match = query.get("resourceVersionMatch", "")
        why = ""
        if initial is not None and match != "NotOlderThan":
            why = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        elif match and initial is None:
            why = "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        if why:
            cause = Cause("resourceVersionMatch", why, "FieldValueForbidden")
            raise errors.invalid("meta.k8s.io", "ListOptions", "", [cause])
        timeout = number(query, "timeoutSeconds")
        return WatchQuery(
            namespace=namespace,
            selector=selector,
            version=self._version(query),
            initial_events=initial,
            bookmarks=bool(flag(query, "allowWatchBookmarks")),
            timeout=float(timeout) if timeout else DEFAULT_TIMEOUT,
        )

    @staticmethod
    def _version(query: Query) -> int | None:
        text = query.get("resourceVersion", "")
        if not text:
            return None
        if not text.isdigit():
            cause = Cause(
                "resourceVersion", f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
            )
            raise errors.invalid("meta.k8s.io", "ListOptions", "", [cause])
        return int(text)

    def _list(self, resource: Resource, namespace: str, selector: Selector, query: Query, form: str) -> web.Response:
        limit = number(query, "limit") or 0
        entries, version = self._entries(resource, namespace, selector, query)
        meta: Object = {"resourceVersion": str(version)}
        if limit and len(entries) > limit:
            last = entries[limit - 1].key
            meta["continue"] = encode_continue(version, last)
            if not selector.labels and not selector.fields:
                meta["remainingItemCount"] = len(entries) - limit
            entries = entries[:limit]
        if form == "table":
            objects = [resource.decode(entry.data) for entry in entries]
            return answer(orjson.dumps(tables.render(resource, objects, meta, query.get("includeObject", "Metadata"))))
        if form == "metadata":
            items = [orjson.dumps(tables.partial(entry.decode())) for entry in entries]
            head: Object = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        else:
            head = {"kind": resource.list_kind, "apiVersion": resource.group_version}
            items = [resource.text(entry.data) for entry in entries]
            if resource.builtin:
                # Items of a builtin list carry no type, as on the real server.
                cut = len(orjson.dumps({"apiVersion": resource.group_version, "kind": resource.kind}))
                items = [b"{" + item[cut:] for item in items]
        start = orjson.dumps({**head, "metadata": meta})[:-1]
        return answer(b'%s,"items":[%s]}' % (start, b",".join(items)))

    def _entries(self, resource: Resource, namespace: str, selector: Selector, query: Query) -> tuple[list[Entry], int]:
        collection, current = resource.collection, self._store.version
        token = query.get("continue")
        wanted, match = self._version(query), query.get("resourceVersionMatch", "")
        if token:
            version, after = decode_continue(token)
            if version < collection.floor or version < self._store.compacted:
                raise errors.expired(CONTINUE_EXPIRED)
            return [e for e in collection.select_at(version, namespace, selector) if e.key > after], version
        self._check_list_version(wanted, match, query)
        if wanted and wanted > current:
            cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
            raise ApiError(
                504,
                f"Too large resource version: {wanted}, current: {current}",
                details={"causes": [cause]},
                retry_after=1,
            )
        if wanted and match == "Exact" and wanted != current:
            if wanted < self._store.compacted:
                raise collection.too_old(wanted)
            return collection.select_at(wanted, namespace, selector), wanted
        return collection.select(namespace, selector), current

    @staticmethod
    def _check_list_version(wanted: int | None, match: str, query: Query) -> None:
        why = ""
        if match and wanted is None:
            why = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
        elif match not in ("", "Exact", "NotOlderThan"):
            why = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""'
        elif match == "Exact" and wanted == 0:
            why = 'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        elif "sendInitialEvents" in query:
            why = "Forbidden: sendInitialEvents is forbidden for list"
        if why:
            cause = Cause("resourceVersionMatch", why, "FieldValueForbidden")
            raise errors.invalid("meta.k8s.io", "ListOptions", "", [cause])

    # -- writes --------------------------------------------------------------------------------------------

    async def _body(self, request: web.BaseRequest, *, yaml_too: bool = False) -> Any:
        body = await request.read()
        kind = request.headers.get("Content-Type", JSON).partition(";")[0].strip()
        if "protobuf" in kind:
            raise ApiError(415, PROTOBUF_REFUSAL)
        if not body:
            return None
        try:
            if "yaml" in kind or yaml_too:
                return from_yaml(body)
            return orjson.loads(body)
        except (orjson.JSONDecodeError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise ApiError(400, f"the body of the request could not be decoded: {error}") from error

    @staticmethod
    def _write_options(query: Query) -> WriteOptions:
        dry_run = query.get("dryRun")
        if dry_run not in (None, "", "All"):
            text = f'Unsupported value: "{dry_run}": supported values: "All"'
            raise errors.invalid("meta.k8s.io", "PatchOptions", "", [Cause("dryRun", text, "FieldValueNotSupported")])
        return WriteOptions(
            dry_run=dry_run == "All",
            validation=query.get("fieldValidation") or "Warn",
            manager=query.get("fieldManager", ""),
        )

    async def _write(self, request: web.BaseRequest, resource: Resource, target: Target, query: Query) -> web.Response:
        method, key = request.method, (target.namespace, target.name)
        self._check_verb(resource, target, method)
        options = self._write_options(query)
        if method == "DELETE":
            return await self._delete(request, resource, target, query)
        if method == "PATCH":
            kind = self._patch_kind(request, resource)
            patch = await self._body(request, yaml_too=kind == "application/apply-patch+yaml")
            code, data = self._objects.patch(resource, key, kind, patch, options)
        elif method == "PUT":
            code, data = self._objects.update(resource, key, await self._object(request), options)
        else:
            namespace = target.namespace
            code, data = 201, self._objects.create(resource, namespace, await self._object(request), options)
        return warned(answer(data, code), options)

    async def _object(self, request: web.BaseRequest) -> Object:
        body = await self._body(request)
        if not isinstance(body, dict):
            raise ApiError(400, "the body of the request is not an object")
        return body

    @staticmethod
    def _check_verb(resource: Resource, target: Target, method: str) -> None:
        named = {"PUT": "update", "PATCH": "patch", "DELETE": "delete"}
        verb = named.get(method) if target.name else {"POST": "create", "DELETE": "deletecollection"}.get(method)
        if verb not in resource.verbs:
            raise ApiError(405, "the server does not allow this method on the requested resource", details={})
        if resource.namespaced and not target.namespace and verb != "deletecollection":
            raise ApiError(405, "the server does not allow this method on the requested resource", details={})

    @staticmethod
    def _patch_kind(request: web.BaseRequest, resource: Resource) -> str:
        kind = request.headers.get("Content-Type", "").partition(";")[0].strip()
        if kind not in PATCHES or (not resource.builtin and "strategic" in kind):
            accepted = sorted(PATCHES - (set() if resource.builtin else {"application/strategic-merge-patch+json"}))
            text = "the body of the request was in an unknown format - accepted media types include: "
            raise ApiError(415, text + ", ".join(accepted))
        return kind

    async def _delete(self, request: web.BaseRequest, resource: Resource, target: Target, query: Query) -> web.Response:
        body = await self._body(request)
        options = delete_options(body if isinstance(body, dict) else {}, query)
        if target.name:
            code, data = self._lifecycle.delete(resource, (target.namespace, target.name), options)
            return answer(data, code)
        supported = {"metadata.name": None, "metadata.namespace": None, **resource.collection.field_readers}
        selector = parse_selector(query.get("labelSelector", ""), query.get("fieldSelector", ""), supported)
        items = []
        for entry in resource.collection.select(target.namespace, selector):
            items.append(resource.text(entry.data))
            self._lifecycle.delete(resource, entry.key, options)
        head = {"kind": resource.list_kind, "apiVersion": resource.group_version}
        start = orjson.dumps({**head, "metadata": {"resourceVersion": str(self._store.version)}})[:-1]
        return answer(b'%s,"items":[%s]}' % (start, b",".join(items)))

    # -- subresources --------------------------------------------------------------------------------------

    async def _subresource(
        self, request: web.BaseRequest, resource: Resource, target: Target, query: Query
    ) -> web.Response:
        sub = resource.subresources.get(target.sub)
        verb = {"GET": "get", "PUT": "update", "PATCH": "patch", "POST": "create"}.get(request.method)
        if sub is None:
            raise errors.no_such_path()
        if verb not in sub.verbs:
            raise ApiError(405, "the server does not allow this method on the requested resource", details={})
        key, options = (target.namespace, target.name), self._write_options(query)
        if target.sub == "scale":
            return await self._scaled(request, resource, key, options)
        if request.method == "GET":
            return self._get(request, resource, target)
        if request.method == "PATCH":
            kind = self._patch_kind(request, resource)
            patch = await self._body(request, yaml_too=kind == "application/apply-patch+yaml")
            code, data = self._objects.patch(resource, key, kind, patch, options, target.sub)
        elif request.method == "PUT":
            code, data = self._objects.update(resource, key, await self._object(request), options, target.sub)
        else:
            code, data = self._action(resource, key, target.sub, await self._object(request), options)
        return warned(answer(data, code), options)

    async def _scaled(
        self, request: web.BaseRequest, resource: Resource, key: Key, options: WriteOptions
    ) -> web.Response:
        if request.method == "GET":
            return answer(orjson.dumps(self._scale.get(resource, key)))
        if request.method == "PUT":
            return answer(orjson.dumps(self._scale.put(resource, key, await self._object(request), options)))
        kind = self._patch_kind(request, resource)
        patch = await self._body(request, yaml_too=kind == "application/apply-patch+yaml")
        return answer(orjson.dumps(self._scale.patch(resource, key, kind, patch, options)))

    def _action(self, resource: Resource, key: Key, sub: str, body: Object, options: WriteOptions) -> tuple[int, bytes]:
        """The subresources that are only created: a pod's binding and eviction, a service account's token."""
        entry = resource.collection.objects.get(key)
        if entry is None:
            raise errors.not_found(resource.group, resource.plural, key[1])
        if sub == "binding":
            if not options.dry_run:
                actions.bind(resource, entry, str((body.get("target") or {}).get("name", "")))
        elif sub == "eviction":
            inner = body.get("deleteOptions")
            self._lifecycle.delete(resource, key, delete_options(inner if isinstance(inner, dict) else {}, {}))
        elif sub == "token":
            return 201, orjson.dumps(actions.token(body, *key))
        return 201, orjson.dumps(errors.success({}, 201))

    async def _review(self, request: web.BaseRequest, resource: Resource) -> web.Response:
        if request.method != "POST":
            raise ApiError(405, "the server does not allow this method on the requested resource", details={})
        body = await self._object(request)
        status = actions.REVIEWS[resource.plural](body)
        obj = {"apiVersion": resource.group_version, "kind": resource.kind, "metadata": {}, **body, "status": status}
        return answer(orjson.dumps(obj), 201)


def warned(response: web.Response, options: WriteOptions) -> web.Response:
    for text in options.warnings:
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')
    return response
