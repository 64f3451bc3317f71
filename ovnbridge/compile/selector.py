"""Label selectors (metav1.LabelSelector): canonical terms, whether they match labels, and which ones match an object.

The last question is answered the other way round from what policies say. A policy names what it selects; here a pod
asks in which selected sets it is (`memberships`) and adds itself to those (`engine.items.Member`). What all policies
name is a catalogue (`catalogues`, `engine.world.Catalogue`) of distinct selections under a label that whatever they
match must carry. So a pod looks only at the selections that its own labels lead to, a hundred policies that select the
same are one selection, and a changed label or selection reruns only what it can concern.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from ovnbridge.engine.engine import Reader
from ovnbridge.engine.world import Catalogue


class Requirement(Protocol):
    """One `matchExpressions` entry."""

    @property
    def key(self) -> str: ...
    @property
    def operator(self) -> str: ...
    @property
    def values(self) -> Sequence[str] | None: ...


class Selector(Protocol):
    """A label selector of any of our models."""

    @property
    def match_labels(self) -> Mapping[str, str] | None: ...
    @property
    def match_expressions(self) -> Sequence[Requirement] | None: ...


class Term(NamedTuple):
    """One requirement in canonical form; `values` are sorted."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


Terms: TypeAlias = tuple[Term, ...]
"""A selector in canonical form: at most one positive and one negative term a key, sorted. () selects everything."""
Labels: TypeAlias = tuple[tuple[str, str], ...]
"""Labels as an argument of queries: sorted pairs."""

NOTHING: Terms = (Term("", "In"),)


def terms(selector: Selector) -> Terms:
    """The canonical form, the same for selectors that say the same in different words.

    Requirements that contradict one another, and operators that do not exist, select nothing.
    """
    allowed: dict[str, set[str]] = {}
    excluded: dict[str, set[str]] = {}
    present: dict[str, bool] = {}
    """Whether the key must be there (True) or must not."""
    every: list[tuple[str, str, tuple[str, ...]]]
    every = [("In", key, (value,)) for key, value in (selector.match_labels or {}).items()]
    every += [(r.operator, r.key, tuple(r.values or ())) for r in selector.match_expressions or ()]
    for operator, key, values in every:
        if operator == "In":
            allowed[key] = allowed.get(key, set(values)) & set(values)
        elif operator == "NotIn":
            excluded.setdefault(key, set()).update(values)
        elif operator in ("Exists", "DoesNotExist"):
            if present.setdefault(key, operator == "Exists") != (operator == "Exists"):
                return NOTHING
        else:
            return NOTHING
    found: list[Term] = []
    for key in sorted({*allowed, *excluded, *present}):
        if key in allowed:
            left = tuple(sorted(allowed[key] - excluded.get(key, set())))
            if not left or present.get(key) is False:
                return NOTHING
            found.append(Term(key, "In", left))
        elif present.get(key) is False:
            found.append(Term(key, "DoesNotExist"))
        else:
            if present.get(key):
                found.append(Term(key, "Exists"))
            if excluded.get(key):
                found.append(Term(key, "NotIn", tuple(sorted(excluded[key]))))
    return tuple(found)


def matches(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Whether all requirements hold; an empty selector matches everything, an unknown operator nothing."""
    return satisfied(terms(selector), labels)


def satisfied(wanted: Terms, labels: Mapping[str, str]) -> bool:
    """Whether all terms hold."""
    for key, operator, values in wanted:
        value = labels.get(key)
        if operator == "In":
            if value is None or value not in values:
                return False
        elif operator == "NotIn":
            if value in values:
                return False
        elif (value is not None) != (operator == "Exists"):
            return False
    return True


def text(wanted: Terms) -> str:
    """The terms as `kubectl --selector` takes them."""
    words = {"In": "{0} in ({1})", "NotIn": "{0} notin ({1})", "Exists": "{0}", "DoesNotExist": "!{0}"}
    return ",".join(words[operator].format(key, ",".join(values)) for key, operator, values in wanted)


# -- selections: objects in namespaces


class Selection(NamedTuple):
    """Objects by their labels: of one namespace, or of the namespaces with the labels that `namespaces` asks for.

    For cluster-scoped objects (nodes, namespaces) both are left empty, and so it is for objects of all namespaces.
    """

    objects: Terms
    namespace: str = ""
    namespaces: Terms = ()

    @property
    def name(self) -> str:
        """A name for the set of what is selected, in letters that OVN accepts in names of groups and sets."""
        digest = hashlib.blake2s(f"{self.scope};{text(self.objects)}".encode(), digest_size=12).hexdigest()
        return f"sel{digest}"

    @property
    def scope(self) -> str:
        """Where it selects, as text."""
        return f"namespace {self.namespace}" if self.namespace else f"namespaces {text(self.namespaces)}"


def catalogues(name: str, table: str, selections: Callable[[Any], Iterable[Selection]]) -> tuple[Catalogue, ...]:
    """Declares what the values of a table select, for `memberships(…, name, …)`; several tables may share a name."""

    def mentions(value: Any) -> Iterator[tuple[str, Selection]]:
        for selection in selections(value):
            for anchor in _anchors(selection.objects):
                yield f"{selection.scope};{anchor}", selection

    def spaces(value: Any) -> Iterator[tuple[str, Terms]]:
        for selection in selections(value):
            if not selection.namespace:
                for anchor in _anchors(selection.namespaces):
                    yield anchor, selection.namespaces

    return Catalogue(name, table, mentions), Catalogue(f"{name}-namespaces", table, spaces)


def memberships(reader: Reader, catalogue: str, namespace: str, labels: Labels) -> tuple[Selection, ...]:
    """The selections that match an object with these labels (memoised question: objects of equal labels share it).

    `namespace` is "" for cluster-scoped objects.
    """
    scopes = [f"namespaces {text(where)}" for where in reader.query(_namespaces_terms, catalogue, namespace)]
    if namespace:
        scopes.append(f"namespace {namespace}")
    known = dict(labels)
    found: list[Selection] = []
    for scope in scopes:
        for place in _places(labels):
            for selection in reader.by(catalogue, f"{scope};{place}"):
                if satisfied(selection.objects, known):
                    found.append(selection)
    return tuple(sorted(found))


def _namespaces_terms(reader: Reader, catalogue: str, namespace: str) -> tuple[Terms, ...]:
    """The namespace selectors of a catalogue that match a namespace (memoised question); "" matches () alone."""
    value = reader.get("Namespace", namespace) if namespace else None
    known = value.metadata.all_labels() if value is not None else {}
    return tuple(
        wanted
        for place in _places(known.items())
        for wanted in reader.by(f"{catalogue}-namespaces", place)
        if not wanted or (value is not None and satisfied(wanted, known))
    )


def _anchors(wanted: Terms) -> tuple[str, ...]:
    """Where a selector is to be found: under one label that it requires, by value or else by key, or under ""."""
    required = [term for term in wanted if term.operator == "In"] or [t for t in wanted if t.operator == "Exists"]
    if not required:
        return ("",)
    key, _, values = min(required, key=lambda term: len(term.values))
    return tuple(f"{key}={value}" for value in values) if values else (key,)


def _places(labels: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Where selectors that match these labels may be found."""
    yield ""
    for key, value in labels:
        yield key
        yield f"{key}={value}"
