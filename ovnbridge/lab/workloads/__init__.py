"""Stand-ins for the scheduler and the workload controllers: small level-triggered reconcilers over one watch cache.

Nothing polls, and nothing is written when nothing changes.
"""

from __future__ import annotations

from ovnbridge.lab.informer import Informers
from ovnbridge.lab.tasks import Tasks
from ovnbridge.lab.workloads.accounts import ServiceAccounts
from ovnbridge.lab.workloads.daemons import DaemonSets
from ovnbridge.lab.workloads.deployments import Deployments
from ovnbridge.lab.workloads.endpoints import EndpointSlices
from ovnbridge.lab.workloads.jobs import Jobs
from ovnbridge.lab.workloads.reconciler import Reconciler
from ovnbridge.lab.workloads.replicas import ReplicaSets
from ovnbridge.lab.workloads.scheduler import Scheduler
from ovnbridge.lab.workloads.stateful import StatefulSets

_ALL: tuple[type[Reconciler], ...] = (
    Scheduler,
    Deployments,
    ReplicaSets,
    StatefulSets,
    DaemonSets,
    Jobs,
    EndpointSlices,
    ServiceAccounts,
)


def start_workloads(informers: Informers, tasks: Tasks) -> None:
    """Adds all stand-ins to the informers and starts their tasks."""
    for reconciler in [kind(informers) for kind in _ALL]:
        tasks.start(reconciler.name, reconciler.run())
