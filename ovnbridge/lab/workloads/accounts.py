"""The ServiceAccount stand-in: every namespace has one called default."""

from __future__ import annotations

from ovnbridge.lab.informer import Informers
from ovnbridge.lab.workloads.reconciler import Reconciler
from ovnbridge.model.resource import NAMESPACE, SERVICE_ACCOUNT


class ServiceAccounts(Reconciler):
    """Made once for each namespace."""

    name = "serviceaccount-controller"

    def __init__(self, informers: Informers) -> None:
        super().__init__(informers)
        self._accounts = informers[SERVICE_ACCOUNT]
        self._namespaces = self.follow(NAMESPACE)

    async def reconcile(self, key: str) -> None:
        namespace = self._namespaces.get(key)
        if namespace is None or namespace["metadata"].get("deletionTimestamp") or self._accounts.get(f"{key}/default"):
            return
        await self.client.create_once(SERVICE_ACCOUNT, {"metadata": {"name": "default", "namespace": key}})
