"""The CNI server: requests of the container runtime, through the shim, to the pod's interface and back.

`request` decodes what comes in and `result` shapes what goes out, `server` speaks HTTP on the unix socket, `service`
carries a request out.
"""
