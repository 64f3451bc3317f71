"""Kubernetes core types that CRDs embed: selectors, tolerations, affinity and resource requirements."""

from __future__ import annotations

from typing import Annotated, ClassVar

from ovnbridge.model.crd.base import Int32, Int64, ObjectSchema, Quantity, Status, Time, Value, doc

ATOMIC_MAP = ObjectSchema(keywords={"x-kubernetes-map-type": "atomic"})


class LabelSelectorRequirement(Value, frozen=True, kw_only=True):
    """One expression of a label selector."""

    key: Annotated[str, doc("Label that the expression is about.", required=True)] = ""
    operator: Annotated[str, doc("How the label is compared: In, NotIn, Exists or DoesNotExist.", required=True)] = ""
    values: Annotated[
        tuple[str, ...],
        doc("Values to compare with; at least one for In and NotIn, none otherwise.", list_type="atomic"),
    ] = ()


class LabelSelector(Value, frozen=True, kw_only=True):
    """Selects objects by label; all given terms must hold, an empty selector selects everything."""

    schema: ClassVar[ObjectSchema] = ATOMIC_MAP

    match_labels: Annotated[dict[str, str], doc("Labels that an object must have with exactly these values.")] = {}
    match_expressions: Annotated[
        tuple[LabelSelectorRequirement, ...],
        doc("Expressions that an object's labels must satisfy.", list_type="atomic"),
    ] = ()


class NodeSelectorRequirement(Value, frozen=True, kw_only=True):
    """One expression of a node selector."""

    key: Annotated[str, doc("Node label or field that the expression is about.", required=True)] = ""
    operator: Annotated[str, doc("How it is compared: In, NotIn, Exists, DoesNotExist, Gt or Lt.", required=True)] = ""
    values: Annotated[
        tuple[str, ...],
        doc(
            "Values to compare with; at least one for In and NotIn, exactly one integer for Gt and Lt, none otherwise.",
            list_type="atomic",
        ),
    ] = ()


class NodeSelectorTerm(Value, frozen=True, kw_only=True):
    """Selects nodes; all requirements must hold, an empty term selects none."""

    schema: ClassVar[ObjectSchema] = ATOMIC_MAP

    match_expressions: Annotated[
        tuple[NodeSelectorRequirement, ...], doc("Requirements on node labels.", list_type="atomic")
    ] = ()
    match_fields: Annotated[
        tuple[NodeSelectorRequirement, ...], doc("Requirements on node fields (metadata.name).", list_type="atomic")
    ] = ()


class NodeSelector(Value, frozen=True, kw_only=True):
    """Selects nodes that match any of the terms."""

    schema: ClassVar[ObjectSchema] = ATOMIC_MAP

    node_selector_terms: Annotated[
        tuple[NodeSelectorTerm, ...],
        doc("Alternatives; a node must match at least one.", required=True, list_type="atomic"),
    ] = ()


class PreferredSchedulingTerm(Value, frozen=True, kw_only=True):
    """A weighted preference for nodes."""

    weight: Annotated[Int32, doc("Weight of the preference, 1 to 100.", required=True)] = 0
    preference: Annotated[NodeSelectorTerm, doc("Nodes that are preferred.", required=True)] = NodeSelectorTerm()


class NodeAffinity(Value, frozen=True, kw_only=True):
    """Which nodes a pod may or should run on."""

    required_during_scheduling_ignored_during_execution: Annotated[
        NodeSelector | None, doc("Nodes that the scheduler may choose from; a running pod is not moved.")
    ] = None
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[PreferredSchedulingTerm, ...],
        doc("Nodes that the scheduler favours; the sums of matching weights are compared.", list_type="atomic"),
    ] = ()


class PodAffinityTerm(Value, frozen=True, kw_only=True):
    """A set of pods and the topology domain in which a pod is placed with, or apart from, them."""

    label_selector: Annotated[LabelSelector | None, doc("Pods that the term is about; none when absent.")] = None
    namespaces: Annotated[
        tuple[str, ...],
        doc("Namespaces of those pods; the pod's own when this and namespaceSelector are absent.", list_type="atomic"),
    ] = ()
    namespace_selector: Annotated[
        LabelSelector | None, doc("Namespaces of those pods by label, in addition to namespaces.")
    ] = None
    topology_key: Annotated[str, doc("Node label whose equal values make two nodes the same place.", required=True)] = (
        ""
    )
    match_label_keys: Annotated[
        tuple[str, ...],
        doc("Labels of the incoming pod whose values the selected pods must share.", list_type="atomic"),
    ] = ()
    mismatch_label_keys: Annotated[
        tuple[str, ...],
        doc("Labels of the incoming pod whose values the selected pods must not share.", list_type="atomic"),
    ] = ()


class WeightedPodAffinityTerm(Value, frozen=True, kw_only=True):
    """A weighted preference for being with, or apart from, other pods."""

    weight: Annotated[Int32, doc("Weight of the preference, 1 to 100.", required=True)] = 0
    pod_affinity_term: Annotated[PodAffinityTerm, doc("Pods and topology meant.", required=True)] = PodAffinityTerm()


class PodAffinity(Value, frozen=True, kw_only=True):
    """Which pods a pod must or should be placed with."""

    required_during_scheduling_ignored_during_execution: Annotated[
        tuple[PodAffinityTerm, ...],
        doc("Terms that must hold when the pod is scheduled; a running pod is not moved.", list_type="atomic"),
    ] = ()
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[WeightedPodAffinityTerm, ...],
        doc("Terms that the scheduler favours; the sums of matching weights are compared.", list_type="atomic"),
    ] = ()


class PodAntiAffinity(PodAffinity, frozen=True, kw_only=True):
    """Which pods a pod must or should be placed apart from."""


class Affinity(Value, frozen=True, kw_only=True):
    """Scheduling constraints of a pod."""

    node_affinity: Annotated[NodeAffinity | None, doc("Nodes that the pod may or should run on.")] = None
    pod_affinity: Annotated[PodAffinity | None, doc("Pods that the pod must or should be placed with.")] = None
    pod_anti_affinity: Annotated[
        PodAntiAffinity | None, doc("Pods that the pod must or should be placed apart from.")
    ] = None


class Toleration(Value, frozen=True, kw_only=True):
    """A taint that a pod tolerates."""

    key: Annotated[str, doc("Taint key; empty with operator Exists tolerates every key.")] = ""
    operator: Annotated[
        str, doc("How the taint's value is compared: Equal (when empty) or Exists; newer servers add Lt and Gt.")
    ] = ""
    value: Annotated[str, doc("Taint value to compare with; empty with operator Exists.")] = ""
    effect: Annotated[
        str, doc("Taint effect: NoSchedule, PreferNoSchedule or NoExecute; empty tolerates every effect.")
    ] = ""
    toleration_seconds: Annotated[
        Int64 | None, doc("Seconds that a NoExecute taint is tolerated; for ever when absent.")
    ] = None


class ResourceClaim(Value, frozen=True, kw_only=True):
    """A dynamically allocated resource that a container uses."""

    name: Annotated[str, doc("Entry of the pod's spec.resourceClaims.", required=True)] = ""
    request: Annotated[str, doc("One request within that claim; all of it when empty.")] = ""


class ResourceRequirements(Value, frozen=True, kw_only=True):
    """Compute resources of a container."""

    limits: Annotated[dict[str, Quantity], doc("Most that the container may use, by resource name.")] = {}
    requests: Annotated[
        dict[str, Quantity], doc("Least that is reserved for the container, by resource name; the limits when absent.")
    ] = {}
    claims: Annotated[
        tuple[ResourceClaim, ...],
        doc("Dynamically allocated resources that the container uses.", list_type="map", map_keys=("name",)),
    ] = ()


class MetaCondition(Value, frozen=True, kw_only=True):
    """The standard Kubernetes condition (metav1), for kinds that use it instead of Kube-OVN's."""

    type: Annotated[
        str,
        doc(
            "Aspect described, CamelCase or domain/CamelCase.",
            required=True,
            maxLength=316,
            pattern=(
                r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
                r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
            ),
        ),
    ] = ""
    status: Annotated[str, doc("Whether the aspect holds.", required=True, enum=["True", "False", "Unknown"])] = ""
    observed_generation: Annotated[
        Int64, doc("metadata.generation that the condition was derived from.", minimum=0)
    ] = 0
    last_transition_time: Annotated[Time, doc("When the status last changed.", required=True)] = ""
    reason: Annotated[
        str,
        doc(
            "Why, as one CamelCase word for programs.",
            required=True,
            minLength=1,
            maxLength=1024,
            pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        ),
    ] = ""
    message: Annotated[str, doc("Why, as a sentence for people.", required=True, maxLength=32768)] = ""


class Workload(Status, frozen=True, kw_only=True):
    """The workload that runs a gateway."""

    api_version: Annotated[str, doc("apiVersion of the workload, e.g. apps/v1.")] = ""
    kind: Annotated[str, doc("Kind of the workload: Deployment or StatefulSet.")] = ""
    name: Annotated[str, doc("Name of the workload.")] = ""
    nodes: Annotated[tuple[str, ...], doc("Nodes that its pods run on.")] = ()
