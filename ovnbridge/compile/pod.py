"""Pod → address claim, logical switch port, port group memberships, annotations, events (spec B.1, B.2, C.8, D.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ovnbridge.compile import dhcp
from ovnbridge.compile.lease import address_columns, lease_of, lease_value
from ovnbridge.compile.namespace import namespace_subnets
from ovnbridge.compile.node import node_addresses
from ovnbridge.compile.options import Options, options
from ovnbridge.compile.subnet import DISTRIBUTED, SubnetView, subnet_view
from ovnbridge.compile.u2o import ungrouped
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Annotations, Claim, Event, Hold, Item, Member, Row
from ovnbridge.ipam import AddressRequest, Refusal, answers
from ovnbridge.model import address
from ovnbridge.model.crd.address import IP
from ovnbridge.model.kube import Pod
from ovnbridge.model.names import LABEL_IP_RESERVED, LONGEST_NAME, annotation, node_group, port_name, subnet_node_group
from ovnbridge.model.ovn import VENDOR, Ref


def alive(pod: Pod) -> bool:
    """Whether a pod still needs its network (spec C.9, "Alive test").

    Termination grace needs no clock here: the runtime ends the pod, and its object's end is what we follow.
    """
    if pod.status.phase == "Succeeded":
        return pod.spec.restart_policy == "Always"
    if pod.status.phase == "Failed":
        return pod.spec.restart_policy != "Never" and pod.status.reason != "Evicted"
    return True


def annotation_problem(pod: Pod) -> str:
    """What is wrong with the pod's address annotations (spec F.3), or ""."""
    notes = pod.metadata.all_annotations()
    problems = []
    cidr = notes.get(annotation("cidr"), "")
    for part in filter(None, notes.get(annotation("ip_address"), "").split(",")):
        if address.family(part.strip()) is None:
            problems.append(f"{part!r} in annotation {annotation('ip_address')} is not an IP address")
        elif cidr and not _inside(cidr, part.strip()):
            problems.append(f"{part} in annotation {annotation('ip_address')} is not in cidr {cidr}")
    mac = notes.get(annotation("mac_address"), "")
    if mac and not address.valid_mac(mac):
        problems.append(f"{mac!r} in annotation {annotation('mac_address')} is not a MAC address")
    family = notes.get(annotation("ip_family"), "")
    if family and family not in _FAMILIES:
        problems.append(f"{family!r} in annotation {annotation('ip_family')} must be ipv4 or ipv6")
    for name in ("ingress_rate", "egress_rate", "ingress_burst", "egress_burst"):
        text = notes.get(annotation(name), "")
        if text and not text.isdigit():
            problems.append(f"{text!r} in annotation {annotation(name)} must be a non-negative integer")
    return "; ".join(problems)


def _inside(cidr: str, text: str) -> bool:
    try:
        return address.contains(cidr, text.partition("/")[0])
    except ValueError:
        return False


_FAMILIES: Mapping[str, str] = {"ipv4": address.IPV4, "ipv6": address.IPV6}


def _pod(reader: Reader, key: str) -> Iterator[Item]:
    pod = reader.get("Pod", key)
    if not isinstance(pod, Pod) or pod.spec.host_network or not alive(pod):
        return
    opts = options(reader)
    owner = port_name(pod.metadata.name, pod.metadata.namespace)
    lease = lease_of(reader, owner)
    runs = pod.metadata.annotation(annotation("allocated")) == "true"
    if lease is not None and lease.metadata.deleting and not runs:
        lease = None  # a predecessor's, on its way out; the next one may say another address
    problem = annotation_problem(pod)
    if len(owner) > LONGEST_NAME:
        problem = f"{owner} is too long for the name of an IP object"
    if problem:
        yield Event("Pod", key, "Warning", "ValidatePodNetworkFailed", problem)
        if lease is None:
            return
    request = _request(reader, pod, lease, opts, runs=runs)
    if request is not None:
        yield Claim(owner, request)
    if lease is not None and request is not None and not _answers(reader, lease, request):
        # Of a predecessor, to be exchanged; or a reservation that is not what the pod asks for.
        if lease.metadata.label(LABEL_IP_RESERVED) != "false":
            message = f"the reservation {owner} of {lease.spec.ip_address} is not what is asked for"
            yield Event("Pod", key, "Warning", "AcquireAddressFailed", message)
        return
    if lease is None:
        refusal = reader.get("Refusal", owner)
        if isinstance(refusal, Refusal):
            yield Event("Pod", key, "Warning", "AcquireAddressFailed", f"{refusal.reason}: {refusal.message}")
        return
    view = reader.query(subnet_view, lease.spec.subnet)
    if view is None or (view.is_ovn and reader.get("Vpc", view.vpc) is None):
        yield Hold(lease.spec.subnet)
        return
    if view.is_ovn:
        yield from _port(pod, owner, lease, view, opts)
    yield _annotations(key, pod, lease, view, opts)
    yield Event("Pod", key, "Normal", "PodNetworkAllocated", f"subnet={view.name} ip={_addresses(lease)}")


def _answers(reader: Reader, lease: IP, request: AddressRequest) -> bool:
    view = reader.query(subnet_view, lease.spec.subnet)
    return answers(lease_value(lease), request, view.cidr_block if view is not None else None)


def _request(reader: Reader, pod: Pod, lease: IP | None, opts: Options, *, runs: bool) -> AddressRequest | None:
    """The pod's claim; None while nothing says which subnet it is to be in.

    What a pod that runs holds is not exchanged any more, whatever its annotations and its subnet become.
    """
    notes = pod.metadata.all_annotations()
    subnet = notes.get(annotation("logical_switch"), "")
    keep = runs and lease is not None
    if subnet and not keep:
        subnets: tuple[str, ...] = (subnet,)
    elif lease is not None:
        subnets = (lease.spec.subnet,)
    else:
        subnets = reader.query(namespace_subnets, pod.metadata.namespace)
    if not subnets:
        return None
    mac = notes.get(annotation("mac_address"), "")
    parts = (part.strip().partition("/")[0] for part in notes.get(annotation("ip_address"), "").split(","))
    static = ",".join(address.canonical(part) for part in parts if address.host_family(part))
    skip = False
    if lease is None:  # whoever has an address does not care when nodes come and go
        views = (reader.query(subnet_view, name) for name in subnets)
        skip = any(view is not None and view.vpc == opts.cluster_router and not view.vlan for view in views)
    return AddressRequest(
        subnets=subnets,
        addresses=(static,) if static else (),
        family=_FAMILIES.get(notes.get(annotation("ip_family"), ""), ""),
        mac=mac if address.valid_mac(mac) else "",
        skip=reader.query(node_addresses) if skip else frozenset(),
        keep=keep,
        pod=pod.metadata.name,
        namespace=pod.metadata.namespace,
        node=pod.spec.node_name,
    )


def _port(pod: Pod, owner: str, lease: IP, view: SubnetView, opts: Options) -> Iterator[Item]:
    ids = {"vendor": VENDOR, "ls": view.name, "pod": f"{pod.metadata.namespace}/{pod.metadata.name}"}
    if view.vpc != "ovn-cluster":
        ids["associated_sg_default-securitygroup"] = "false"
    notes = pod.metadata.all_annotations()
    yield from dhcp.port_rows(view, owner, notes, opts)
    secure = pod.metadata.annotation(annotation("port_security")) == "true"
    yield Row(
        "Logical_Switch_Port",
        owner,
        {
            "name": owner,
            "addresses": address_columns(lease),
            "port_security": address_columns(lease) if secure else frozenset(),
            "external_ids": ids,
            **dhcp.port_columns(view, owner, notes, lease.spec.v4_ip_address, lease.spec.v6_ip_address),
        },
        parent=Ref("Logical_Switch", view.name),
    )
    node = pod.spec.node_name
    port = Ref("Logical_Switch_Port", owner)
    if node and ungrouped(view, opts):
        yield Member("Port_Group", subnet_node_group(view.name, node), "ports", port)
    if not node or view.vpc != opts.cluster_router or not view.logical:
        return
    yield Member("Port_Group", node_group(node), "ports", port)
    # Pods with an own way out do not take the node's.
    own_way = any(pod.metadata.annotation(annotation(name)) for name in ("eip", "snat", "north_gateway"))
    if view.gateway_type == DISTRIBUTED and not own_way:
        yield Member("Port_Group", opts.gateway_group(view.name, node), "ports", port)


def _addresses(lease: IP) -> str:
    return address.join(lease.spec.v4_ip_address, lease.spec.v6_ip_address)


def _annotations(key: str, pod: Pod, lease: IP, view: SubnetView, opts: Options) -> Annotations:
    values: dict[str, str | None] = {
        annotation("allocated"): "true",
        annotation("ip_address"): _addresses(lease),
        annotation("mac_address"): lease.spec.mac_address or None,
        annotation("cidr"): view.cidr_block,
        annotation("gateway"): view.gateway,
        annotation("logical_switch"): view.name,
        annotation("pod_nic_type"): pod.metadata.annotation(annotation("pod_nic_type")) or opts.pod_nic_type,
    }
    if view.vpc and (view.needs_router or view.u2o):
        values[annotation("logical_router")] = view.vpc
    if pod.spec.node_name:
        values[annotation("routed")] = "true"
    return Annotations("Pod", key, values)


UNITS = (Unit("pod", "Pod", _pod),)
