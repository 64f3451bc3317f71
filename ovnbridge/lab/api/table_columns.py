"""The printer columns of builtin kinds, as the real server computes them.

`tables` renders them.  Only what people look at in the lab is exact; rare columns of rare kinds are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .errors import Object
from .timestamps import since


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    cell: Callable[[Object], Any]
    kind: str = "string"
    priority: int = 0
    format: str = ""
    description: str = ""


def _at(*path: str, absent: Any = None) -> Callable[[Object], Any]:
    def read(obj: Object) -> Any:
        value: Any = obj
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return absent if value is None else value

    return read


def _join(values: Iterable[Any], absent: str = "<none>") -> str:
    return ",".join(str(value) for value in values) or absent


def _age(obj: Object) -> str:
    return since(obj["metadata"].get("creationTimestamp"))


NAME = Column("Name", lambda obj: obj["metadata"]["name"], format="name")
AGE = Column("Age", _age)


def _selector(labels: Object | None) -> str:
    return _join(f"{key}={value}" for key, value in sorted((labels or {}).items()))


def _full_selector(selector: Object | None) -> str:
    parts = [f"{key}={value}" for key, value in sorted(((selector or {}).get("matchLabels") or {}).items())]
    for rule in (selector or {}).get("matchExpressions") or ():
        operator = rule["operator"]
        if operator in ("In", "NotIn"):
            parts.append(f"{rule['key']} {operator.lower()} ({_join(sorted(rule.get('values') or ()), '')})")
        else:
            parts.append(rule["key"] if operator == "Exists" else f"!{rule['key']}")
    return _join(parts)


# -- pods --------------------------------------------------------------------------------------------------


def _pod_status(obj: Object) -> str:
    status = obj.get("status") or {}
    reason = status.get("reason") or status.get("phase", "")
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    for container in reversed(status.get("containerStatuses") or []):
        state = container.get("state") or {}
        if (state.get("waiting") or {}).get("reason"):
            reason = state["waiting"]["reason"]
        elif "terminated" in state:
            ended = state["terminated"]
            reason = ended.get("reason") or f"ExitCode:{ended.get('exitCode', 0)}"
    if "deletionTimestamp" in obj["metadata"]:
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return str(reason)


def _pod_ready(obj: Object) -> str:
    statuses = (obj.get("status") or {}).get("containerStatuses") or ()
    sidecars = {c["name"] for c in obj["spec"].get("initContainers") or () if c.get("restartPolicy") == "Always"}
    started = [c for c in (obj.get("status") or {}).get("initContainerStatuses") or () if c.get("name") in sidecars]
    ready = sum(bool(container.get("ready")) for container in [*statuses, *started])
    return f"{ready}/{len(obj['spec'].get('containers') or ()) + len(sidecars)}"


def _pod_restarts(obj: Object) -> str:
    statuses = (obj.get("status") or {}).get("containerStatuses") or ()
    return str(sum(container.get("restartCount", 0) for container in statuses))


def _pod_address(obj: Object) -> str:
    status = obj.get("status") or {}
    return str(status.get("podIP") or ((status.get("podIPs") or [{}])[0]).get("ip") or "<none>")


def _pod_gates(obj: Object) -> str:
    gates = obj["spec"].get("readinessGates")
    if not gates:
        return "<none>"
    held = {c.get("type"): c.get("status") for c in (obj.get("status") or {}).get("conditions") or ()}
    return f"{sum(held.get(gate['conditionType']) == 'True' for gate in gates)}/{len(gates)}"


POD = [
    NAME,
    Column("Ready", _pod_ready),
    Column("Status", _pod_status),
    Column("Restarts", _pod_restarts),
    AGE,
    Column("IP", _pod_address, priority=1),
    Column("Node", _at("spec", "nodeName", absent="<none>"), priority=1),
    Column("Nominated Node", _at("status", "nominatedNodeName", absent="<none>"), priority=1),
    Column("Readiness Gates", _pod_gates, priority=1),
]


# -- workloads ---------------------------------------------------------------------------------------------


def _template(obj: Object) -> Object:
    spec = obj["spec"].get("jobTemplate", obj).get("spec") or {}
    template: Object = (spec.get("template") or {}).get("spec") or {}
    return template


def _images(field: str) -> Callable[[Object], str]:
    return lambda obj: _join((c.get(field, "") for c in _template(obj).get("containers") or ()), "")


CONTAINERS = [
    Column("Containers", _images("name"), priority=1),
    Column("Images", _images("image"), priority=1),
]
SELECTOR = Column("Selector", lambda obj: _full_selector(obj["spec"].get("selector")), priority=1)


def _count(*path: str) -> Callable[[Object], Any]:
    return _at(*path, absent=0)


def _ready_of(obj: Object) -> str:
    return f"{_count('status', 'readyReplicas')(obj)}/{_count('spec', 'replicas')(obj)}"


def _job_status(obj: Object) -> str:
    held = {c.get("type") for c in (obj.get("status") or {}).get("conditions") or () if c.get("status") == "True"}
    for kind, text in (("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended")):
        if kind in held:
            return text
    return "Terminating" if "deletionTimestamp" in obj["metadata"] else "Running"


def _job_duration(obj: Object) -> str:
    status = obj.get("status") or {}
    return since(status["startTime"]) if status.get("startTime") and not status.get("completionTime") else ""


def _job_completions(obj: Object) -> str:
    return f"{_count('status', 'succeeded')(obj)}/{_at('spec', 'completions', absent=1)(obj)}"


def _job_selector(obj: Object) -> str:
    return _full_selector((obj["spec"]["jobTemplate"].get("spec") or {}).get("selector"))


def _last_schedule(obj: Object) -> str:
    last = (obj.get("status") or {}).get("lastScheduleTime")
    return since(last) if last else "<none>"


def _controller(obj: Object) -> str:
    return _join(f"{owner['kind']}/{owner['name']}" for owner in obj["metadata"].get("ownerReferences") or ())


# -- services and their relatives --------------------------------------------------------------------------


def _external(obj: Object) -> str:
    spec = obj["spec"]
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", "<none>"))
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    found = [str(item.get("ip") or item.get("hostname")) for item in ingress] + list(spec.get("externalIPs") or ())
    return _join(found, "<pending>" if spec.get("type") == "LoadBalancer" else "<none>")


def _ports(obj: Object) -> str:
    texts = []
    for port in obj["spec"].get("ports") or ():
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        texts.append(f"{port['port']}{node}/{port.get('protocol', 'TCP')}")
    return _join(texts)


def _endpoints(obj: Object) -> str:
    texts = []
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or [{}]:
            for address in subset.get("addresses") or ():
                host = f"[{address['ip']}]" if ":" in address["ip"] else address["ip"]
                texts.append(f"{host}:{port['port']}" if "port" in port else address["ip"])
    more = f" + {len(texts) - 3} more..." if len(texts) > 3 else ""
    return _join(texts[:3]) + more


def _slice_addresses(obj: Object) -> str:
    found = [address for endpoint in obj.get("endpoints") or () for address in endpoint.get("addresses") or ()]
    return _join(found[:3], "<unset>") + (f" + {len(found) - 3} more..." if len(found) > 3 else "")


def _slice_ports(obj: Object) -> str:
    return _join((port.get("port", "*") for port in obj.get("ports") or ()), "<unset>")


def _ingress_hosts(obj: Object) -> str:
    return _join((rule["host"] for rule in obj["spec"].get("rules") or () if rule.get("host")), "*")


def _ingress_address(obj: Object) -> str:
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return _join((item.get("ip") or item.get("hostname") for item in ingress), "")


# -- nodes, events, the rest ---------------------------------------------------------------------------------


def _node_status(obj: Object) -> str:
    conditions = {c.get("type"): c.get("status") for c in (obj.get("status") or {}).get("conditions") or ()}
    texts = ["Ready" if conditions["Ready"] == "True" else "NotReady"] if "Ready" in conditions else ["Unknown"]
    if obj["spec"].get("unschedulable"):
        texts.append("SchedulingDisabled")
    return _join(texts)


def _node_roles(obj: Object) -> str:
    prefix = "node-role.kubernetes.io/"
    return _join(sorted(k.removeprefix(prefix) for k in obj["metadata"].get("labels") or () if k.startswith(prefix)))


def _node_address(kind: str) -> Callable[[Object], str]:
    def read(obj: Object) -> str:
        addresses = (obj.get("status") or {}).get("addresses") or ()
        return next((a["address"] for a in addresses if a.get("type") == kind), "<none>")

    return read


def _node_info(name: str) -> Callable[[Object], Any]:
    return _at("status", "nodeInfo", name, absent="<unknown>")


def _event_object(obj: Object) -> str:
    involved = obj.get("involvedObject") or obj.get("regarding") or {}
    return f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"


def _event_seen(obj: Object) -> str:
    last = (obj.get("series") or {}).get("lastObservedTime") or obj.get("lastTimestamp") or obj.get("eventTime")
    return since(last or obj.get("deprecatedLastTimestamp"))


def _role_ref(obj: Object) -> str:
    return f"{obj['roleRef']['kind']}/{obj['roleRef']['name']}"


def _or_none(value: Any) -> str:
    return "N/A" if value is None else str(value)


def _subjects(kind: str) -> Callable[[Object], str]:
    def read(obj: Object) -> str:
        found = [subject for subject in obj.get("subjects") or () if subject.get("kind") == kind]
        prefix = "{namespace}/{name}" if kind == "ServiceAccount" else "{name}"
        return _join((prefix.format(**{"namespace": "", **subject}) for subject in found), "")

    return read


BINDING = [
    NAME,
    Column("Role", _role_ref),
    AGE,
    Column("Users", _subjects("User"), priority=1),
    Column("Groups", _subjects("Group"), priority=1),
    Column("ServiceAccounts", _subjects("ServiceAccount"), priority=1),
]
DATA = [NAME, Column("Data", lambda obj: len(obj.get("data") or ()) + len(obj.get("binaryData") or ())), AGE]
WEBHOOKS = [NAME, Column("Webhooks", lambda obj: len(obj.get("webhooks") or ()), "integer"), AGE]

BUILTIN_COLUMNS: dict[tuple[str, str], list[Column]] = {
    ("", "pods"): POD,
    ("", "namespaces"): [NAME, Column("Status", _at("status", "phase")), AGE],
    ("", "nodes"): [
        NAME,
        Column("Status", _node_status),
        Column("Roles", _node_roles),
        AGE,
        Column("Version", _at("status", "nodeInfo", "kubeletVersion", absent="")),
        Column("Internal-IP", _node_address("InternalIP"), priority=1),
        Column("External-IP", _node_address("ExternalIP"), priority=1),
        Column("OS-Image", _node_info("osImage"), priority=1),
        Column("Kernel-Version", _node_info("kernelVersion"), priority=1),
        Column("Container-Runtime", _node_info("containerRuntimeVersion"), priority=1),
    ],
    ("", "services"): [
        NAME,
        Column("Type", _at("spec", "type")),
        Column("Cluster-IP", lambda obj: obj["spec"].get("clusterIP") or "<none>"),
        Column("External-IP", _external),
        Column("Port(s)", _ports),
        AGE,
        Column("Selector", lambda obj: _selector(obj["spec"].get("selector")), priority=1),
    ],
    ("", "endpoints"): [NAME, Column("Endpoints", _endpoints), AGE],
    ("", "configmaps"): DATA,
    ("", "secrets"): [
        NAME,
        Column("Type", _at("type")),
        Column("Data", lambda obj: len(obj.get("data") or ())),
        AGE,
    ],
    ("", "events"): [
        Column("Last Seen", _event_seen),
        Column("Type", _at("type", absent="")),
        Column("Reason", _at("reason", absent="")),
        Column("Object", _event_object),
        Column("Subobject", _at("involvedObject", "fieldPath", absent=""), priority=1),
        Column("Source", _at("source", "component", absent=""), priority=1),
        Column("Message", lambda obj: str(obj.get("message") or obj.get("note") or "").strip()),
        Column("First Seen", lambda obj: since(obj.get("firstTimestamp") or obj.get("eventTime")), priority=1),
        Column("Count", lambda obj: obj.get("count") or 1, priority=1),
        Column("Name", lambda obj: obj["metadata"]["name"], priority=1, format="name"),
    ],
    ("", "persistentvolumeclaims"): [
        NAME,
        Column("Status", _at("status", "phase", absent="")),
        Column("Volume", _at("spec", "volumeName", absent="")),
        Column("Capacity", _at("status", "capacity", "storage", absent="")),
        Column("Access Modes", lambda obj: _join((obj.get("status") or {}).get("accessModes") or (), "")),
        Column("StorageClass", _at("spec", "storageClassName", absent="")),
        Column("VolumeAttributesClass", _at("spec", "volumeAttributesClassName", absent="<unset>")),
        AGE,
        Column("VolumeMode", _at("spec", "volumeMode", absent="<unset>"), priority=1),
    ],
    ("apps", "deployments"): [
        NAME,
        Column("Ready", _ready_of),
        Column("Up-to-date", _count("status", "updatedReplicas"), "integer"),
        Column("Available", _count("status", "availableReplicas"), "integer"),
        AGE,
        *CONTAINERS,
        SELECTOR,
    ],
    ("apps", "replicasets"): [
        NAME,
        Column("Desired", _count("spec", "replicas"), "integer"),
        Column("Current", _count("status", "replicas"), "integer"),
        Column("Ready", _count("status", "readyReplicas"), "integer"),
        AGE,
        *CONTAINERS,
        SELECTOR,
    ],
    ("apps", "statefulsets"): [NAME, Column("Ready", _ready_of), AGE, *CONTAINERS],
    ("apps", "daemonsets"): [
        NAME,
        Column("Desired", _count("status", "desiredNumberScheduled"), "integer"),
        Column("Current", _count("status", "currentNumberScheduled"), "integer"),
        Column("Ready", _count("status", "numberReady"), "integer"),
        Column("Up-to-date", _count("status", "updatedNumberScheduled"), "integer"),
        Column("Available", _count("status", "numberAvailable"), "integer"),
        Column("Node Selector", lambda obj: _selector(_template(obj).get("nodeSelector"))),
        AGE,
        *CONTAINERS,
        SELECTOR,
    ],
    ("apps", "controllerrevisions"): [
        NAME,
        Column("Controller", _controller),
        Column("Revision", _count("revision"), "integer"),
        AGE,
    ],
    ("batch", "jobs"): [
        NAME,
        Column("Status", _job_status),
        Column("Completions", _job_completions),
        Column("Duration", _job_duration),
        AGE,
        *CONTAINERS,
        SELECTOR,
    ],
    ("batch", "cronjobs"): [
        NAME,
        Column("Schedule", _at("spec", "schedule")),
        Column("Timezone", _at("spec", "timeZone", absent="<none>")),
        Column("Suspend", lambda obj: str(bool(obj["spec"].get("suspend"))), "boolean"),
        Column("Active", lambda obj: len((obj.get("status") or {}).get("active") or ()), "integer"),
        Column("Last Schedule", _last_schedule),
        AGE,
        *CONTAINERS,
        Column("Selector", _job_selector, priority=1),
    ],
    ("discovery.k8s.io", "endpointslices"): [
        NAME,
        Column("AddressType", _at("addressType")),
        Column("Ports", _slice_ports),
        Column("Endpoints", _slice_addresses),
        AGE,
    ],
    ("networking.k8s.io", "networkpolicies"): [
        NAME,
        Column("Pod-Selector", lambda obj: _full_selector(obj["spec"].get("podSelector"))),
        AGE,
    ],
    ("networking.k8s.io", "ingresses"): [
        NAME,
        Column("Class", _at("spec", "ingressClassName", absent="<none>")),
        Column("Hosts", _ingress_hosts),
        Column("Address", _ingress_address),
        Column("Ports", lambda obj: "80, 443" if obj["spec"].get("tls") else "80"),
        AGE,
    ],
    ("networking.k8s.io", "ingressclasses"): [
        NAME,
        Column("Controller", _at("spec", "controller", absent="")),
        Column("Parameters", lambda obj: (obj["spec"].get("parameters") or {}).get("name", "<none>")),
        AGE,
    ],
    ("scheduling.k8s.io", "priorityclasses"): [
        NAME,
        Column("Value", _count("value"), "integer"),
        Column("Global-Default", _at("globalDefault", absent=False), "boolean"),
        AGE,
        Column("PreemptionPolicy", _at("preemptionPolicy")),
    ],
    ("networking.k8s.io", "servicecidrs"): [
        NAME,
        Column("CIDRs", lambda obj: _join(obj["spec"].get("cidrs") or ())),
        AGE,
    ],
    ("coordination.k8s.io", "leases"): [NAME, Column("Holder", _at("spec", "holderIdentity", absent="")), AGE],
    ("policy", "poddisruptionbudgets"): [
        NAME,
        Column("Min Available", lambda obj: _or_none(obj["spec"].get("minAvailable"))),
        Column("Max Unavailable", lambda obj: _or_none(obj["spec"].get("maxUnavailable"))),
        Column("Allowed Disruptions", _count("status", "disruptionsAllowed"), "integer"),
        AGE,
    ],
    ("rbac.authorization.k8s.io", "roles"): [NAME, Column("Created At", _at("metadata", "creationTimestamp"), "date")],
    ("rbac.authorization.k8s.io", "clusterroles"): [
        NAME,
        Column("Created At", _at("metadata", "creationTimestamp"), "date"),
    ],
    ("rbac.authorization.k8s.io", "rolebindings"): BINDING,
    ("rbac.authorization.k8s.io", "clusterrolebindings"): BINDING,
    ("apiextensions.k8s.io", "customresourcedefinitions"): [
        NAME,
        Column("Created At", _at("metadata", "creationTimestamp"), "date"),
    ],
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): WEBHOOKS,
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"): WEBHOOKS,
    ("storage.k8s.io", "storageclasses"): [
        NAME,
        Column("Provisioner", _at("provisioner")),
        Column("ReclaimPolicy", _at("reclaimPolicy", absent="Delete")),
        Column("VolumeBindingMode", _at("volumeBindingMode", absent="Immediate")),
        Column("AllowVolumeExpansion", _at("allowVolumeExpansion", absent=False)),
        AGE,
    ],
}  # fmt: skip
BUILTIN_COLUMNS["events.k8s.io", "events"] = BUILTIN_COLUMNS["", "events"]
