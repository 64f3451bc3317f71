"""Kubernetes Events: what `kubectl describe` shows of a pod's life in the lab."""

from __future__ import annotations

import asyncio
import uuid

import structlog

from ovnbridge.lab.client import CONNECTION_ERRORS, ApiError, Client, Object
from ovnbridge.lab.moments import now
from ovnbridge.model.resource import EVENT

_MESSAGE_LIMIT = 1024


class Events:
    """Records events of one component; a lost event is logged, never an error."""

    def __init__(self, client: Client, component: str, host: str = "") -> None:
        self._client = client
        self._source = {"component": component, **({"host": host} if host else {})}
        self._sending: set[asyncio.Task[None]] = set()

    def record(self, value: Object, reason: str, message: str, *, warning: bool = False) -> None:
        """Sends an event about an object, in the background."""
        task = asyncio.create_task(self._send(value, reason, message, warning))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, value: Object, reason: str, message: str, warning: bool) -> None:
        metadata = value["metadata"]
        namespace = metadata.get("namespace") or "default"
        moment = now()
        event = {
            "metadata": {"name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}", "namespace": namespace},
            "involvedObject": {
                "apiVersion": value.get("apiVersion", "v1"),
                "kind": value.get("kind", ""),
                "name": metadata["name"],
                "namespace": metadata.get("namespace", ""),
                "uid": metadata.get("uid", ""),
                "resourceVersion": metadata.get("resourceVersion", ""),
            },
            "reason": reason,
            "message": message[:_MESSAGE_LIMIT],
            "type": "Warning" if warning else "Normal",
            "source": self._source,
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
        }
        try:
            await self._client.create(EVENT, event)
        except (ApiError, *CONNECTION_ERRORS) as error:
            structlog.get_logger().info("event_lost", reason=reason, error=repr(error))
