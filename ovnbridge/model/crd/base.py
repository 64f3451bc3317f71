"""The convention that every CRD type follows: how a field gets its wire name, description and schema keywords.

A field is declared as

    gateway: Annotated[str, doc("Gateway address; …", pattern=LOWER_CASE)] = ""

The annotation is the Kubernetes field; `doc` carries what the OpenAPI schema says beyond the type. Types are checked
when an object is decoded; keywords (enum, limits, patterns, CEL) are the API server's business only, so that
an object stored under an older schema can still be read, reported on and deleted.

Two bases: `Value` (specs and everything inside them) leaves defaults out when encoded. `Status` encodes
whole, because a status is written as a merge patch and a field left out of one would keep its old value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec

from ovnbridge.model.meta import ObjectMeta

# Keys of msgspec.Meta.extra: what a type alias says about the schema, and what the field says.
TYPE_KEYWORDS = "schema.type"
FIELD_SCHEMA = "schema.field"


class Rule(msgspec.Struct, frozen=True, gc=False):
    """One CEL rule of `x-kubernetes-validations`; `field_path` names the field the message is about.

    It must have an answer for whatever the types allow, also where something required is missing: an object that was
    stored under another schema is forgiven a refusal of what an update leaves as it was, but not an error. One at the
    root is never forgiven.
    `at_creation` asks a transition rule (one with `oldSelf`, which is an optional then) about new objects too.
    """

    rule: str
    message: str
    field_path: str = ""
    at_creation: bool = False

    def written(self) -> dict[str, Any]:
        """The rule as it stands in a schema."""
        found: dict[str, Any] = {"rule": self.rule, "message": self.message}
        if self.field_path:
            found["fieldPath"] = self.field_path
        if self.at_creation:
            found["optionalOldSelf"] = True
        return found


class FieldSchema(msgspec.Struct, frozen=True, kw_only=True):
    """What the schema says about one field beyond its type.

    `defaulted` puts the struct's default into the schema, so that the API server fills it in.
    """

    required: bool = False
    defaulted: bool = False
    rules: tuple[Rule, ...] = ()
    keywords: Mapping[str, Any] = {}


class ObjectSchema(msgspec.Struct, frozen=True, kw_only=True):
    """What the schema says about every use of one object type (class attribute `schema`).

    `narrowed` (wire name → keywords) says more about fields that are inherited: what a spec demands of them and a
    status, which repeats them, must not.
    """

    required: tuple[str, ...] = ()
    narrowed: Mapping[str, Mapping[str, Any]] = {}
    rules: tuple[Rule, ...] = ()
    keywords: Mapping[str, Any] = {}


def doc(
    description: str,
    *,
    required: bool = False,
    defaulted: bool = False,
    rules: tuple[Rule, ...] = (),
    list_type: str = "",
    map_keys: tuple[str, ...] = (),
    **keywords: Any,
) -> msgspec.Meta:
    """Describe a field. `keywords` are OpenAPI ones (enum, minimum, maxLength, pattern, …), verbatim."""
    if list_type:
        keywords["x-kubernetes-list-type"] = list_type
    if map_keys:
        keywords["x-kubernetes-list-map-keys"] = list(map_keys)
    schema = FieldSchema(required=required, defaulted=defaulted, rules=rules, keywords=keywords)
    return msgspec.Meta(description=description, extra={FIELD_SCHEMA: schema})


def typed(*rules: Rule, **keywords: Any) -> msgspec.Meta:
    """Schema keywords and rules that belong to a type wherever it is used, also as a list item."""
    if rules:
        keywords["x-kubernetes-validations"] = [rule.written() for rule in rules]
    return msgspec.Meta(extra={TYPE_KEYWORDS: keywords})


def camel(name: str) -> str:
    """`next_hop` → `nextHop`."""
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


def names(**explicit: str) -> Callable[[str], str]:
    """Wire names of a struct: the given ones, camelCase for the rest."""
    return lambda field: explicit.get(field) or camel(field)


Int32 = Annotated[int, typed(format="int32")]
Int64 = Annotated[int, typed(format="int64")]
Time = Annotated[str, typed(format="date-time")]

if TYPE_CHECKING:
    BigInt = int
    IntOrString = int | str
    Quantity = int | str
else:
    # On the wire a count may also be a float (the API server keeps what exceeds 64 bits as a double) or quoted.
    # The struct that holds one calls `exact` on it in __post_init__, so a reader always sees an int.
    BigInt = Annotated[int | float | str, typed(type="number")]
    IntOrString = Annotated[int | str, typed(**{"x-kubernetes-int-or-string": True})]
    Quantity = Annotated[
        int | str,
        typed(
            anyOf=[{"type": "integer"}, {"type": "string"}],
            pattern=(
                r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
                r"(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
            ),
            **{"x-kubernetes-int-or-string": True},
        ),
    ]

_INT64_END = 1 << 63


def exact(value: float | str) -> int:
    """A count as an int, equal to itself after a round trip through the API server.

    What does not fit 64 bits is a double there, so it is rounded to one here; otherwise the count of an IPv6
    subnet would differ for ever from the one we wrote.
    """
    try:
        number = int(value)
        if isinstance(value, float) and number != value:
            raise ValueError
        return number if -_INT64_END <= number < _INT64_END else int(float(value))
    except (ValueError, OverflowError):
        raise ValueError(f"not a whole number: {str(value)[:40]!r}") from None


def make_exact(holder: msgspec.Struct, *fields: str) -> None:
    """Apply `exact` to BigInt fields of a struct under construction."""
    for field in fields:
        value = getattr(holder, field)
        if type(value) is not int or not -_INT64_END <= value < _INT64_END:
            msgspec.structs.force_setattr(holder, field, exact(value))


class Value(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, rename=camel):
    """Base of specs and of objects inside them; defaults are left out when encoded."""

    schema: ClassVar[ObjectSchema] = ObjectSchema()


class Status(msgspec.Struct, frozen=True, kw_only=True, gc=False, rename=camel):
    """Base of statuses; encoded whole, so that a merge patch also resets what became empty."""

    schema: ClassVar[ObjectSchema] = ObjectSchema()


class Object(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of the kinds. `apiVersion` and `kind` are not kept: the type says them."""

    schema: ClassVar[ObjectSchema] = ObjectSchema()

    metadata: ObjectMeta


class Condition(Value, frozen=True, kw_only=True):
    """One aspect of an object's state, as Kube-OVN writes it."""

    type: Annotated[str, doc("Aspect described: Ready, Validated, Init, Error, or one specific to the kind.")] = ""
    status: Annotated[str, doc("Whether the aspect holds: True, False or Unknown.")] = ""
    reason: Annotated[str, doc("Why, as one CamelCase word for programs.")] = ""
    message: Annotated[str, doc("Why, as a sentence for people.")] = ""
    observed_generation: Annotated[
        Int64, doc("metadata.generation of the spec that this condition was derived from.")
    ] = 0
    last_update_time: Annotated[Time, doc("When anything in this condition last changed.")] = ""
    last_transition_time: Annotated[Time, doc("When the condition's status last changed.")] = ""


Conditions = tuple[Condition, ...]
