"""Defaults of the builtin kinds that the real server writes in code rather than in its OpenAPI schema.

`objects` calls `apply_defaults` after the schema walk, on create and on update; the functions are idempotent.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

from .errors import Object

Default = Callable[[Object], None]


def containers_of(spec: Object) -> Iterator[Object]:
    for name in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(name) or ()


def default_pod_spec(spec: Object, *, template: bool = True) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    spec.setdefault("terminationGracePeriodSeconds", 30)
    if "serviceAccountName" in spec:
        spec["serviceAccount"] = spec["serviceAccountName"]
    elif "serviceAccount" in spec:
        spec["serviceAccountName"] = spec["serviceAccount"]
    for container in containers_of(spec):
        default_container(container)
        if not template:
            default_running_container(container, host_network=bool(spec.get("hostNetwork")))
    for volume in spec.get("volumes") or ():
        default_volume(volume)


def default_container(container: Object) -> None:
    if "imagePullPolicy" not in container:
        image = container.get("image", "")
        tag = image.rpartition("/")[2].partition(":")[2]
        latest = "@" not in image and tag in ("", "latest")
        container["imagePullPolicy"] = "Always" if latest else "IfNotPresent"
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in container:
            default_probe(container[name])
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict):
            default_http(hook)
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            reference.setdefault("apiVersion", "v1")


def default_running_container(container: Object, *, host_network: bool) -> None:
    """What is filled in for a pod, but not for the template of one."""
    for port in container.get("ports") or ():
        if host_network and "containerPort" in port:
            port.setdefault("hostPort", port["containerPort"])
    resources = container.get("resources") or {}
    if resources.get("limits"):
        resources["requests"] = {**resources["limits"], **(resources.get("requests") or {})}


def default_probe(probe: Object) -> None:
    for name, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)):
        probe.setdefault(name, value)
    default_http(probe)
    if "grpc" in probe:
        probe["grpc"].setdefault("service", "")


def default_http(handler: Object) -> None:
    if "httpGet" in handler:
        handler["httpGet"].setdefault("path", "/")
        handler["httpGet"].setdefault("scheme", "HTTP")


def default_volume(volume: Object) -> None:
    for source in ("configMap", "secret", "downwardAPI", "projected"):
        if source in volume:
            volume[source].setdefault("defaultMode", 420)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    if len(volume) == 1:
        volume["emptyDir"] = {}
    for source in (volume.get("projected") or {}).get("sources") or ():
        if "serviceAccountToken" in source:
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)
    items = list((volume.get("downwardAPI") or {}).get("items") or ())
    for source in (volume.get("projected") or {}).get("sources") or ():
        items.extend((source.get("downwardAPI") or {}).get("items") or ())
    for item in items:
        if "fieldRef" in item:
            item["fieldRef"].setdefault("apiVersion", "v1")


def quality_of_service(spec: Object) -> str:
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    sets = [container.get("resources") or {} for container in containers]
    if not any(item.get("requests") or item.get("limits") for item in sets):
        return "BestEffort"
    for item in sets:
        requests, limits = item.get("requests") or {}, item.get("limits") or {}
        if any(name not in limits or requests.get(name) != limits[name] for name in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"


def default_pod(obj: Object) -> None:
    spec = obj["spec"]
    default_pod_spec(spec, template=False)
    spec.setdefault("enableServiceLinks", True)
    # What the admission plugins of a usual cluster add.
    spec.setdefault("serviceAccountName", "default")
    spec["serviceAccount"] = spec["serviceAccountName"]
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    spec.setdefault("priority", 0)
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(t.get("key") in (key, None) and t.get("effect") in ("NoExecute", None) for t in tolerations):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
    status = obj["status"]
    status.setdefault("phase", "Pending")
    status.setdefault("qosClass", quality_of_service(spec))
    if spec.get("schedulingGates") and "conditions" not in status:
        status["conditions"] = [
            {
                "type": "PodScheduled",
                "status": "False",
                "lastProbeTime": None,
                "lastTransitionTime": None,
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }
        ]


def default_template(obj: Object) -> None:
    default_pod_spec(obj["spec"]["template"].setdefault("spec", {}))


def default_deployment(obj: Object) -> None:
    spec = obj["spec"]
    default_template(obj)
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)


def default_stateful_set(obj: Object) -> None:
    spec = obj["spec"]
    default_template(obj)
    spec.setdefault("replicas", 1)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("persistentVolumeClaimRetentionPolicy", {"whenDeleted": "Retain", "whenScaled": "Retain"})
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    for claim in spec.get("volumeClaimTemplates") or ():
        claim.update(apiVersion="v1", kind="PersistentVolumeClaim")
        default_claim(claim)


def default_daemon_set(obj: Object) -> None:
    spec = obj["spec"]
    default_template(obj)
    spec.setdefault("revisionHistoryLimit", 10)
    annotations = obj["metadata"].setdefault("annotations", {})
    annotations.setdefault("deprecated.daemonset.template.generation", "1")
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)


def default_replica_set(obj: Object) -> None:
    default_template(obj)
    obj["spec"].setdefault("replicas", 1)


def default_job_spec(spec: Object) -> None:
    default_pod_spec(spec["template"].setdefault("spec", {}))
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("manualSelector", False)
    spec.setdefault("podReplacementPolicy", "TerminatingOrFailed")


def default_job(obj: Object) -> None:
    spec, meta = obj["spec"], obj["metadata"]
    default_job_spec(spec)
    if not spec["manualSelector"] and "selector" not in spec:
        labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
        for prefix in ("batch.kubernetes.io/", ""):
            labels[f"{prefix}controller-uid"] = meta["uid"]
            labels[f"{prefix}job-name"] = meta["name"]
        obj["metadata"].setdefault("labels", dict(labels))
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": meta["uid"]}}


def default_cron_job(obj: Object) -> None:
    spec = obj["spec"]
    spec.setdefault("concurrencyPolicy", "Allow")
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    template = spec["jobTemplate"].setdefault("spec", {})
    default_pod_spec(template.setdefault("template", {}).setdefault("spec", {}))


def default_service(obj: Object) -> None:
    spec = obj["spec"]
    kind = spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if spec["sessionAffinity"] == "ClientIP":
        spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {}).setdefault("timeoutSeconds", 10800)
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))
    if kind != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if kind in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def default_network_policy(obj: Object) -> None:
    spec = obj["spec"]
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    for rule in [*(spec.get("ingress") or ()), *(spec.get("egress") or ())]:
        for port in rule.get("ports") or ():
            port.setdefault("protocol", "TCP")


def default_endpoints(obj: Object) -> None:
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            port.setdefault("protocol", "TCP")


def default_endpoint_slice(obj: Object) -> None:
    obj.setdefault("endpoints", None)
    obj.setdefault("ports", None)
    for port in obj["ports"] or ():
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


def default_secret(obj: Object) -> None:
    obj.setdefault("type", "Opaque")
    for key, value in (obj.pop("stringData", None) or {}).items():
        obj.setdefault("data", {})[key] = base64.b64encode(value.encode()).decode()


def default_claim(obj: Object) -> None:
    obj["spec"].setdefault("volumeMode", "Filesystem")
    obj.setdefault("status", {}).setdefault("phase", "Pending")


def default_volume_object(obj: Object) -> None:
    obj["spec"].setdefault("volumeMode", "Filesystem")
    obj["spec"].setdefault("persistentVolumeReclaimPolicy", "Retain")
    default_volume(obj["spec"])
    obj.setdefault("status", {}).setdefault("phase", "Pending")


def default_event(obj: Object) -> None:
    obj.setdefault("eventTime", None)


def default_node(obj: Object) -> None:
    spec = obj["spec"]
    if spec.get("podCIDR"):
        spec.setdefault("podCIDRs", [spec["podCIDR"]])
    elif spec.get("podCIDRs"):
        spec["podCIDR"] = spec["podCIDRs"][0]


def default_priority_class(obj: Object) -> None:
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")


def default_namespace(obj: Object) -> None:
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"]["name"]
    obj["spec"].setdefault("finalizers", ["kubernetes"])
    obj["status"].setdefault("phase", "Active")


def default_binding(obj: Object) -> None:
    obj["roleRef"].setdefault("apiGroup", "rbac.authorization.k8s.io")
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", "rbac.authorization.k8s.io")
        elif subject.get("kind") == "ServiceAccount":
            subject.pop("apiGroup", None)


def default_webhooks(obj: Object) -> None:
    for webhook in obj.get("webhooks") or ():
        for name, value in (("failurePolicy", "Fail"), ("matchPolicy", "Equivalent"), ("timeoutSeconds", 10)):
            webhook.setdefault(name, value)
        webhook.setdefault("namespaceSelector", {})
        webhook.setdefault("objectSelector", {})
        if obj["kind"] == "MutatingWebhookConfiguration":
            webhook.setdefault("reinvocationPolicy", "Never")
        for rule in webhook.get("rules") or ():
            rule.setdefault("scope", "*")
        service = webhook["clientConfig"].get("service")
        if service:
            service.setdefault("port", 443)


def default_storage_class(obj: Object) -> None:
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")


def default_names(obj: Object) -> None:
    spec = obj["spec"]
    names: dict[str, Any] = spec["names"]
    names.setdefault("singular", names.get("kind", "").lower())
    names.setdefault("listKind", names.get("kind", "") + "List")
    spec.setdefault("conversion", {}).setdefault("strategy", "None")


DEFAULTS: dict[tuple[str, str], Default] = {
    ("", "pods"): default_pod,
    ("", "services"): default_service,
    ("", "endpoints"): default_endpoints,
    ("", "secrets"): default_secret,
    ("", "events"): default_event,
    ("", "nodes"): default_node,
    ("scheduling.k8s.io", "priorityclasses"): default_priority_class,
    ("", "namespaces"): default_namespace,
    ("", "persistentvolumeclaims"): default_claim,
    ("", "persistentvolumes"): default_volume_object,
    ("apps", "deployments"): default_deployment,
    ("apps", "statefulsets"): default_stateful_set,
    ("apps", "daemonsets"): default_daemon_set,
    ("apps", "replicasets"): default_replica_set,
    ("batch", "jobs"): default_job,
    ("batch", "cronjobs"): default_cron_job,
    ("networking.k8s.io", "networkpolicies"): default_network_policy,
    ("discovery.k8s.io", "endpointslices"): default_endpoint_slice,
    ("rbac.authorization.k8s.io", "rolebindings"): default_binding,
    ("rbac.authorization.k8s.io", "clusterrolebindings"): default_binding,
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): default_webhooks,
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"): default_webhooks,
    ("storage.k8s.io", "storageclasses"): default_storage_class,
    ("apiextensions.k8s.io", "customresourcedefinitions"): default_names,
}


def apply_defaults(group: str, plural: str, obj: Object) -> None:
    default = DEFAULTS.get((group, plural))
    if default is not None:
        default(obj)
