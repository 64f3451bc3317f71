"""Pod → address claims, switch ports, port group memberships, annotations, events (spec B.1, B.2, C.8, D.3).

Every network of a pod (`compile/nets.py`) is served alike; the pod's annotations are written in one patch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from ovnbridge.compile import dhcp
from ovnbridge.compile.ippool import pool_facts
from ovnbridge.compile.lease import address_columns, lease_of, lease_value, reserved
from ovnbridge.compile.nets import Net, detached, pod_nets, wishes
from ovnbridge.compile.options import Options, options
from ovnbridge.compile.ownership import WAY_OUT
from ovnbridge.compile.request import Asked, annotation_problem, asked
from ovnbridge.compile.reservation import reservation_problem
from ovnbridge.compile.subnet import DISTRIBUTED, SubnetView, subnet_view
from ovnbridge.compile.u2o import ungrouped
from ovnbridge.compile.vip import allowed_pairs
from ovnbridge.compile.workload import VIRTUAL_MACHINE, alive, holder, serving_pod
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import STANDS, Annotations, Claim, Event, Hold, Item, Member, Row
from ovnbridge.ipam import AddressRequest, Refusal, answers
from ovnbridge.model import address
from ovnbridge.model.crd.address import IP
from ovnbridge.model.crd.underlay import Vlan
from ovnbridge.model.kube import Pod
from ovnbridge.model.names import LONGEST_NAME, OVN_PROVIDER, annotation, node_group, port_name, subnet_node_group
from ovnbridge.model.ovn import VENDOR, Ref

_DEFAULT_GROUP = "default-securitygroup"
_OF_SUBNET = ("logical_router", "vlan_id", "provider_network")
"""Annotations that pods of some subnets have."""


class _Pod(msgspec.Struct, frozen=True):
    """A pod with what its networks have in common. `own` is the name that it holds its addresses by; `wishes` are its
    annotations about its primary network."""

    key: str
    pod: Pod
    own: str
    pod_type: str
    opts: Options
    serves: bool
    wishes: Mapping[str, str]

    def warning(self, reason: str, message: str) -> Event:
        """A warning on the pod."""
        return Event("Pod", self.key, "Warning", reason, message)


# Of 50,000 pods each runs once at a start: their items go into one list instead of through generators.
def _pod(reader: Reader, key: str) -> list[Item]:
    pod = reader.get("Pod", key)
    if not isinstance(pod, Pod) or pod.spec.host_network or not alive(pod):
        return []
    own, pod_type = holder(reader, pod)
    machine = f"{pod.metadata.namespace}/{own}"
    serves = pod_type != VIRTUAL_MACHINE or reader.query(serving_pod, machine) == key
    told = pod.metadata.all_annotations()
    me = _Pod(key, pod, own, pod_type, options(reader), serves, wishes(told, OVN_PROVIDER))
    nets, problems = pod_nets(reader, pod)
    items: list[Item] = [me.warning("ValidatePodNetworkFailed", "; ".join(problems))] if problems else []
    notes: dict[str, str | None] = {**detached(told, nets)}
    for net in nets:
        _net(reader, me, net, items, notes)
    if notes:
        items.append(Annotations("Pod", key, notes))
    return items


def _net(reader: Reader, me: _Pod, net: Net, items: list[Item], notes: dict[str, str | None]) -> None:
    """Add one network's items to `items`, and what the pod's annotations are to say of it to `notes`."""
    pod, told = me.pod, me.pod.metadata.all_annotations()
    wished = me.wishes if net.primary else wishes(told, net.provider)
    owner = port_name(me.own, pod.metadata.namespace, net.provider)
    lease = lease_of(reader, owner)
    runs = told.get(annotation("allocated", net.provider)) == "true"
    if lease is not None and lease.metadata.deleting and not runs:
        lease = None  # a predecessor's, on its way out; the next one may say another address
    what = Asked(pod, net, wished, me.own, me.pod_type, owner, lease, runs)
    problem = annotation_problem(what)
    if len(owner) > LONGEST_NAME:
        problem = f"{owner} is too long for the name of an IP object"
    if problem:
        items.append(me.warning("ValidatePodNetworkFailed", problem))
        if lease is None:
            return
    request = asked(reader, what)
    if isinstance(request, str):
        items.append(me.warning("AcquireAddressFailed", request))
        return
    if request is not None:
        items.append(Claim(owner, request))
    if lease is not None and request is not None and not request.keep and not _answers(reader, lease, request):
        # Of a predecessor, to be exchanged; or a reservation that is not what the pod asks for.
        if reserved(lease):
            message = f"the reservation {owner} of {lease.spec.ip_address} is not what is asked for"
            items.append(me.warning("AcquireAddressFailed", message))
        return
    if lease is None:
        refusal = reader.get("Refusal", owner)
        problem = reservation_problem(reader, owner)
        if problem:
            items.append(me.warning("AcquireAddressFailed", f"IP object {owner} cannot be answered: {problem}"))
        elif isinstance(refusal, Refusal):
            items.append(me.warning("AcquireAddressFailed", f"{refusal.reason}: {refusal.message}"))
        return
    view = reader.query(subnet_view, lease.spec.subnet)
    if view is None or (view.is_ovn and reader.get("Vpc", view.vpc) is None):
        items.append(Hold(lease.spec.subnet))
        if net.is_ovn and pod.spec.node_name:  # what it is a member of, it stays
            port = Ref("Logical_Switch_Port", owner)
            groups = (node_group(pod.spec.node_name), me.opts.gateway_group(lease.spec.subnet, pod.spec.node_name))
            items += [Member("Port_Group", group, "ports", port, STANDS) for group in groups]
        if not runs:
            missing = f"vpc {view.vpc} does not exist" if view is not None else "it is not valid at present"
            items.append(me.warning("CreateOVNPortFailed", f"subnet {lease.spec.subnet}: {missing}"))
        return
    if view.is_ovn and net.is_ovn and me.serves:
        items += _port(reader, me, what, lease, view)
    notes.update(_annotations(reader, me, net, lease, view))
    if not runs:  # afterwards the annotations say it: an event for each pod of a cluster would stay here for ever
        text = f"subnet={view.name} ip={_addresses(lease)}"
        items.append(Event("Pod", me.key, "Normal", "PodNetworkAllocated", text))


def _answers(reader: Reader, lease: IP, request: AddressRequest) -> bool:
    view = reader.query(subnet_view, lease.spec.subnet)
    pool = reader.query(pool_facts, request.pool) if request.pool else None
    return answers(lease_value(lease), request, view.cidr_block if view is not None else None, pool)


def _port(reader: Reader, me: _Pod, what: Asked, lease: IP, view: SubnetView) -> list[Item]:
    pod, net, wished, owner = what.pod, what.net, what.wishes, what.owner
    addresses = address_columns(lease)
    vips = _vips(reader, me, wished, view)
    own = dhcp.own_options(wished) if wished else {}
    security = frozenset[str]()
    if wished.get("port_security") == "true":
        security = frozenset(" ".join((element, *vips)) for element in addresses)
    row = Row(
        "Logical_Switch_Port",
        owner,
        {
            "name": owner,
            "addresses": addresses | {"unknown"} if wished.get("layer2_forward") == "true" else addresses,
            "port_security": security,
            "external_ids": _external_ids(me, wished, view, vips),
            **dhcp.port_columns(view, owner, own, lease.spec.v4_ip_address, lease.spec.v6_ip_address),
        },
        parent=Ref("Logical_Switch", view.name),
    )
    items: list[Item] = [*dhcp.port_rows(view, owner, own, me.opts), row] if own else [row]
    node, port = pod.spec.node_name, Ref("Logical_Switch_Port", owner)
    if not node:
        return items
    in_default, found = _of_default_vpc(view, me.opts), _found(reader, me, net, view)
    routed = in_default and view.logical
    if routed or found:
        entry = None if routed and found else STANDS
        items.append(Member("Port_Group", node_group(node), "ports", port, entry))
    if not in_default:
        return items
    if view.logical:
        own_way = _translated(me) or bool(_north_gateway(me))
        if view.gateway_type == DISTRIBUTED and not own_way:
            items.append(Member("Port_Group", me.opts.gateway_group(view.name, node), "ports", port))
        if net.primary and own_way:
            items += _way_out(me, lease, view)
    elif ungrouped(view, me.opts):
        items.append(Member("Port_Group", subnet_node_group(view.name, node), "ports", port))
    return items


def _of_default_vpc(view: SubnetView, opts: Options) -> bool:
    return view.is_ovn and view.vpc == opts.cluster_router


def _found(reader: Reader, me: _Pod, net: Net, view: SubnetView) -> bool:
    """Whether Kube-OVN finds a port for its node's group every minute (spec D.4): those of pods whose first network is
    of the default VPC or a vlan.

    It puts others in when a pod is routed (D.3), and takes them out within the minute. Which of the two was last in a
    database that is taken over says nothing: ports that only one of them wants stay in, or out.
    """
    first: SubnetView | None = view
    if not net.primary:
        lease = lease_of(reader, port_name(me.own, me.pod.metadata.namespace))
        first = reader.query(subnet_view, lease.spec.subnet) if lease is not None else None
    return first is not None and (bool(first.vlan) or _of_default_vpc(first, me.opts))


def _translated(me: _Pod) -> bool:
    """Whether the pod has an external address of its own, and does not leave through its node (spec D.3)."""
    return me.opts.enable_eip_snat and bool(me.wishes.get("eip") or me.wishes.get("snat"))


def _north_gateway(me: _Pod) -> str:
    return me.wishes.get("north_gateway", "")


def _way_out(me: _Pod, lease: IP, view: SubnetView) -> Iterator[Item]:
    """The policy of a pod with a gateway of its own, for its address of that family (spec D.2.3, D.3). Those of EIPs,
    which are IPv4 only, are not compiled here."""
    gateway = _north_gateway(me)
    if _translated(me):
        yield Hold(f"ip4.src == {lease.spec.v4_ip_address}")
        return
    version = address.host_family(gateway)
    if version is None:  # which has been told with the other annotations
        for own in _addresses(lease).split(","):
            yield Hold(f"ip{address.family(own)}.src == {own}")
    elif own := lease.spec.v4_ip_address if version == 4 else lease.spec.v6_ip_address:
        match = f"ip{version}.src == {own}"
        yield Row(
            "Logical_Router_Policy",
            (view.vpc, WAY_OUT, match),
            {
                "priority": WAY_OUT,
                "match": match,
                "action": "reroute",
                "nexthops": frozenset({gateway}),
                "external_ids": {"vendor": VENDOR, "subnet": view.name},
            },
            parent=Ref("Logical_Router", view.vpc),
        )
    else:
        message = f"annotation {annotation('north_gateway')} is {gateway}, and the pod has no IPv{version} address"
        yield me.warning("ValidatePodNetworkFailed", message)


def _vips(reader: Reader, me: _Pod, wished: Mapping[str, str], view: SubnetView) -> tuple[str, ...]:
    """Further addresses that the port may use (spec D.3)."""
    pairs, given = me.wishes.get("aaps", ""), wished.get("port_vips", "")
    if not (pairs or given):
        return ()
    found = dict.fromkeys(allowed_pairs(reader, pairs, me.pod.metadata.namespace, view.name) if pairs else ())
    found.update(dict.fromkeys(text for text in map(str.strip, given.split(",")) if address.host_family(text)))
    return tuple(found)


def _external_ids(me: _Pod, wished: Mapping[str, str], view: SubnetView, vips: tuple[str, ...]) -> dict[str, str]:
    ids = {"vendor": VENDOR, "ls": view.name, "pod": f"{me.pod.metadata.namespace}/{me.own}"}
    groups = [group for group in wished.get("security_groups", "").split(",") if group]
    if groups:
        ids["security_groups"] = "/".join(groups)
        ids |= {f"associated_sg_{group}": "true" for group in groups}
    # The literal name, whatever the flag `--cluster-router` says.
    if view.vpc != "ovn-cluster" and _DEFAULT_GROUP not in groups:
        ids[f"associated_sg_{_DEFAULT_GROUP}"] = "false"
    if vips:
        ids |= {"vips": ",".join(vips), "attach-vips": "true"}
    return ids


def _addresses(lease: IP) -> str:
    return address.join(lease.spec.v4_ip_address, lease.spec.v6_ip_address)


def _annotations(reader: Reader, me: _Pod, net: Net, lease: IP, view: SubnetView) -> dict[str, str | None]:
    """What the pod's annotations say of one network (spec B.2)."""
    told, provider = me.pod.metadata.all_annotations(), net.provider
    values = {**reader.query(_common_annotations, view.name, provider, net.is_ovn)}
    values[annotation("ip_address", provider)] = _addresses(lease)
    values[annotation("mac_address", provider)] = lease.spec.mac_address or None
    if net.is_ovn:
        kind = annotation("pod_nic_type", provider)
        values[kind] = told.get(kind) or me.opts.pod_nic_type
    if me.pod_type == VIRTUAL_MACHINE:
        values[annotation("virtualmachine", provider)] = me.own
    if me.pod.spec.node_name:
        values[annotation("routed", provider)] = "true"
    for suffix in _OF_SUBNET:  # what its subnet was before
        key = annotation(suffix, provider)
        if told.get(key) and key not in values:
            values[key] = None
    return values


def _common_annotations(reader: Reader, subnet: str, provider: str, is_ovn: bool) -> Mapping[str, str | None]:
    """What the annotations of all pods in a subnet say alike (memoised question)."""
    view = reader.query(subnet_view, subnet)
    if view is None:
        return {}
    values: dict[str, str | None] = {
        "allocated": "true",
        "cidr": view.cidr_block,
        "gateway": view.gateway,
        "logical_switch": view.name if is_ovn else None,
        "pod_nic_type": None,
    }
    if view.vpc and (view.needs_router or view.u2o):
        values["logical_router"] = view.vpc
    vlan = reader.get("Vlan", view.vlan) if view.vlan else None
    if isinstance(vlan, Vlan):
        values["vlan_id"] = str(vlan.spec.id)
        values["provider_network"] = vlan.spec.provider
    return {annotation(suffix, provider): value for suffix, value in values.items()}


UNITS = (Unit("pod", "Pod", _pod),)
