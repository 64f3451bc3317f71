"""VpcEgressGateway: pods through which chosen traffic of a VPC leaves the cluster, with BFD, BGP and scaling."""

from __future__ import annotations

from typing import Annotated, ClassVar

from ovnbridge.model.crd.base import (
    Conditions,
    Int32,
    IntOrString,
    Object,
    ObjectSchema,
    Rule,
    Status,
    Value,
    doc,
    names,
    typed,
)
from ovnbridge.model.crd.core import (
    LabelSelector,
    NodeSelectorRequirement,
    ResourceRequirements,
    Toleration,
    Workload,
)


class EgressBfd(Value, frozen=True, kw_only=True, rename=names(min_rx="minRX", min_tx="minTX")):
    """BFD between the gateway pods and the VPC's router."""

    enabled: Annotated[
        bool, doc("Whether a pod that does not answer is skipped; needs the VPC's bfdPort.", defaulted=True)
    ] = False
    min_rx: Annotated[
        Int32,
        doc("Shortest interval between received packets, in ms.", defaulted=True, minimum=1, maximum=3600000),
    ] = 1000
    min_tx: Annotated[
        Int32, doc("Shortest interval between sent packets, in ms.", defaulted=True, minimum=1, maximum=3600000)
    ] = 1000
    multiplier: Annotated[
        Int32,
        doc("Packets missed in a row until the peer counts as down.", defaulted=True, minimum=1, maximum=3600000),
    ] = 3


class EgressPolicy(Value, frozen=True, kw_only=True):
    """Traffic, by source, that leaves through the gateway."""

    schema: ClassVar[ObjectSchema] = ObjectSchema(
        rules=(
            Rule("has(self.ipBlocks) || has(self.subnets)", "Each policy MUST have at least one ipBlocks or subnets"),
        )
    )

    snat: Annotated[bool, doc("Translate the source to the gateway pod's external address.", defaulted=True)] = False
    ip_blocks: Annotated[tuple[str, ...], doc("Source CIDRs.", list_type="set")] = ()
    subnets: Annotated[tuple[str, ...], doc("Source subnets.", list_type="set")] = ()


def _selects_something(what: str) -> Rule:
    return Rule(
        "has(self.matchLabels) || has(self.matchExpressions)",
        f"Each {what} selector MUST have at least one matchLabels or matchExpressions",
    )


class EgressSelector(Value, frozen=True, kw_only=True):
    """Pods whose traffic leaves through the gateway."""

    namespace_selector: Annotated[
        LabelSelector | None, doc("Namespaces of the pods; all when absent.", rules=(_selects_something("namespace"),))
    ] = None
    pod_selector: Annotated[
        LabelSelector | None, doc("Labels of the pods; all when absent.", rules=(_selects_something("pod"),))
    ] = None


class EgressNodeSelector(Value, frozen=True, kw_only=True):
    """Nodes that gateway pods may run on; all requirements must hold."""

    match_labels: Annotated[dict[str, str], doc("Labels that a node must have with exactly these values.")] = {}
    match_expressions: Annotated[tuple[NodeSelectorRequirement, ...], doc("Requirements on node labels.")] = ()
    match_fields: Annotated[
        tuple[NodeSelectorRequirement, ...], doc("Requirements on node fields (metadata.name).")
    ] = ()


_BANDWIDTH = {"pattern": r"^([0-9]+|([0-9]+(\.[0-9]+)?|\.[0-9]+)(M|Mi|G|Gi))$"}
_BANDWIDTH_RULES = (
    Rule(
        "type(self) == int ? self >= 0 && self <= 9223372036854 : true",
        "integer bandwidth must be between 0 and 9223372036854 Mbps",
    ),
)


class Bandwidth(Value, frozen=True, kw_only=True):
    """Bandwidth limits of one gateway pod."""

    ingress: Annotated[
        IntOrString | None,
        doc(
            "Limit of traffic into the cluster: Mbit/s as a number, or bit/s as a quantity such as 100M or 1Gi, which "
            "is rounded up to whole Mbit/s.",
            rules=_BANDWIDTH_RULES,
            **_BANDWIDTH,
        ),
    ] = None
    egress: Annotated[
        IntOrString | None,
        doc(
            "Limit of traffic out of the cluster: Mbit/s as a number, or bit/s as a quantity such as 100M or 1Gi, "
            "which "
            "is rounded up to whole Mbit/s.",
            rules=_BANDWIDTH_RULES,
            **_BANDWIDTH,
        ),
    ] = None


class Feature(Value, frozen=True, kw_only=True):
    """Something that can be switched on."""

    enabled: Annotated[bool, doc("Whether it is on.")] = False


class PortRange(Value, frozen=True, kw_only=True, omit_defaults=False):
    """A range of ports, both ends included and always written, because the rule reads both."""

    schema: ClassVar[ObjectSchema] = ObjectSchema(
        rules=(Rule("self.start <= self.end", "start must not be greater than end"),)
    )

    start: Annotated[Int32, doc("First port.", minimum=0, maximum=65535)] = 0
    end: Annotated[Int32, doc("Last port.", minimum=0, maximum=65535)] = 0


class TupleFilter(
    Value, frozen=True, kw_only=True, rename=names(source_cidrs="sourceCIDRs", destination_cidrs="destinationCIDRs")
):
    """Addresses and ports of one direction of a flow; a missing list matches everything."""

    source_cidrs: Annotated[tuple[str, ...], doc("Source CIDRs.", list_type="set", maxItems=64)] = ()
    destination_cidrs: Annotated[tuple[str, ...], doc("Destination CIDRs.", list_type="set", maxItems=64)] = ()
    source_ports: Annotated[tuple[PortRange, ...], doc("Source ports.", maxItems=64)] = ()
    destination_ports: Annotated[tuple[PortRange, ...], doc("Destination ports.", maxItems=64)] = ()


class FlowFilter(Value, frozen=True, kw_only=True):
    """Selects flows; all given fields must match."""

    address_families: Annotated[
        tuple[Annotated[str, typed(enum=["ipv4", "ipv6"])], ...],
        doc("Address families.", list_type="set", maxItems=2),
    ] = ()
    protocols: Annotated[
        tuple[Annotated[str, typed(enum=["tcp", "udp", "sctp", "icmp", "icmpv6", "other"])], ...],
        doc("Protocols.", list_type="set", maxItems=6),
    ] = ()
    nat_types: Annotated[
        tuple[Annotated[str, typed(enum=["snat", "dnat", "snat_dnat"])], ...],
        doc("Kinds of translation that the flow undergoes.", list_type="set", maxItems=3),
    ] = ()
    original: Annotated[TupleFilter | None, doc("Addresses and ports before translation.")] = None
    translated: Annotated[TupleFilter | None, doc("Addresses and ports after translation.")] = None


class FlowFilters(Value, frozen=True, kw_only=True):
    """Which flows are logged."""

    include: Annotated[
        tuple[FlowFilter, ...], doc("Flows that are logged, if any of these matches; all when absent.", maxItems=64)
    ] = ()
    exclude: Annotated[
        tuple[FlowFilter, ...], doc("Flows that are not logged, whatever include says.", maxItems=64)
    ] = ()


class RateLimit(Value, frozen=True, kw_only=True):
    """Limit of the flow log of one gateway pod."""

    records_per_second: Annotated[Int32 | None, doc("Records a second in the long run.", minimum=1, maximum=100000)] = (
        None
    )
    burst: Annotated[Int32 | None, doc("Records that may be written at once.", minimum=1, maximum=1000000)] = None


class FlowLog(Value, frozen=True, kw_only=True):
    """The flow log, written to standard output as JSON lines."""

    enabled: Annotated[bool, doc("Whether flows are logged.")] = False
    events: Annotated[
        tuple[Annotated[str, typed(enum=["start", "end"])], ...],
        doc("Events of a flow that are logged; both when absent.", list_type="set", maxItems=2),
    ] = ()
    rate_limit: Annotated[RateLimit | None, doc("Limit of the log of each gateway pod.")] = None
    filters: Annotated[FlowFilters | None, doc("Which flows are logged.")] = None


class ConntrackObservability(Value, frozen=True, kw_only=True):
    """Metrics and log of the connections that are translated."""

    metrics: Annotated[Feature | None, doc("Metrics of translated connections.")] = None
    log: Annotated[FlowLog | None, doc("Log of translated connections.")] = None


class ServiceMonitor(Value, frozen=True, kw_only=True):
    """The ServiceMonitor that is made for the gateway."""

    labels: Annotated[dict[str, str], doc("Labels of the ServiceMonitor, by which Prometheus finds it.")] = {}
    annotations: Annotated[dict[str, str], doc("Annotations of the ServiceMonitor.")] = {}


class Observability(Value, frozen=True, kw_only=True):
    """The observer container of the gateway pods."""

    resources: Annotated[ResourceRequirements | None, doc("Compute resources of the observer container.")] = None
    interface_metrics: Annotated[Feature | None, doc("Metrics of the gateway pods' interfaces.")] = None
    conntrack: Annotated[ConntrackObservability | None, doc("Metrics and log of translated connections.")] = None
    service_monitor: Annotated[
        ServiceMonitor | None, doc("Make a ServiceMonitor with these labels and annotations.")
    ] = None


def _enough_for_replicas(field: str, noun: str) -> Rule:
    return Rule(
        f"!has(self.{field}) || size(self.{field}) == 0 || size(self.{field}) >= self.replicas",
        f"Size of {noun} IPs MUST be equal to or greater than Replicas",
        f".{field}",
    )


def _either_ips_or_pool(ips: str, pool: str) -> Rule:
    return Rule(
        f"!(has(self.{ips}) && size(self.{ips}) != 0 && has(self.{pool}) && size(self.{pool}) > 0)",
        f"{ips} and {pool} are mutually exclusive",
        f".{pool}",
    )


_SPEC_RULES = (
    _enough_for_replicas("internalIPs", "Internal"),
    _enough_for_replicas("externalIPs", "External"),
    _either_ips_or_pool("internalIPs", "internalIPPool"),
    _either_ips_or_pool("externalIPs", "externalIPPool"),
    Rule(
        "(has(self.policies) && size(self.policies) != 0) || (has(self.selectors) && size(self.selectors) != 0)",
        "Each VPC Egress Gateway MUST have at least one policy or selector",
    ),
)

_NAMES = names(
    internal_ips="internalIPs",
    external_ips="externalIPs",
    internal_ip_pool="internalIPPool",
    external_ip_pool="externalIPPool",
)


class VpcEgressGatewaySpec(Value, frozen=True, kw_only=True, rename=_NAMES):
    """Which traffic leaves, from where, and how."""

    schema: ClassVar[ObjectSchema] = ObjectSchema(rules=_SPEC_RULES)

    vpc: Annotated[str, doc("Vpc whose traffic leaves; the default VPC when empty.")] = ""
    bgp_conf: Annotated[str, doc("BgpConf for announcing routes to external neighbours; no BGP when empty.")] = ""
    evpn_conf: Annotated[str, doc("EvpnConf for carrying the traffic over EVPN; no EVPN when empty.")] = ""
    replicas: Annotated[
        Int32, doc("Number of gateway pods, which share the traffic.", defaulted=True, minimum=0, maximum=10)
    ] = 1
    prefix: Annotated[
        str,
        doc(
            "Put before the object's name to make the name of the Deployment; must not change.",
            pattern=r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*[-\.]?$",
            rules=(Rule("self == oldSelf", "This field is immutable."),),
        ),
    ] = ""
    image: Annotated[str, doc("Image of the gateway pods; the controller's setting when empty.")] = ""
    internal_subnet: Annotated[
        str, doc("Subnet of the VPC that the gateway pods are attached to; the VPC's default one when empty.")
    ] = ""
    external_subnet: Annotated[str, doc("External subnet that the gateway pods are attached to.", required=True)] = ""
    internal_ips: Annotated[
        tuple[str, ...],
        doc("Addresses of the gateway pods in the internal subnet, at least one a replica.", list_type="set"),
    ] = ()
    internal_ip_pool: Annotated[
        str, doc("IPPool of the internal subnet for the gateway pods' addresses, instead of internalIPs.")
    ] = ""
    external_ips: Annotated[
        tuple[str, ...],
        doc("Addresses of the gateway pods in the external subnet, at least one a replica.", list_type="set"),
    ] = ()
    external_ip_pool: Annotated[
        str, doc("IPPool of the external subnet for the gateway pods' addresses, instead of externalIPs.")
    ] = ""
    selectors: Annotated[tuple[EgressSelector, ...], doc("Pods whose traffic leaves through the gateway.")] = ()
    policies: Annotated[tuple[EgressPolicy, ...], doc("Sources whose traffic leaves through the gateway.")] = ()
    traffic_policy: Annotated[
        str,
        doc(
            "Local prefers the gateway pod on the sender's own node (default VPC only); Cluster uses all alike.",
            defaulted=True,
            enum=["Local", "Cluster"],
        ),
    ] = "Cluster"
    pod_anti_affinity: Annotated[
        str,
        doc(
            "Whether the gateway pods must (Required) or should (Preferred) run on different nodes.",
            defaulted=True,
            enum=["Required", "Preferred"],
        ),
    ] = "Required"
    bfd: Annotated[EgressBfd, doc("BFD between the gateway pods and the VPC's router.")] = EgressBfd()
    node_selector: Annotated[
        tuple[EgressNodeSelector, ...], doc("Nodes that gateway pods may run on; one entry must match.")
    ] = ()
    tolerations: Annotated[tuple[Toleration, ...], doc("Node taints that the gateway pods tolerate.")] = ()
    resources: Annotated[
        ResourceRequirements | None, doc("Compute resources of the gateway container; the controller's when absent.")
    ] = None
    bandwidth: Annotated[Bandwidth | None, doc("Bandwidth limits of each gateway pod; none when absent.")] = None
    observability: Annotated[
        Observability | None, doc("Metrics and flow log of the gateway pods; none when absent.")
    ] = None


class VpcEgressGatewayStatus(Status, frozen=True, kw_only=True, rename=_NAMES):
    """The gateway as it runs."""

    replicas: Annotated[Int32, doc("Number of gateway pods; read by the scale subresource.", minimum=0, maximum=10)] = 0
    label_selector: Annotated[str, doc("Label selector of the gateway pods; read by the scale subresource.")] = ""
    ready: Annotated[bool, doc("Whether all gateway pods work and traffic is routed to them.", defaulted=True)] = False
    phase: Annotated[
        str,
        doc(
            "Pending (not looked at yet), Processing (being made) or Completed.",
            required=True,
            defaulted=True,
            enum=["Pending", "Processing", "Completed"],
        ),
    ] = "Pending"
    internal_ips: Annotated[
        tuple[str, ...], doc("Internal addresses, one entry for each gateway pod (IPv4,IPv6).")
    ] = ()
    external_ips: Annotated[
        tuple[str, ...], doc("External addresses, one entry for each gateway pod (IPv4,IPv6).")
    ] = ()
    conditions: Annotated[Conditions, doc("State of the gateway, one entry for each aspect.", required=True)] = ()
    workload: Annotated[Workload, doc("Workload that runs the gateway pods.")] = Workload()


class VpcEgressGateway(Object, frozen=True, kw_only=True):
    """Pods through which chosen traffic of a VPC leaves the cluster."""

    spec: VpcEgressGatewaySpec = VpcEgressGatewaySpec()
    status: VpcEgressGatewayStatus = VpcEgressGatewayStatus()
