"""The Kubernetes edge: what goes in and out of the API server, and nothing that decides.

Reading: `connection` → `reflector` (list and watch, one per kind, owned by `cache`) → `known` (which of two versions
of an object is newer) → the sink, which is the World. Writing: the desired items of an object → `plan` (pure: what
differs) → `writer` (sends it, retries it) → the reply goes back into the cache, so that the next plan sees it.
`events` posts Kubernetes events, `lease` elects the leader, `credentials` finds the server and keeps the token
fresh, `backoff` says how long to wait after a failure.
"""
