"""The node edge: everything that `ovnbridge` does on one machine.

`cluster` holds the few Kubernetes objects that this node needs (fed by `kube/`), `ovs` the replica of the local Open
vSwitch, `netlink` and `netns` the kernel. Pure decisions stand in `names`, `attachment` (what a pod's interface must
look like) and `plan` (what the node itself must look like). Two things apply them: `cni/`, driven by requests of the
container runtime, and `host`, driven by changes of any of the three sources.
"""
