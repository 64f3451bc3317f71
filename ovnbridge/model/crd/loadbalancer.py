"""SwitchLBRule and RouterLBRule: load balancers on addresses inside a VPC and on its external addresses."""

from __future__ import annotations

from typing import Annotated

from ovnbridge.model.crd.base import Conditions, Int32, Object, Status, Value, doc


class LBPort(Value, frozen=True, kw_only=True):
    """One port of a load balancer."""

    name: Annotated[str, doc("Name of the port, unique within the rule.")] = ""
    port: Annotated[Int32, doc("Port on the load balancer's address.")] = 0
    target_port: Annotated[Int32, doc("Port on the endpoints.")] = 0
    protocol: Annotated[str, doc("TCP, UDP or SCTP.")] = ""


class SwitchLBRuleSpec(Value, frozen=True, kw_only=True):
    """Address, ports and endpoints of the load balancer."""

    vip: Annotated[str, doc("Address of the load balancer.")] = ""
    namespace: Annotated[str, doc("Namespace of the endpoints and of the generated Service.")] = ""
    selector: Annotated[tuple[str, ...], doc("Labels (key:value) of the pods that are endpoints.")] = ()
    endpoints: Annotated[tuple[str, ...], doc("Addresses that are endpoints, instead of selector.")] = ()
    session_affinity: Annotated[str, doc("ClientIP keeps a client on one endpoint; None or empty does not.")] = ""
    ports: Annotated[tuple[LBPort, ...], doc("Ports of the load balancer.")] = ()


class LBRuleStatus(Status, frozen=True, kw_only=True):
    """State of the load balancer."""

    conditions: Annotated[Conditions, doc("State of the rule, one entry for each aspect.")] = ()
    ports: Annotated[str, doc("Ports in force, as kubectl shows those of a Service.")] = ""
    service: Annotated[str, doc("Generated Service, as namespace/name.")] = ""


class SwitchLBRule(Object, frozen=True, kw_only=True):
    """A load balancer on an address inside a VPC."""

    spec: SwitchLBRuleSpec = SwitchLBRuleSpec()
    status: LBRuleStatus = LBRuleStatus()


class RouterLBRuleSpec(Value, frozen=True, kw_only=True):
    """External address, ports and endpoints of the load balancer."""

    ovn_eip: Annotated[str, doc("OvnEip whose address is the load balancer's.")] = ""
    vpc: Annotated[str, doc("Vpc whose router has the load balancer.")] = ""
    namespace: Annotated[str, doc("Namespace of the endpoints and of the generated Service.")] = ""
    selector: Annotated[tuple[str, ...], doc("Labels (key:value) of the pods that are endpoints.")] = ()
    endpoints: Annotated[tuple[str, ...], doc("Addresses that are endpoints, instead of selector.")] = ()
    session_affinity: Annotated[str, doc("ClientIP keeps a client on one endpoint; None or empty does not.")] = ""
    ports: Annotated[tuple[LBPort, ...], doc("Ports of the load balancer.")] = ()


class RouterLBRule(Object, frozen=True, kw_only=True):
    """A load balancer on an external address of a VPC's router."""

    spec: RouterLBRuleSpec = RouterLBRuleSpec()
    status: LBRuleStatus = LBRuleStatus()
