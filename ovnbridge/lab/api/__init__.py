"""An embedded Kubernetes API server for the lab and the tests: in memory, on asyncio, judged by the real one.

`server.ApiServer` is the entry. A request goes `server` (counters, faults) → `requests` (verbs; `query` parses,
`documents` answers discovery and OpenAPI) → `objects` (create, update, patch) or `lifecycle` (delete and what
follows from it) → `store` (versions, history) → `watch` (open streams). Schemas, zero values and merge keys of
builtin kinds are the real server's (`data/openapi.json.gz`, made by `tools/generate_openapi.py`); `defaults` and
`validation` hold what the real server has in code. `tests/api/test_conformance.py` runs against both servers.

As on the real server, an unknown field of a builtin kind is an error with `fieldValidation=Strict`, and is dropped
with a `Warning` header without it; a wrong type is always an error.

Not honoured, on purpose:
- authentication, authorization, TLS, admission webhooks and policies, quotas, priority and fairness;
- field ownership: server-side apply merges three ways per manager, without conflicts or `managedFields`;
- CEL rules of CRDs, conversion webhooks (versions of a CRD differ in `apiVersion` only), structural checks of CRDs;
- bodies in protobuf (415: `kubectl create NOUN`, `auth can-i` and `create token` of 1.32 and later send them; use
  `--dry-run=client -o yaml | kubectl apply -f -`); where protobuf is accepted as an answer, JSON is sent;
- what admission plugins add: tokens mounted in pods, the not-ready taint of new nodes, protection of volumes in use;
- an eviction ignores disruption budgets; `exec`, `logs`, `port-forward` and `proxy` do not exist;
- controllers: nothing schedules, scales, rolls out or makes service accounts and endpoints. Garbage collection and the
  deletion of namespaces do happen; a foreground deletion waits for all dependents, blocking or not.
"""

from .faults import Faults
from .server import ApiServer

__all__ = ["ApiServer", "Faults"]
