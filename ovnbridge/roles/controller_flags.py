"""Flags of the controller role: Kube-OVN's names and defaults (spec control-plane E.7)."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import combinations
from typing import Final

from ovnbridge.compile.cluster import UNDERLAY
from ovnbridge.compile.options import PER_NODE, PER_SUBNET, PROTOCOLS, Options
from ovnbridge.model import address
from ovnbridge.roles.ovn import TLS_FLAGS
from ovnbridge.settings import Flag, boolean, comma_list, duration

FLAGS: Final = (
    Flag("ovn-nb-addr", "", "OVN NB remotes, comma separated", env="OVN_NB_ADDR"),
    Flag("ovn-sb-addr", "", "OVN SB remotes, comma separated", env="OVN_SB_ADDR"),
    *TLS_FLAGS,
    Flag("ovn-timeout", 60, "deadline of a database transaction in seconds", int),
    Flag("ovsdb-con-timeout", 3, "time-out of a database connection in seconds", int),
    Flag("ovsdb-con-maxretry", 60, "accepted for compatibility: connections are retried for ever", int),
    Flag("ovsdb-inactivity-timeout", 10, "probe interval of database connections in seconds", int),
    Flag("leader-elect-lease-duration", 30.0, "life of the leader lease", duration),
    Flag("leader-elect-renew-deadline", 20.0, "time after which an unrenewed leader gives up", duration),
    Flag("leader-elect-retry-period", 6.0, "time between two tries to become or stay leader", duration),
    Flag("default-ls", "ovn-default", "default subnet"),
    Flag("default-cidr", "10.16.0.0/16", "CIDRs of the default subnet"),
    Flag("default-gateway", "", "gateways of the default subnet; first addresses when empty"),
    Flag("default-gateway-check", True, "check the gateway when a pod starts", boolean),
    Flag("default-logical-gateway", False, "logical gateway for a default underlay subnet", boolean),
    Flag("default-exclude-ips", (), "addresses excluded from the default subnet", comma_list),
    Flag("default-u2o-interconnection", False, "interconnect a default underlay subnet", boolean),
    Flag("cluster-router", "ovn-cluster", "router of the default VPC"),
    Flag("node-switch", "join", "subnet that joins nodes and pods"),
    Flag("node-switch-cidr", "100.64.0.0/16", "CIDRs of the join subnet"),
    Flag("node-switch-gateway", "", "gateways of the join subnet; first addresses when empty"),
    Flag("service-cluster-ip-range", "10.96.0.0/12", "service CIDRs"),
    Flag("kubernetes-service-host", "", "address of the Kubernetes API", env="KUBERNETES_SERVICE_HOST"),
    *(
        Flag(f"cluster-{protocol}{kind}-loadbalancer", f"cluster-{protocol}{kind}-loadbalancer", "load balancer name")
        for protocol in PROTOCOLS
        for kind in ("", "-session")
    ),
    Flag("worker-num", 3, "accepted for compatibility: there are no worker queues", int),
    Flag("enable-pprof", False, "accepted for compatibility", boolean),
    Flag("pprof-port", 10660, "port of /metrics, /livez and /readyz; 0 for none", int),
    Flag("secure-serving", False, "serve metrics over TLS", boolean),
    Flag("nodepg-probe-time", 1, "accepted for compatibility: node port groups follow at once", int),
    Flag("network-type", "geneve", "tunnel type", choices=("geneve", "vxlan", "stt", "vlan")),
    Flag("default-provider-name", "provider", "default provider network"),
    Flag("default-interface-name", "", "interface of the default provider network"),
    Flag("default-exchange-link-name", False, "exchange the names of bridge and interface", boolean),
    Flag("default-vlan-name", "ovn-vlan", "default vlan"),
    Flag("default-vlan-id", 1, "id of the default vlan", int),
    Flag("ls-dnat-mod-dl-dst", True, "NB option of Kube-OVN's OVN", boolean),
    Flag("ls-ct-skip-dst-lport-ips", True, "NB option of Kube-OVN's OVN", boolean),
    Flag("pod-nic-type", "veth-pair", "kind of pod interface"),
    Flag("enable-lb", True, "load balancers for Services", boolean),
    Flag("enable-np", True, "NetworkPolicy", boolean),
    Flag("np-enforcement", "standard", "NetworkPolicy enforcement", choices=("standard", "lax")),
    Flag("enable-eip-snat", True, "EIP and SNAT annotations of pods", boolean),
    Flag("enable-external-vpc", False, "mirror foreign routers as Vpcs", boolean),
    Flag("enable-ecmp", False, "ECMP for centralized gateways", boolean),
    Flag("keep-vm-ip", True, "virtual machines keep their addresses", boolean),
    Flag("enable-lb-svc", False, "LoadBalancer Services by pods", boolean),
    Flag("enable-ovn-lb-prefer-local", False, "prefer local backends", boolean),
    Flag("enable-metrics", True, "serve metrics", boolean),
    Flag("enable-anp", False, "AdminNetworkPolicy", boolean),
    Flag("enable-dns-name-resolver", False, "domain names in policies", boolean),
    Flag("enable-ovn-ipsec", False, "IPsec between nodes", boolean),
    Flag("cert-manager-ipsec-cert", False, "IPsec certificates by cert-manager", boolean),
    Flag("enable-live-migration-optimize", True, "KubeVirt live migration", boolean),
    Flag("external-gateway-config-ns", "kube-system", "namespace of the external gateway configuration"),
    Flag("external-gateway-switch", "external", "external switch"),
    Flag("external-gateway-net", "external", "external network"),
    Flag("external-gateway-vlanid", 0, "vlan of the external network", int),
    Flag("node-local-dns-ip", "", "addresses of node-local DNS"),
    Flag("skip-conntrack-dst-cidrs", "", "CIDRs that bypass conntrack"),
    Flag("gc-interval", 360, "accepted for compatibility: there is no garbage to collect", int),
    Flag("inspect-interval", 20, "accepted for compatibility: state is compared at every change", int),
    Flag("self-check-interval", 0.0, "time between two comparisons with a full recomputation; 0 for none", duration),
    Flag("self-check-remote", False, "let other machines ask for POST /self-check", boolean),
    Flag("cust-crd-retry-min-delay", 1, "accepted for compatibility", int),
    Flag("cust-crd-retry-max-delay", 20, "accepted for compatibility", int),
    Flag("bfd-min-tx", 100, "BFD minimal transmission interval in ms", int),
    Flag("bfd-min-rx", 100, "BFD minimal reception interval in ms", int),
    Flag("detect-mult", 3, "BFD detection multiplier", int),
    Flag("image", "", "image of workloads that the controller creates"),
    Flag("frr-image", "", "image of FRR in egress gateways"),
    Flag("tls-min-version", "", "least TLS version served"),
    Flag("tls-max-version", "", "highest TLS version served"),
    Flag("tls-cipher-suites", (), "TLS cipher suites served", comma_list),
    Flag("non-primary-cni-mode", False, "serve only attached networks", boolean),
    Flag(
        "gateway-groups",
        PER_SUBNET,
        "groups and policies of distributed gateways: one for each subnet and node, as Kube-OVN, or one for each node",
        choices=(PER_SUBNET, PER_NODE),
    ),
    Flag(
        "vpc-source-routes",
        True,
        "routes by source of custom VPCs' subnets; an OVN without Kube-OVN's patches prefers them to default routes",
        boolean,
    ),
    Flag("pod-name", "", "identity in the leader election", env="POD_NAME"),
    Flag("pod-namespace", "kube-system", "namespace of the leader lease", env="POD_NAMESPACE"),
)


def flag_problems(settings: argparse.Namespace) -> Iterator[str]:
    """What in the settings cannot be, or does not fit together (spec E.7 "Checks", F.4)."""
    cidrs = {
        "--default-cidr": settings.default_cidr,
        "--node-switch-cidr": settings.node_switch_cidr,
        "--service-cluster-ip-range": settings.service_cluster_ip_range,
    }
    unread = {name for name, value in cidrs.items() if not address.protocol(value.replace(" ", ""))}
    for name in sorted(unread):
        yield f"{name} {cidrs[name]!r} is neither a CIDR nor one of each family, as 10.16.0.0/16,fd00:10:16::/112"
    readable = {name: value for name, value in cidrs.items() if name not in unread}
    for name, value in readable.items():
        if special := address.special_range(value):
            yield f"{name} {value} overlaps the special range {special}"
    for one, other in combinations(readable, 2):
        if address.overlaps(readable[one], readable[other]):
            yield f"{one} {readable[one]} overlaps {other} {readable[other]}"
    if settings.network_type == UNDERLAY and not settings.default_interface_name:
        yield "--network-type=vlan needs --default-interface-name"
    if settings.ovsdb_inactivity_timeout <= settings.ovsdb_con_timeout:
        yield "--ovsdb-inactivity-timeout must be longer than --ovsdb-con-timeout"
    life, deadline = settings.leader_elect_lease_duration, settings.leader_elect_renew_deadline
    if not life > deadline > 1.2 * settings.leader_elect_retry_period:
        yield (
            "--leader-elect-lease-duration must be longer than --leader-elect-renew-deadline, "
            "and that longer than 1.2 times --leader-elect-retry-period"
        )


def compile_options(settings: argparse.Namespace) -> Options:
    """What the compile units need of the settings."""
    kinds = [f"{protocol}{kind}" for protocol in PROTOCOLS for kind in ("", "-session")]
    return Options(
        cluster_router=settings.cluster_router,
        default_ls=settings.default_ls,
        default_cidr=settings.default_cidr,
        default_gateway=settings.default_gateway,
        default_gateway_check=settings.default_gateway_check,
        default_exclude_ips=settings.default_exclude_ips,
        default_logical_gateway=settings.default_logical_gateway,
        default_u2o_interconnection=settings.default_u2o_interconnection,
        default_provider_name=settings.default_provider_name,
        default_interface_name=settings.default_interface_name,
        default_exchange_link_name=settings.default_exchange_link_name,
        default_vlan_name=settings.default_vlan_name,
        default_vlan_id=settings.default_vlan_id,
        enable_ecmp=settings.enable_ecmp,
        node_switch=settings.node_switch,
        node_switch_cidr=settings.node_switch_cidr,
        node_switch_gateway=settings.node_switch_gateway,
        service_cidrs=tuple(filter(None, map(str.strip, settings.service_cluster_ip_range.split(",")))),
        kubernetes_service_host=settings.kubernetes_service_host,
        network_type=settings.network_type,
        pod_nic_type=settings.pod_nic_type,
        keep_vm_ip=settings.keep_vm_ip,
        enable_eip_snat=settings.enable_eip_snat,
        non_primary_cni_mode=settings.non_primary_cni_mode,
        enable_lb=settings.enable_lb,
        ls_dnat_mod_dl_dst=settings.ls_dnat_mod_dl_dst,
        ls_ct_skip_dst_lport_ips=settings.ls_ct_skip_dst_lport_ips,
        skip_conntrack_dst_cidrs=settings.skip_conntrack_dst_cidrs,
        node_local_dns_ip=settings.node_local_dns_ip,
        prefer_local_backend=settings.enable_ovn_lb_prefer_local,
        gateway_groups=settings.gateway_groups,
        vpc_source_routes=settings.vpc_source_routes,
        external_gateway_switch=settings.external_gateway_switch,
        bfd_min_tx=settings.bfd_min_tx,
        bfd_min_rx=settings.bfd_min_rx,
        detect_mult=settings.detect_mult,
        load_balancers={k: getattr(settings, f"cluster_{k.replace('-', '_')}_loadbalancer") for k in kinds},
    )
