"""Vlan and ProviderNetwork: physical networks, the node interfaces that reach them, and the VLANs on them."""

from __future__ import annotations

from typing import Annotated

from ovnbridge.model.crd.base import Condition, Conditions, Object, Status, Value, doc
from ovnbridge.model.crd.core import LabelSelector

# Linux interface names: at most 15 bytes, no slash, no white space.
_INTERFACE = {"maxLength": 15, "pattern": r"^[^/\s]+$"}


class VlanSpec(Value, frozen=True, kw_only=True):
    """Which VLAN of which physical network."""

    id: Annotated[int, doc("VLAN tag; 0 means untagged.", minimum=0, maximum=4095)] = 0
    provider: Annotated[
        str, doc("ProviderNetwork that carries the VLAN; the controller's default one when empty.", required=True)
    ] = ""
    vlan_id: Annotated[int, doc("Old name of id.", minimum=0, maximum=4095)] = 0
    provider_interface_name: Annotated[str, doc("Old name of provider.")] = ""


class VlanStatus(Status, frozen=True, kw_only=True):
    """Use of the VLAN."""

    subnets: Annotated[tuple[str, ...], doc("Subnets that the VLAN carries.")] = ()
    conflict: Annotated[
        bool, doc("Whether another Vlan has the same tag on the same network; this one is not used.")
    ] = False
    conditions: Annotated[Conditions, doc("State of the VLAN, one entry for each aspect.")] = ()


class Vlan(Object, frozen=True, kw_only=True):
    """A VLAN of a physical network."""

    spec: VlanSpec = VlanSpec()
    status: VlanStatus = VlanStatus()


class CustomInterface(Value, frozen=True, kw_only=True):
    """An interface that some nodes use instead of the default one."""

    interface: Annotated[str, doc("Interface on those nodes.", **_INTERFACE)] = ""
    nodes: Annotated[tuple[str, ...], doc("Nodes that use it.")] = ()


class ProviderNetworkSpec(Value, frozen=True, kw_only=True):
    """Which nodes reach the physical network, through which interface."""

    default_interface: Annotated[
        str,
        doc("Interface that is put into the OVS bridge on nodes without a custom one.", required=True, **_INTERFACE),
    ] = ""
    custom_interfaces: Annotated[tuple[CustomInterface, ...], doc("Nodes that use another interface.")] = ()
    node_selector: Annotated[LabelSelector | None, doc("Nodes that are part of the network; all when absent.")] = None
    exclude_nodes: Annotated[
        tuple[str, ...], doc("Nodes that are not part of the network; without meaning beside nodeSelector.")
    ] = ()
    exchange_link_name: Annotated[bool, doc("Give the OVS bridge the interface's name and rename the interface.")] = (
        False
    )
    auto_create_vlan_subinterfaces: Annotated[
        bool, doc("Create VLAN sub-interfaces (interface.tag) that are named above but do not exist.")
    ] = False
    preserve_vlan_interfaces: Annotated[
        bool, doc("Keep the node's own VLAN sub-interfaces of the interface working through the bridge.")
    ] = False
    vlan_interfaces: Annotated[
        tuple[str, ...], doc("VLAN sub-interfaces to keep working; all that are found when empty.")
    ] = ()


class NodeNetworkCondition(Condition, frozen=True, kw_only=True):
    """One aspect of the network's state on one node."""

    node: Annotated[str, doc("Node that the condition is about.")] = ""


class ProviderNetworkStatus(Status, frozen=True, kw_only=True):
    """State of the network on the nodes."""

    ready: Annotated[bool, doc("Whether every node of the network is ready.")] = False
    ready_nodes: Annotated[tuple[str, ...], doc("Nodes whose bridge is set up.")] = ()
    not_ready_nodes: Annotated[tuple[str, ...], doc("Nodes whose bridge is not set up yet, or failed.")] = ()
    vlans: Annotated[tuple[str, ...], doc("Vlans that the network carries.")] = ()
    conditions: Annotated[
        tuple[NodeNetworkCondition, ...], doc("State of the network, one entry for each node and aspect.")
    ] = ()


class ProviderNetwork(Object, frozen=True, kw_only=True):
    """A physical network that underlay subnets are attached to."""

    spec: ProviderNetworkSpec = ProviderNetworkSpec()
    status: ProviderNetworkStatus = ProviderNetworkStatus()
