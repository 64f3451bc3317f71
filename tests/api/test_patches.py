"""Patches as pure functions: the examples of the RFCs, and properties over generated documents."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovnbridge.lab.api.errors import ApiError
from ovnbridge.lab.api.patches import Apply, Strategic, json_patch, merge_patch

# RFC 7386, appendix A
MERGES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]
# RFC 6902, appendix A (the ones that succeed)
PATCHES: list[tuple[Any, list[dict[str, Any]], Any]] = [
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
    ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
    ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
    ({"baz": "qux"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo"}),
    (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    (
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    (
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}],
        {"baz": "qux", "foo": ["a", 2, "c"]},
    ),
    ({"foo": "bar"}, [{"op": "add", "path": "/child", "value": {"a": {}}}], {"foo": "bar", "child": {"a": {}}}),
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}], {"foo": "bar", "baz": "qux"}),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
    ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["abc"]}], {"foo": ["bar", ["abc"]]}),
    ({"a": 1}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": 1, "b": 1}),
    ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
]
# RFC 6902, appendix A and its text (the ones that fail)
REFUSED: list[tuple[Any, list[dict[str, Any]]]] = [
    ({"baz": "qux"}, [{"op": "test", "path": "/baz", "value": "bar"}]),
    ({"foo": "bar"}, [{"op": "add", "path": "/baz/bat", "value": "qux"}]),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": "10"}]),
    ({"a": 1}, [{"op": "remove", "path": "/b"}]),
    ({"a": 1}, [{"op": "replace", "path": "/b", "value": 1}]),
    ({"a": [1]}, [{"op": "add", "path": "/a/2", "value": 1}]),
    ({"a": [1]}, [{"op": "add", "path": "/a/01", "value": 1}]),
    ({"a": [1]}, [{"op": "remove", "path": "/a/-"}]),
    ({"a": {"b": 1}}, [{"op": "move", "from": "/a", "path": "/a/b"}]),
    ({"a": 1}, [{"op": "spin", "path": "/a"}]),
    ({"a": 1}, [{"op": "add", "path": "/a"}]),
    ({"a": 1}, [{"op": "add", "path": "a", "value": 1}]),
    ({"a": True}, [{"op": "test", "path": "/a", "value": 1}]),
]


@pytest.mark.parametrize(("live", "patch", "expected"), MERGES)
def test_merge_patch_of_the_rfc(live: Any, patch: Any, expected: Any) -> None:
    assert merge_patch(copy.deepcopy(live), patch) == expected


@pytest.mark.parametrize(("live", "patch", "expected"), PATCHES)
def test_json_patch_of_the_rfc(live: Any, patch: Any, expected: Any) -> None:
    assert json_patch(copy.deepcopy(live), patch) == expected


@pytest.mark.parametrize(("live", "patch"), REFUSED)
def test_json_patch_refusals_of_the_rfc(live: Any, patch: Any) -> None:
    with pytest.raises(ApiError):
        json_patch(copy.deepcopy(live), patch)


scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
names = st.sampled_from(["a", "b", "c", "x/y", "~"])
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4), max_leaves=12
)
objects = st.dictionaries(names, documents, max_size=4)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return value


@given(objects, objects)
def test_merge_patch_twice_is_once(live: Any, patch: Any) -> None:
    once = merge_patch(copy.deepcopy(live), patch)
    assert merge_patch(copy.deepcopy(once), patch) == once


@given(objects)
def test_merge_patch_of_nothing_is_the_patch(patch: Any) -> None:
    assert merge_patch({}, patch) == without_nulls(patch)


@given(objects, names, documents)
def test_add_then_remove_leaves_no_trace(live: Any, name: str, value: Any) -> None:
    path = "/" + name.replace("~", "~0").replace("/", "~1")
    added = json_patch(copy.deepcopy(live), [{"op": "add", "path": path, "value": value}])
    assert added[name] == value
    removed = json_patch(added, [{"op": "remove", "path": path}])
    assert removed == {key: item for key, item in live.items() if key != name}


# -- strategic merge and apply: by schema ------------------------------------------------------------------------

DEFINITIONS: dict[str, Any] = {
    "Root": {
        "properties": {
            "parts": {
                "type": "array",
                "items": {"$ref": "Part"},
                "x-kubernetes-patch-strategy": "merge",
                "x-kubernetes-patch-merge-key": "name",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
            "tags": {
                "type": "array",
                "items": {"type": "string"},
                "x-kubernetes-patch-strategy": "merge",
                "x-kubernetes-list-type": "set",
            },
            "plain": {"type": "array", "items": {"type": "string"}},
            "whole": {"type": "object", "x-kubernetes-map-type": "atomic"},
        }
    },
    "Part": {"properties": {"name": {"type": "string"}, "size": {"type": "integer"}}},
}
ROOT = {"$ref": "Root"}


def strategic(live: Any, patch: Any) -> Any:
    return Strategic(DEFINITIONS, ROOT).apply(copy.deepcopy(live), patch)


def apply(live: Any, applied: Any, before: Any = None) -> Any:
    return Apply(DEFINITIONS, ROOT).apply(copy.deepcopy(live), copy.deepcopy(applied), before)


def test_strategic_lists() -> None:
    live = {"parts": [{"name": "a", "size": 1}, {"name": "b"}], "tags": ["x"], "plain": ["p"]}
    assert strategic(live, {"parts": [{"name": "b", "size": 2}, {"name": "c"}]})["parts"] == [
        {"name": "a", "size": 1},
        {"name": "b", "size": 2},
        {"name": "c"},
    ]
    assert strategic(live, {"tags": ["x", "y"]})["tags"] == ["x", "y"]
    assert strategic(live, {"plain": ["q"]})["plain"] == ["q"]


def test_strategic_directives() -> None:
    live = {"parts": [{"name": "a", "size": 1}, {"name": "b"}], "tags": ["x", "y"], "whole": {"k": 1}}
    assert strategic(live, {"parts": [{"$patch": "delete", "name": "a"}]})["parts"] == [{"name": "b"}]
    assert strategic(live, {"parts": [{"$patch": "replace"}, {"name": "z"}]})["parts"] == [{"name": "z"}]
    assert strategic(live, {"whole": {"$patch": "replace", "n": 2}})["whole"] == {"n": 2}
    assert strategic(live, {"whole": {"$retainKeys": ["n"], "n": 2}})["whole"] == {"n": 2}
    assert strategic(live, {"$deleteFromPrimitiveList/tags": ["x"]})["tags"] == ["y"]
    ordered = strategic(live, {"$setElementOrder/parts": [{"name": "b"}, {"name": "a"}], "parts": [{"name": "b"}]})
    assert [part["name"] for part in ordered["parts"]] == ["b", "a"]


def test_strategic_element_without_key() -> None:
    with pytest.raises(ApiError):
        strategic({}, {"parts": [{"size": 1}]})


def test_apply_removes_what_the_manager_left_out() -> None:
    live = {"parts": [{"name": "a", "size": 1}, {"name": "b"}], "tags": ["x", "y"], "plain": ["p"], "other": 1}
    before = {"parts": [{"name": "a", "size": 1}], "tags": ["x"], "plain": ["p"]}
    assert apply(live, {"parts": [], "tags": ["z"]}, before) == {
        "parts": [{"name": "b"}],
        "tags": ["y", "z"],
        "other": 1,
    }


def test_apply_replaces_atomic_maps() -> None:
    assert apply({"whole": {"a": 1}}, {"whole": {"b": 2}})["whole"] == {"b": 2}


@given(st.dictionaries(st.sampled_from("abc"), st.integers()), st.dictionaries(st.sampled_from("abc"), st.integers()))
def test_apply_follows_its_manager(first: dict[str, int], second: dict[str, int]) -> None:
    """Whatever one manager applies in turn, the object is what it applied last, beside what others own."""
    live = apply({"theirs": 1}, first)
    assert apply(live, second, first) == {"theirs": 1, **second}
