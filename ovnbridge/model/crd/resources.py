"""How each custom kind is addressed over HTTP: `Resource` constants, read off the kind table."""

from __future__ import annotations

from ovnbridge.model.crd.kinds import KINDS

VPCS = KINDS["Vpc"].resource
SUBNETS = KINDS["Subnet"].resource
IPS = KINDS["IP"].resource
IP_POOLS = KINDS["IPPool"].resource
VIPS = KINDS["Vip"].resource
VLANS = KINDS["Vlan"].resource
PROVIDER_NETWORKS = KINDS["ProviderNetwork"].resource
SECURITY_GROUPS = KINDS["SecurityGroup"].resource
QOS_POLICIES = KINDS["QoSPolicy"].resource
VPC_NAT_GATEWAYS = KINDS["VpcNatGateway"].resource
IPTABLES_EIPS = KINDS["IptablesEIP"].resource
IPTABLES_FIP_RULES = KINDS["IptablesFIPRule"].resource
IPTABLES_DNAT_RULES = KINDS["IptablesDnatRule"].resource
IPTABLES_SNAT_RULES = KINDS["IptablesSnatRule"].resource
OVN_EIPS = KINDS["OvnEip"].resource
OVN_FIPS = KINDS["OvnFip"].resource
OVN_SNAT_RULES = KINDS["OvnSnatRule"].resource
OVN_DNAT_RULES = KINDS["OvnDnatRule"].resource
SWITCH_LB_RULES = KINDS["SwitchLBRule"].resource
ROUTER_LB_RULES = KINDS["RouterLBRule"].resource
VPC_DNSES = KINDS["VpcDns"].resource
VPC_EGRESS_GATEWAYS = KINDS["VpcEgressGateway"].resource
DNS_NAME_RESOLVERS = KINDS["DNSNameResolver"].resource
BGP_CONFS = KINDS["BgpConf"].resource
EVPN_CONFS = KINDS["EvpnConf"].resource
