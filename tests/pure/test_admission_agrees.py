"""The webhook and the controller say the same: what is admitted is carried out, what is refused would not have been.

Random objects are shown to the judge, then written all the same, and the controller's warnings about them are compared
with the verdict. What may differ is named here, with where it comes from.
"""

from __future__ import annotations

import random
import re

import pytest

from ovnbridge.compile.options import Options
from ovnbridge.engine.items import Event
from ovnbridge.model.crd.codec import convert
from ovnbridge.validation import Judge
from tests.support.admission import TYPES, review
from tests.support.candidates import KINDS, LATER, candidate, stage
from tests.support.cluster import Cluster, Json, key_of

MAY_PASS = re.compile(
    r"(subnet|vpc|vlan|vip|ippool|namespace) '?\S*'? (does not exist|is not valid)"  # may be the next in the manifest
    r"|^NoReadyGateway: |^VpcIncomplete: "  # the state of nodes and of other objects
    r"|OvnEip \S+ has no address|needs the router to be attached to"
    r"|NoAvailableAddress|no node that it selects has a chassis|MAC \S+ .* used"  # changes with the cluster
)
"""Warnings that do not say that the object is wrong."""
ONLY_BEFORE = re.compile(
    r"has this name already|a subnet stays in its vpc|the gateway cannot change|cannot become each other"
    r"|cannot change: it is|cannot change once it is assigned|must be in lower case|a vip belongs to a subnet"
)
"""Rules that only the webhook has (spec F.5): about names, about what an update changes, about how it is written."""


def follower(cluster: Cluster) -> Judge:
    """A judge that knows what the API server has."""
    found = Judge(Options())
    for (kind, key), obj in cluster.api.objects.items():
        if kind in TYPES:
            found.world.put(kind, key, convert(obj, TYPES[kind]))
    return found


def warnings(cluster: Cluster, kind: str, key: str) -> list[str]:
    """What the controller has against an object."""
    items = cluster.engine.desired.items(kind, key)
    return [f"{i.reason}: {i.message}" for i in items if isinstance(i, Event) and i.type == "Warning"]


def agree(cluster: Cluster, operation: str, new: Json, old: Json | None) -> None:
    """Ask, write all the same, and compare."""
    kind, key = key_of(new)
    full = new if old is None else {**old, "spec": new["spec"]}  # as the API server shows an edit of the spec
    if old is not None and convert(full, TYPES[kind]).spec == convert(old, TYPES[kind]).spec:
        return  # always passes
    verdict = review(follower(cluster), operation, full, old)
    cluster.apply(full)
    if old is None:
        cluster.api.patch(kind, key, {"metadata": {"creationTimestamp": LATER}})
    cluster.run()
    told = [text for text in warnings(cluster, kind, key) if not all(map(MAY_PASS.search, text.split("; ")))]
    said = "" if verdict["allowed"] else verdict["status"]["message"]
    if verdict["allowed"]:
        assert not told, f"admitted: {operation} {new}"
    elif not ONLY_BEFORE.search(said):
        assert warnings(cluster, kind, key), f"refused, though it works: {said}: {operation} {new}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rounds", [40, pytest.param(150, marks=pytest.mark.slow)])
def test_both_say_the_same(kind: str, rounds: int) -> None:
    cluster = stage()
    cluster.run()
    pick = random.Random(f"{kind} {rounds}")
    for _ in range(rounds):
        first = candidate(kind, pick)
        agree(cluster, "CREATE", first, None)
        key = key_of(first)[1]
        if kind != "Pod":  # pods are only looked at when they are created
            for _ in range(2):
                agree(cluster, "UPDATE", candidate(kind, pick), cluster.get(kind, key))
        cluster.delete(kind, key).run()


def test_there_is_something_to_agree_upon() -> None:
    """Each kind has candidates that pass and candidates that do not."""
    cluster = stage()
    cluster.run()
    at = follower(cluster)
    for kind in KINDS:
        pick = random.Random(f"{kind} both")
        verdicts = [review(at, "CREATE", candidate(kind, pick))["allowed"] for _ in range(60)]
        assert 5 <= sum(verdicts) <= 55, (kind, sum(verdicts))
