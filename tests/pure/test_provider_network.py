"""ProviderNetworks: their status by nodes, and what annotations of nodes ask of them (spec A.8, B.4, D.4, D.17)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.cluster import NOW, Cluster, Json, merged, node, pod, underlay

SUFFIX = "provider-network.kubernetes.io"
READY = {f"net1.{SUFFIX}/ready": "true"}


def network(**spec: Any) -> Json:
    return {"kind": "ProviderNetwork", "metadata": {"name": "net1"}, "spec": {"defaultInterface": "eth1", **spec}}


def annotated(name: str, **notes: str) -> Json:
    return merged(node(name), {"metadata": {"annotations": {f"net1.{SUFFIX}/{k}": v for k, v in notes.items()}}})


def agent(on: str, error: str = "", app: str = "kube-ovn-cni") -> Json:
    notes = {f"net1.{SUFFIX}/err_mesg": error} if error else {}
    return merged(pod(f"kube-system/cni-{on}", on), {"metadata": {"labels": {"app": app}, "annotations": notes}})


def ready(*objects: Json) -> Cluster:
    cluster = Cluster()
    cluster.apply(*objects).run()
    return cluster


def status(cluster: Cluster) -> Json:
    found: Json = cluster.get("ProviderNetwork", "net1").get("status", {})
    return found


def states(cluster: Cluster) -> dict[str, tuple[str, str, str]]:
    return {
        c["node"]: (c["status"], c["reason"], c.get("message", ""))
        for c in status(cluster).get("conditions", ())
        if c["type"] == "Ready"
    }


DONE = ("True", "InitOVSBridgeSucceeded", "")


def test_ready_by_the_nodes_labels() -> None:
    cluster = ready(network(), node("n-1", labels=READY), node("n-2"), agent("n-2", "no such interface"), agent("n-1"))
    assert status(cluster)["ready"] is False
    assert (status(cluster)["readyNodes"], status(cluster)["notReadyNodes"]) == (["n-1"], ["n-2"])
    assert states(cluster) == {"n-1": DONE, "n-2": ("False", "InitOVSBridgeFailed", "no such interface")}
    cluster.apply(node("n-2", labels=READY)).run()
    assert (status(cluster)["ready"], status(cluster)["readyNodes"]) == (True, ["n-1", "n-2"])
    assert states(cluster) == {"n-1": DONE, "n-2": DONE}
    cluster.delete("Node", "n-1").run()
    assert (status(cluster)["readyNodes"], states(cluster)) == (["n-2"], {"n-2": DONE})


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ({}, {"n-1", "n-2", "n-3"}),
        ({"excludeNodes": ["n-2"]}, {"n-1", "n-3"}),
        ({"nodeSelector": {"matchLabels": {"zone": "a"}}}, {"n-1", "n-2"}),
        ({"nodeSelector": {"matchLabels": {"zone": "a"}}, "excludeNodes": ["n-1"]}, {"n-1", "n-2"}),
        ({"nodeSelector": {"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}}, {"n-3"}),
    ],
)
def test_which_nodes_are_part_of_it(spec: Json, part: set[str]) -> None:
    """nodeSelector overrides excludeNodes."""
    nodes = [node(f"n-{n}", labels={**READY, **({"zone": "a"} if n < 3 else {})}) for n in (1, 2, 3)]
    cluster = ready(network(**spec), *nodes)
    assert set(status(cluster)["readyNodes"]) == set(states(cluster)) == part
    assert status(cluster)["ready"] is True


def test_what_is_not_known_stands() -> None:
    """While no node says anything: in a cluster that has no agents yet, or in a dump."""
    said = {
        "ready": True,
        "readyNodes": ["n-2", "n-1"],
        "conditions": [{"node": "n-2", "type": "Ready", "status": "True", "reason": "InitOVSBridgeSucceeded",
                        "lastUpdateTime": NOW, "lastTransitionTime": NOW}],
        "vlans": ["v"],
    }  # fmt: skip
    cluster = ready(*underlay())
    cluster.apply({**network(), "status": said}, node("n-1"), node("n-2"), agent("n-1", app="other")).run()
    assert {k: v for k, v in status(cluster).items() if v} == said
    cluster.delete("Node", "n-2").run()
    assert (status(cluster)["ready"], status(cluster)["readyNodes"], states(cluster)) == (True, ["n-1"], {})
    cluster.apply(node("n-2"), agent("n-1")).run()
    assert status(cluster)["ready"] is False
    assert (status(cluster)["readyNodes"], status(cluster)["notReadyNodes"]) == ([], ["n-1", "n-2"])
    assert states(cluster)["n-1"] == ("False", "InitOVSBridgeFailed", "")
    assert states(cluster)["n-2"] == ("False", "InitOVSBridgeFailed", "no kube-ovn-cni on the node")


def test_the_time_of_a_nodes_condition_is_its_own() -> None:
    cluster = ready(network(), node("n-1", labels=READY), node("n-2"), agent("n-2", "broken"))
    before = {c["node"]: {**c, "lastTransitionTime": "2025-01-01T00:00:00Z"} for c in status(cluster)["conditions"]}
    cluster.api.patch("ProviderNetwork", "net1", {"status": {"conditions": list(before.values())}})
    cluster.apply(agent("n-2", "still broken")).run()
    found = {c["node"]: c["lastTransitionTime"] for c in status(cluster)["conditions"]}
    assert found == {"n-1": "2025-01-01T00:00:00Z", "n-2": "2025-01-01T00:00:00Z"}
    cluster.apply(node("n-2", labels=READY)).run()
    found = {c["node"]: c["lastTransitionTime"] for c in status(cluster)["conditions"]}
    assert found == {"n-1": "2025-01-01T00:00:00Z", "n-2": NOW}


def test_annotations_of_nodes_become_part_of_the_spec() -> None:
    cluster = ready(
        network(customInterfaces=[{"interface": "eth2", "nodes": ["n-4"]}]),
        annotated("n-1", exclude="true"),
        annotated("n-2", interface="eth2"),
        annotated("n-3", interface="eth3", exclude="false"),
        annotated("n-4", interface="eth9"),
        annotated("n-5", interface="far too long a name"),
    )
    spec = cluster.get("ProviderNetwork", "net1")["spec"]
    assert spec["excludeNodes"] == ["n-1"]
    assert spec["customInterfaces"] == [
        {"interface": "eth2", "nodes": ["n-4", "n-2"]},
        {"interface": "eth3", "nodes": ["n-3"]},
    ]
    for name in ("n-1", "n-2", "n-3", "n-4"):
        assert not [n for n in cluster.get("Node", name)["metadata"]["annotations"] if SUFFIX in n]
    assert [n for n in cluster.get("Node", "n-5")["metadata"]["annotations"] if SUFFIX in n]
    (event,) = (i for i in cluster.state.reactor.items("Node", "n-5") if type(i).__name__ == "Event")
    assert "far too long" in event.message  # type: ignore[union-attr]


def test_annotations_wait_for_their_network_and_go_after_they_are_served() -> None:
    cluster = ready(annotated("n-1", interface="eth3"))
    assert [n for n in cluster.get("Node", "n-1")["metadata"]["annotations"] if SUFFIX in n]
    cluster.apply(network())
    cluster.hear()
    (write,) = [w for w in cluster.plan("ProviderNetwork", "net1") if w.body and "spec" in w.body]
    assert write.body is not None
    assert not [w for w in cluster.plan("Node", "n-1") if SUFFIX in str(w.body)], "the spec does not say it yet"
    cluster.run()
    assert not [n for n in cluster.get("Node", "n-1")["metadata"]["annotations"] if SUFFIX in n]
    assert cluster.get("ProviderNetwork", "net1")["spec"]["customInterfaces"] == [
        {"interface": "eth3", "nodes": ["n-1"]}
    ]
