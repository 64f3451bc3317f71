"""ovnbridge joins Kubernetes to OVN; see docs/architecture.md for the flow."""

__version__ = "0.1.0"
