"""Validation of objects beyond their schema: names and metadata of all kinds, and the builtin rules that matter.

Each rule yields the causes of a refusal; `objects` collects them into one 422.  Only rules that a manifest for
this project can plausibly break are here: shapes come from the schema, and the rest the real server would add.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any

from .errors import Cause, Object

LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
SUBDOMAIN = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
QUALIFIED = re.compile(r"^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$")
KEY = re.compile(r"^[-._a-zA-Z0-9]+$")
LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
    "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
IMMUTABLE = "field is immutable"
POD_MUTABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
LABEL_NAMED = {("", "namespaces"), ("", "services")}
PATH_NAMED = {"rbac.authorization.k8s.io"}

Causes = Iterator[Cause]


def wrong(field: str, value: Any, why: str) -> Cause:
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return Cause(field, f"Invalid value: {text}: {why}")


def required(field: str, why: str = "") -> Cause:
    return Cause(field, "Required value" + (f": {why}" if why else ""), "FieldValueRequired")


def unsupported(field: str, value: Any, allowed: tuple[str, ...]) -> Cause:
    names = ", ".join(f'"{name}"' for name in allowed)
    return Cause(field, f'Unsupported value: "{value}": supported values: {names}', "FieldValueNotSupported")


def denied(field: str, why: str) -> Cause:
    return Cause(field, f"Forbidden: {why}", "FieldValueForbidden")


# -- metadata --------------------------------------------------------------------------------------------


def name_causes(group: str, plural: str, name: str, field: str = "metadata.name") -> Causes:
    if group in PATH_NAMED:
        if name in (".", "..") or "/" in name or "%" in name:
            yield wrong(field, name, "may not contain '/' or '%'")
    elif (group, plural) in LABEL_NAMED:
        if len(name) > 63:
            yield wrong(field, name, "must be no more than 63 characters")
        elif not LABEL.match(name):
            yield wrong(field, name, LABEL_TEXT)
    elif len(name) > 253:
        yield wrong(field, name, "must be no more than 253 characters")
    elif not SUBDOMAIN.match(name):
        yield wrong(field, name, SUBDOMAIN_TEXT)


def _qualified(name: str) -> bool:
    prefix, slash, last = name.rpartition("/")
    if slash and not SUBDOMAIN.match(prefix):
        return False
    return len(last) <= 63 and QUALIFIED.match(last) is not None


def label_causes(labels: Object, field: str) -> Causes:
    for key, value in labels.items():
        if not _qualified(key):
            yield wrong(field, key, "name part must consist of alphanumeric characters, '-', '_' or '.'")
        if len(value) > 63:
            yield wrong(field, value, "must be no more than 63 characters")
        elif value and not QUALIFIED.match(value):
            yield wrong(field, value, LABEL_VALUE_TEXT)


def metadata_causes(meta: Object) -> Causes:
    yield from label_causes(meta.get("labels") or {}, "metadata.labels")
    for key in meta.get("annotations") or ():
        if not _qualified(key.lower()):
            text = "name part must consist of alphanumeric characters, '-', '_' or '.'"
            yield wrong("metadata.annotations", key, text)
    if sum(len(k) + len(v) for k, v in (meta.get("annotations") or {}).items()) > 262144:
        yield Cause("metadata.annotations", "Too long: may not be more than 262144 bytes", "FieldValueTooLong")
    for index, finalizer in enumerate(meta.get("finalizers") or ()):
        if not _qualified(finalizer):
            yield wrong(f"metadata.finalizers[{index}]", finalizer, "name is not a qualified name")
    controllers = [owner for owner in meta.get("ownerReferences") or () if owner.get("controller")]
    if len(controllers) > 1:
        yield Cause("metadata.ownerReferences", "Invalid value: only one reference can have Controller set to true")


# -- kinds -----------------------------------------------------------------------------------------------


def port_cause(field: str, value: Any) -> Causes:
    if not isinstance(value, int) or not 1 <= value <= 65535:
        yield wrong(field, value, "must be between 1 and 65535, inclusive")


def one_of(field: str, value: Any, allowed: tuple[str, ...]) -> Causes:
    if value not in allowed:
        yield unsupported(field, value, allowed)


PROTOCOLS = ("SCTP", "TCP", "UDP")


def pod_spec_causes(spec: Object, field: str, restart: tuple[str, ...] = ("Always", "OnFailure", "Never")) -> Causes:
    if not spec.get("containers"):
        yield required(f"{field}.containers")
    yield from one_of(f"{field}.restartPolicy", spec.get("restartPolicy"), restart)
    policies = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
    yield from one_of(f"{field}.dnsPolicy", spec.get("dnsPolicy"), policies)
    volumes = [volume["name"] for volume in spec.get("volumes") or () if "name" in volume]
    for index, volume in enumerate(volumes):
        if not LABEL.match(volume):
            yield wrong(f"{field}.volumes[{index}].name", volume, LABEL_TEXT)
        if volume in volumes[:index]:
            yield Cause(f"{field}.volumes[{index}].name", f'Duplicate value: "{volume}"', "FieldValueDuplicate")
    names: set[str] = set()
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group) or ()):
            yield from container_causes(container, f"{field}.{group}[{index}]", set(volumes), names)
    for index, toleration in enumerate(spec.get("tolerations") or ()):
        operator = toleration.get("operator", "Equal")
        yield from one_of(f"{field}.tolerations[{index}].operator", operator, ("Equal", "Exists", "Lt", "Gt"))


def container_causes(container: Object, field: str, volumes: set[str], names: set[str]) -> Causes:
    name = container.get("name", "")
    if name and not LABEL.match(name):
        yield wrong(f"{field}.name", name, LABEL_TEXT)
    if name in names:
        yield Cause(f"{field}.name", f'Duplicate value: "{name}"', "FieldValueDuplicate")
    names.add(name)
    if not container.get("image"):
        yield required(f"{field}.image")
    yield from one_of(f"{field}.imagePullPolicy", container.get("imagePullPolicy"), ("Always", "IfNotPresent", "Never"))
    for index, port in enumerate(container.get("ports") or ()):
        yield from port_cause(f"{field}.ports[{index}].containerPort", port.get("containerPort"))
        yield from one_of(f"{field}.ports[{index}].protocol", port.get("protocol"), PROTOCOLS)
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        if mount.get("name") and mount["name"] not in volumes:
            yield Cause(f"{field}.volumeMounts[{index}].name", f'Not found: "{mount["name"]}"', "FieldValueNotFound")


def pod_causes(obj: Object, old: Object | None) -> Causes:
    spec = obj["spec"]
    yield from pod_spec_causes(spec, "spec")
    if old is None:
        return
    before = old["spec"]
    mutable = {"activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates"}
    if _pod_frozen(spec, mutable) != _pod_frozen(before, mutable):
        yield denied("spec", POD_MUTABLE)
    if any(toleration not in (spec.get("tolerations") or ()) for toleration in before.get("tolerations") or ()):
        yield denied("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")
    gates = [gate["name"] for gate in before.get("schedulingGates") or ()]
    if any(gate["name"] not in gates for gate in spec.get("schedulingGates") or ()):
        yield denied("spec.schedulingGates", "only deletion is allowed, but found new scheduling gate")


def _pod_frozen(spec: Object, mutable: set[str]) -> Object:
    frozen = {key: value for key, value in spec.items() if key not in mutable and value not in ({}, [])}
    if spec.get("schedulingGates"):
        # A gated pod may still be steered: its node selector and affinity can be narrowed.
        frozen.pop("nodeSelector", None)
        frozen.pop("affinity", None)
    for name in ("containers", "initContainers"):
        if name in frozen:
            frozen[name] = [{k: v for k, v in item.items() if k not in ("image", "resources")} for item in frozen[name]]
    frozen.pop("ephemeralContainers", None)
    return frozen


def workload_causes(obj: Object, old: Object | None) -> Causes:
    spec = obj["spec"]
    selector = spec.get("selector") or {}
    template = spec["template"]
    yield from pod_spec_causes(template["spec"], "spec.template.spec", ("Always",))
    yield from label_causes((template.get("metadata") or {}).get("labels") or {}, "spec.template.labels")
    if "selector" in spec:
        labels = (template.get("metadata") or {}).get("labels") or {}
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            yield Cause("spec.selector", "Invalid value: {}: empty selector is invalid for this resource")
        elif any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
            why = "`selector` does not match template `labels`"
            yield Cause("spec.template.metadata.labels", f"Invalid value: {labels}: {why}")
        if old is not None and selector != old["spec"].get("selector"):
            yield wrong("spec.selector", selector, IMMUTABLE)
    if spec.get("replicas", 0) < 0:
        yield wrong("spec.replicas", spec["replicas"], "must be greater than or equal to 0")


def job_causes(obj: Object, old: Object | None) -> Causes:
    spec = obj["spec"]
    yield from pod_spec_causes(spec["template"]["spec"], "spec.template.spec", ("OnFailure", "Never"))
    if old is not None:
        for name in ("selector", "template", "completionMode"):
            if spec.get(name) != old["spec"].get(name) and not old["spec"].get("suspend"):
                yield wrong(f"spec.{name}", "", IMMUTABLE)


def cron_job_causes(obj: Object, old: Object | None) -> Causes:
    template = obj["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    yield from pod_spec_causes(template, "spec.jobTemplate.spec.template.spec", ("OnFailure", "Never"))
    if len(obj["spec"].get("schedule", "").split()) not in (1, 5):
        yield wrong("spec.schedule", obj["spec"].get("schedule"), "expected exactly 5 fields")


def service_causes(obj: Object, old: Object | None) -> Causes:
    spec = obj["spec"]
    kind = spec.get("type")
    yield from one_of("spec.type", kind, ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort"))
    yield from one_of("spec.sessionAffinity", spec.get("sessionAffinity"), ("ClientIP", "None"))
    ports = spec.get("ports") or []
    headless = spec.get("clusterIP") == "None"
    if not ports and not headless and kind != "ExternalName":
        yield required("spec.ports")
    if kind == "ExternalName" and not spec.get("externalName"):
        yield required("spec.externalName")
    if headless and kind in ("NodePort", "LoadBalancer"):
        yield wrong("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")
    seen: set[Any] = set()
    for index, port in enumerate(ports):
        field = f"spec.ports[{index}]"
        if len(ports) > 1 and not port.get("name"):
            yield required(f"{field}.name")
        elif port.get("name"):
            if not LABEL.match(port["name"]):
                yield wrong(f"{field}.name", port["name"], LABEL_TEXT)
            if port["name"] in seen:
                yield Cause(f"{field}.name", f'Duplicate value: "{port["name"]}"', "FieldValueDuplicate")
            seen.add(port["name"])
        yield from port_cause(f"{field}.port", port.get("port"))
        yield from one_of(f"{field}.protocol", port.get("protocol"), PROTOCOLS)
        if isinstance(port.get("targetPort"), int):
            yield from port_cause(f"{field}.targetPort", port["targetPort"])
        if port.get("nodePort") and kind in ("ClusterIP", "ExternalName"):
            yield denied(f"{field}.nodePort", f"may not be used when `type` is '{kind}'")
    yield from label_causes(spec.get("selector") or {}, "spec.selector")
    if old is not None and kind != "ExternalName" and old["spec"].get("type") != "ExternalName":
        before = old["spec"].get("clusterIP")
        if before and spec.get("clusterIP") != before:
            ips = str(spec.get("clusterIPs") or [spec.get("clusterIP", "")])
            yield Cause("spec.clusterIPs[0]", f"Invalid value: {ips}: may not change once set")


def is_cidr(text: Any) -> bool:
    if not isinstance(text, str) or "/" not in text:
        return False
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def network_policy_causes(obj: Object, old: Object | None) -> Causes:
    spec = obj["spec"]
    for index, kind in enumerate(spec.get("policyTypes") or ()):
        yield from one_of(f"spec.policyTypes[{index}]", kind, ("Ingress", "Egress"))
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for rule_index, rule in enumerate(spec.get(direction) or ()):
            field = f"spec.{direction}[{rule_index}]"
            for index, port in enumerate(rule.get("ports") or ()):
                yield from one_of(f"{field}.ports[{index}].protocol", port.get("protocol"), PROTOCOLS)
                if isinstance(port.get("port"), int):
                    yield from port_cause(f"{field}.ports[{index}].port", port["port"])
            for index, peer in enumerate(rule.get(peers) or ()):
                yield from _peer_causes(peer, f"{field}.{peers}[{index}]")


def _peer_causes(peer: Object, field: str) -> Causes:
    if not peer:
        yield required(field, "must specify a peer")
    block = peer.get("ipBlock")
    if block is None:
        return
    if len(peer) > 1:
        yield denied(field, "may not specify both ipBlock and another peer")
    if not is_cidr(block.get("cidr")):
        yield wrong(
            f"{field}.ipBlock.cidr",
            block.get("cidr", ""),
            "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        )
        return
    whole = ipaddress.ip_network(block["cidr"], strict=False)
    for index, text in enumerate(block.get("except") or ()):
        part = ipaddress.ip_network(text, strict=False) if is_cidr(text) else None
        inside = part is not None and part.version == whole.version and part.subnet_of(whole)  # type: ignore[arg-type]
        if not inside or part == whole:
            why = "must be a strict subset of `cidr`"
            yield wrong(f"{field}.ipBlock.except[{index}]", text, why)


def endpoint_slice_causes(obj: Object, old: Object | None) -> Causes:
    yield from one_of("addressType", obj.get("addressType"), ("FQDN", "IPv4", "IPv6"))
    if old is not None and obj.get("addressType") != old.get("addressType"):
        yield wrong("addressType", obj.get("addressType"), IMMUTABLE)
    for index, endpoint in enumerate(obj.get("endpoints") or ()):
        if not endpoint.get("addresses"):
            yield required(f"endpoints[{index}].addresses", "must contain at least 1 address")


def data_causes(obj: Object, old: Object | None) -> Causes:
    for name in ("data", "binaryData"):
        for key in obj.get(name) or ():
            if not KEY.match(key) or len(key) > 253:
                why = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
                yield wrong(f"{name}[{key}]", key, why)
    if old is not None and old.get("immutable"):
        if not obj.get("immutable"):
            yield denied("immutable", "field is immutable when `immutable` is set")
        if obj.get("data") != old.get("data"):
            yield denied("data", "field is immutable when `immutable` is set")


def secret_causes(obj: Object, old: Object | None) -> Causes:
    yield from data_causes(obj, old)
    if old is not None and obj.get("type") != old.get("type"):
        yield wrong("type", obj.get("type"), IMMUTABLE)


def event_causes(obj: Object, old: Object | None) -> Causes:
    involved = obj["involvedObject"].get("namespace", "") or "default"
    if involved != obj["metadata"].get("namespace"):
        yield wrong(
            "involvedObject.namespace", obj["involvedObject"].get("namespace", ""), "does not match event.namespace"
        )


def binding_causes(obj: Object, old: Object | None) -> Causes:
    if old is not None and obj["roleRef"] != old["roleRef"]:
        yield wrong("roleRef", obj["roleRef"], "cannot change roleRef")


def crd_causes(obj: Object, old: Object | None) -> Causes:
    spec = obj["spec"]
    names = spec["names"]
    if obj["metadata"]["name"] != f"{names.get('plural')}.{spec.get('group')}":
        yield wrong("metadata.name", obj["metadata"]["name"], 'must be spec.names.plural+"."+spec.group')
    yield from one_of("spec.scope", spec.get("scope"), ("Cluster", "Namespaced"))
    versions = spec.get("versions") or []
    if sum(bool(version.get("storage")) for version in versions) != 1:
        why = "must have exactly one version marked as storage version"
        yield Cause("spec.versions", f"Invalid value: {why}")
    for index, version in enumerate(versions):
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if schema is None:
            yield required(f"spec.versions[{index}].schema.openAPIV3Schema", "schemas are required")
        elif schema.get("type") != "object":
            field = f"spec.versions[{index}].schema.openAPIV3Schema.type"
            yield wrong(field, schema.get("type", ""), "must be object at the root")
    if old is not None:
        for name in ("group", "scope"):
            if spec.get(name) != old["spec"].get(name):
                yield wrong(f"spec.{name}", spec.get(name), IMMUTABLE)
        for name in ("plural", "kind"):
            if names.get(name) != old["spec"]["names"].get(name):
                yield wrong(f"spec.names.{name}", names.get(name), IMMUTABLE)


RULES: dict[tuple[str, str], Callable[[Object, Object | None], Causes]] = {
    ("", "pods"): pod_causes,
    ("", "services"): service_causes,
    ("", "configmaps"): data_causes,
    ("", "secrets"): secret_causes,
    ("", "events"): event_causes,
    ("apps", "deployments"): workload_causes,
    ("apps", "statefulsets"): workload_causes,
    ("apps", "daemonsets"): workload_causes,
    ("apps", "replicasets"): workload_causes,
    ("batch", "jobs"): job_causes,
    ("batch", "cronjobs"): cron_job_causes,
    ("networking.k8s.io", "networkpolicies"): network_policy_causes,
    ("discovery.k8s.io", "endpointslices"): endpoint_slice_causes,
    ("rbac.authorization.k8s.io", "rolebindings"): binding_causes,
    ("rbac.authorization.k8s.io", "clusterrolebindings"): binding_causes,
    ("apiextensions.k8s.io", "customresourcedefinitions"): crd_causes,
}


def kind_causes(group: str, plural: str, obj: Object, old: Object | None) -> list[Cause]:
    rule = RULES.get((group, plural))
    return [] if rule is None else list(rule(obj, old))
