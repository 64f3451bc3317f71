"""The 25 custom resource kinds of `kubeovn.io/v1`: the single source of their types and of their CRD manifests.

One module per group of kinds holds the types (`vpc`, `subnet`, `address`, …), `core` the Kubernetes types they
embed, `base` the convention that ties a description and schema keywords to a field. `kinds` is the one table of
names, columns and scopes, `resources` its HTTP side; `schema` turns it into `manifests/crds/*.yaml`
(`tools/generate_crds.py`); `codec` decodes and encodes objects the way Kubernetes does.

The reflector in `kube/` feeds these types, `compile/` reads specs and yields statuses, the writer drains them.
"""
