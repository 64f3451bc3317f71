"""`plan`: nothing is written when nothing differs, and what is written is as small and as guarded as it must be."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovnbridge.engine.items import Annotations, Finalizer, Labels, Object, ObjectItem, Spec, Status
from ovnbridge.kube.plan import PlanError, Write, plan_writes, replacing
from ovnbridge.model.crd.address import Vip, VipStatus
from ovnbridge.model.crd.base import Condition
from ovnbridge.model.crd.subnet import Subnet, SubnetSpec, SubnetStatus
from ovnbridge.model.crd.underlay import NodeNetworkCondition, ProviderNetwork, ProviderNetworkStatus
from ovnbridge.model.kube import Node
from ovnbridge.model.meta import ObjectMeta

NOW = "2024-05-01T12:00:00Z"
OLD = "2023-01-01T00:00:00Z"
OURS = "kubeovn.io/kube-ovn-controller"


def subnet(status: SubnetStatus | None = None, spec: SubnetSpec | None = None, **meta: Any) -> Subnet:
    return Subnet(
        metadata=ObjectMeta(name="s", uid="u1", **meta), spec=spec or SubnetSpec(), status=status or SubnetStatus()
    )


def plan(actual: Any, *items: ObjectItem, **options: Any) -> tuple[Write, ...]:
    return plan_writes(items, actual, now=NOW, own_finalizers=frozenset({OURS}), **options)


def annotate(**values: str | None) -> Annotations:
    return Annotations("Subnet", "s", values)


def with_status(**fields: Any) -> Status:
    return Status("Subnet", "s", SubnetStatus(**fields))


def condition(**fields: Any) -> Condition:
    return Condition(type="Ready", **fields)


def test_nothing_for_what_is_as_desired() -> None:
    actual = subnet(annotations={"a": "1", "theirs": "x"}, labels={"l": "2"}, finalizers=(OURS,))
    items = (
        annotate(a="1", gone=None),
        Labels("Subnet", "s", {"l": "2"}),
        Finalizer("Subnet", "s", OURS),
        Finalizer("Subnet", "s", "other", present=False),
        Spec("Subnet", "s", {"private": False, "excludeIps": []}),
        with_status(),
    )
    assert plan(actual, *items) == ()


def test_one_patch_for_metadata_and_spec() -> None:
    actual = subnet(annotations={"old": "x"}, finalizers=("theirs",))
    items = (
        annotate(a="1", old=None),
        Labels("Subnet", "s", {"l": "2"}),
        Finalizer("Subnet", "s", OURS),
        Spec("Subnet", "s", {"private": True, "gateway": ""}),
    )
    metadata = {
        "uid": "u1",
        "annotations": {"a": "1", "old": None},
        "labels": {"l": "2"},
        "finalizers": ["theirs", OURS],
    }
    assert plan(actual, *items) == (Write("patch", {"metadata": metadata, "spec": {"private": True}}, guarded=True),)


def test_only_finalizers_and_statuses_need_the_version() -> None:
    (write,) = plan(subnet(), annotate(a="1"))
    assert not write.guarded
    assert write.body == {"metadata": {"uid": "u1", "annotations": {"a": "1"}}}
    (write,) = plan(subnet(), with_status(v4_using_ips=3))
    assert write.guarded
    assert write.body["metadata"] == {"uid": "u1"}


def test_no_finalizer_is_added_to_what_is_being_deleted() -> None:
    assert plan(subnet(deletion_timestamp=NOW), Finalizer("Subnet", "s", OURS)) == ()
    (write,) = plan(subnet(deletion_timestamp=NOW, finalizers=(OURS,)), Finalizer("Subnet", "s", OURS, present=False))
    assert write.body["metadata"]["finalizers"] == []


def test_a_spec_field_is_compared_as_its_type() -> None:
    actual = subnet(spec=SubnetSpec(cidr_block="10.0.0.0/24", exclude_ips=("10.0.0.1",)))
    assert plan(actual, Spec("Subnet", "s", {"excludeIps": ["10.0.0.1"], "cidrBlock": "10.0.0.0/24"})) == ()
    (write,) = plan(actual, Spec("Subnet", "s", {"excludeIps": [], "cidrBlock": "10.0.0.0/24"}))
    assert write.body["spec"] == {"excludeIps": []}
    (write,) = plan(actual, Spec("Subnet", "s", {"cidrBlock": None}))
    assert write.body["spec"] == {"cidrBlock": None}


@pytest.mark.parametrize(
    "item",
    [
        Spec("Subnet", "s", {"noSuchField": 1}),
        Spec("Subnet", "s", {"private": "yes"}),
        Status("Subnet", "s", VipStatus()),
    ],
)
def test_items_that_do_not_fit_the_kind_are_a_bug(item: ObjectItem) -> None:
    with pytest.raises(PlanError):
        plan(subnet(), item)


def test_a_spec_that_is_not_kept_cannot_be_compared() -> None:
    with pytest.raises(PlanError):
        plan(Node(metadata=ObjectMeta(name="n")), Spec("Node", "n", {"x": 1}))


# ---- status


def test_a_status_is_written_whole_and_apart() -> None:
    (write,) = plan(subnet(), with_status(v4_using_ips=3))
    assert write.subresource == "status"
    assert write.body["status"] == msgspec.to_builtins(SubnetStatus(v4_using_ips=3))


def test_counts_beyond_64_bits_are_equal_to_themselves() -> None:
    huge = SubnetStatus(v6_available_ips=2**100)
    assert plan(subnet(status=huge), Status("Subnet", "s", huge)) == ()


def test_entries_that_are_not_desired_any_more_are_removed() -> None:
    assert replacing({"a": {"x": 1}, "l": [1]}, {"a": {"x": 1, "y": 2}, "b": 3, "l": [1, 2]}) == {
        "a": {"x": 1, "y": None},
        "b": None,
        "l": [1],
    }


json_values = st.recursive(
    st.integers() | st.text(max_size=2) | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


def merge(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


@given(json_values, json_values)
def test_the_merge_patch_leads_to_what_is_wanted(wanted: Any, present: Any) -> None:
    assert merge(present, replacing(wanted, present)) == wanted


def test_a_blocked_status_waits_unless_it_need_not() -> None:
    assert plan(subnet(), with_status(v4_using_ips=3), blocked=True) == ()
    now = Status("Subnet", "s", SubnetStatus(v4_using_ips=3), after_commit=False)
    assert len(plan(subnet(), now, blocked=True)) == 1


def test_a_status_without_subresource_goes_with_the_object() -> None:
    vip = Vip(metadata=ObjectMeta(name="v", uid="u2"))
    items = (Annotations("Vip", "v", {"a": "1"}), Status("Vip", "v", VipStatus(mac="00:00:00:00:00:01")))
    (write,) = plan(vip, *items, status_with_object=True)
    assert write.subresource == ""
    assert write.body["status"]["mac"] == "00:00:00:00:00:01"
    assert write.body["metadata"] == {"uid": "u2", "annotations": {"a": "1"}}


# ---- condition times (spec A.0)


def stamped(before: Condition | None, wanted: Condition) -> dict[str, Any] | None:
    actual = subnet(status=SubnetStatus(conditions=(before,) if before else ()))
    writes = plan(actual, with_status(conditions=(wanted,)))
    return writes[0].body["status"]["conditions"][0] if writes else None


def test_a_new_condition_gets_both_times() -> None:
    new = stamped(None, condition(status="True", reason="R", last_transition_time="1999-01-01T00:00:00Z"))
    assert new is not None
    assert (new["lastTransitionTime"], new["lastUpdateTime"]) == (NOW, NOW)


def test_an_unchanged_condition_keeps_its_times_and_is_not_written() -> None:
    before = condition(
        status="True", reason="R", message="m", observed_generation=3, last_update_time=OLD, last_transition_time=OLD
    )
    assert stamped(before, condition(status="True", reason="R", message="m", observed_generation=3)) is None


@pytest.mark.parametrize("change", [{"reason": "Q"}, {"message": "n"}, {"observed_generation": 4}])
def test_a_change_that_is_no_transition_moves_the_update_time_only(change: dict[str, Any]) -> None:
    before = condition(
        status="True", reason="R", message="m", observed_generation=3, last_update_time=OLD, last_transition_time=OLD
    )
    fields = {"status": "True", "reason": "R", "message": "m", "observed_generation": 3, **change}
    after = stamped(before, condition(**fields))
    assert after is not None
    assert (after["lastTransitionTime"], after["lastUpdateTime"]) == (OLD, NOW)


def test_a_transition_moves_both_times() -> None:
    before = condition(status="True", reason="R", last_update_time=OLD, last_transition_time=OLD)
    after = stamped(before, condition(status="False", reason="R"))
    assert after is not None
    assert (after["lastTransitionTime"], after["lastUpdateTime"]) == (NOW, NOW)


def test_conditions_of_several_nodes_are_told_apart() -> None:
    """A.8: those of a ProviderNetwork are about one node each; others it would be written for ever."""
    ready = [NodeNetworkCondition(type="Ready", status="True", node=node, last_update_time=OLD) for node in "ab"]
    actual = ProviderNetwork(
        metadata=ObjectMeta(name="n", uid="u1"), status=ProviderNetworkStatus(conditions=(*ready,))
    )
    fresh = [msgspec.structs.replace(one, last_update_time="") for one in ready]
    assert plan(actual, Status("ProviderNetwork", "n", ProviderNetworkStatus(conditions=(*fresh,)))) == ()
    (write,) = plan(actual, Status("ProviderNetwork", "n", ProviderNetworkStatus(conditions=(*fresh,), vlans=("v",))))
    assert [c["lastUpdateTime"] for c in write.body["status"]["conditions"]] == [OLD, OLD]


def test_a_status_change_beside_the_conditions_keeps_their_times() -> None:
    before = condition(status="True", last_update_time=OLD, last_transition_time=OLD)
    actual = subnet(status=SubnetStatus(conditions=(before,)))
    (write,) = plan(actual, with_status(v4_using_ips=1, conditions=(condition(status="True"),)))
    assert write.body["status"]["conditions"][0]["lastUpdateTime"] == OLD


# ---- existence


def test_a_missing_object_is_created_only_when_it_must_exist() -> None:
    body = {"metadata": {"name": "s"}}
    assert plan(None, annotate(a="1")) == ()
    assert plan(None, body=body) == (Write("create", body),)
    assert plan(None, Object("Subnet", "s", body)) == (Write("create", body),)
    assert plan(subnet(), Object("Subnet", "s", {"metadata": {"name": "s", "labels": {"new": "1"}}})) == ()
    assert plan(subnet(), body={"spec": {"private": True}}) == ()


def test_an_unwanted_object_loses_our_finalizer_and_is_deleted() -> None:
    writes = plan(subnet(finalizers=("theirs", OURS)), unwanted=True)
    patch = {"metadata": {"uid": "u1", "finalizers": ["theirs"]}}
    assert writes == (Write("patch", patch, guarded=True), Write("delete"))
    assert plan(subnet(), unwanted=True) == (Write("delete"),)


def test_an_unwanted_object_that_is_being_deleted_only_loses_our_finalizer() -> None:
    writes = plan(subnet(finalizers=(OURS,), deletion_timestamp=NOW), unwanted=True)
    assert [write.verb for write in writes] == ["patch"]
    assert plan(subnet(finalizers=("theirs",), deletion_timestamp=NOW), unwanted=True) == ()
