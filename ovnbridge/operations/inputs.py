"""State for a dry run from files: dumped objects, an NB and an SB database. `live.py` reads a running cluster."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import yaml

from ovnbridge.compile.dhcp import row_key
from ovnbridge.compile.lease import STICKY
from ovnbridge.compile.nets import NETWORKS
from ovnbridge.compile.options import UNKNOWN_KINDS
from ovnbridge.compile.subnet_status import DHCP_ROWS, dhcp_key
from ovnbridge.compile.workload import STATEFUL_SET, VIRTUAL_MACHINE
from ovnbridge.controller import KINDS, NB_COLUMNS, OPTIONAL_KINDS, SB_COLUMNS, ControllerState
from ovnbridge.model.crd.codec import convert
from ovnbridge.model.crd.subnet import Subnet, SubnetStatus
from ovnbridge.ovsdb.dumps import documents
from ovnbridge.ovsdb.file import NB_SCHEMA, SB_SCHEMA, FileDatabase
from ovnbridge.settings import FLAGS_VARIABLE

Json: TypeAlias = dict[str, Any]
_BY_KIND = {resource.kind: (resource, kind) for resource, kind in KINDS}
_BY_PLURAL = {resource.plural: resource.kind for resource, _ in KINDS}
_OWNERS = OPTIONAL_KINDS | {STATEFUL_SET}
"""Kinds that dumps often lack: that there is no object of one says nothing, unless an empty list of it is there."""
_SUFFIXES = frozenset({".yaml", ".yml", ".json"})


FLAGS_TOO = (
    "The controller's flags (--default-cidr=…, --enable-lb=false, …) count here too: those that it has must be given, "
    f"or stand in the environment variable {FLAGS_VARIABLE}."
)
GIVE_SB = "give --sb"
"""Why OVN SB is not examined when nothing says where it is."""


class InputError(Exception):
    """An input cannot be read; the text says which and why."""


class Notes(msgspec.Struct):
    """What is to be said about an input that was read."""

    problems: list[str] = []
    """Objects that cannot be decoded: what is planned without them cannot be trusted."""
    warnings: list[str] = []
    """What was left out because it is no Kubernetes object."""
    unread: dict[str, int] = {}
    """How many rows the NB tables have that the controller never looks at, those with none left out."""
    unseen: str = ""
    """Why OVN SB is not examined, "" when it is."""


def why(error: Exception) -> str:
    """One line that says why a file cannot be read; its name is told by whoever asks."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as Kubernetes reads it: a timestamp is text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, expression) for tag, expression in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def read_objects(directory: Path, warn: Callable[[str], None], *, leave: Sequence[Path] = ()) -> Iterator[Json]:
    """All Kubernetes objects in the YAML and JSON files of a directory and those below it.

    Files hold one or many documents: objects, lists of them (`List`, `PodList`, …, plain arrays), or maps from plural
    to objects as in `reference/parity/*/k8s.json`. Of an empty list `{"kind": "…List"}` comes.
    `warn` is told of whatever else there is; files of `leave` are not read. Raises InputError.
    """
    if not directory.is_dir():
        raise InputError(f"{directory}: {'a file, and no' if directory.exists() else 'no such'} directory")
    files = sorted(p for p in directory.glob("**/*") if p.suffix.lower() in _SUFFIXES and p.is_file())
    if not files:
        raise InputError(f"{directory}: no YAML or JSON files")
    for path in files:
        if any(path.samefile(left) for left in leave):
            continue
        try:
            found = list(_documents(path))
        except (yaml.YAMLError, OSError, ValueError) as error:
            raise InputError(f"{path}: {why(error)}") from error
        for number, document in enumerate(found):
            place = f"{path}, document {number + 1}" if len(found) > 1 else str(path)
            yield from _objects(document, place, warn)


def _documents(path: Path) -> Iterator[Any]:
    data = path.read_bytes()
    if path.suffix.lower() == ".json":
        try:
            yield from documents(data)
        except json.JSONDecodeError:
            pass  # YAML under another name, or broken: YAML's message says where
        else:
            return
    yield from yaml.load_all(data, Loader=_Loader)


def _objects(document: Any, place: str, warn: Callable[[str], None], kind: str = "") -> Iterator[Json]:
    if document is None:
        return  # an empty YAML document
    if isinstance(document, list):
        for entry in document:
            yield from _objects(entry, place, warn, kind)
    elif not isinstance(document, dict):
        warn(f"{place}: no Kubernetes object: {str(document)[:60]!r}")
    elif isinstance(document.get("items"), list):
        if not document["items"]:
            yield {"kind": document.get("kind")}
        yield from _objects(
            document["items"], place, warn, str(document.get("kind") or "").removesuffix("List") or kind
        )
    elif isinstance(document.get("metadata"), dict) and document["metadata"].get("name"):
        if document.get("kind") or kind:
            yield document if document.get("kind") else {"kind": kind, **document}
        else:
            warn(f"{place}: an object without kind: {document['metadata']['name']}")
    elif document and "kind" not in document and all(isinstance(v, list | dict) for v in document.values()):
        if not any(str(plural) in _BY_PLURAL for plural in document):
            warn = _once(warn)  # something else entirely, such as a readable NB database
        for plural, entries in document.items():
            named = _BY_PLURAL.get(str(plural), f"({plural})")
            if not entries:
                yield {"kind": f"{named}List"}
            yield from _objects(entries, f"{place}, {plural}", _once(warn), named)
    else:
        warn(f"{place}: no Kubernetes object (it has no metadata.name)")


def _once(warn: Callable[[str], None]) -> Callable[[str], None]:
    """Say of a list what is wrong with the first of its entries only."""
    told: list[str] = []

    def first(text: str) -> None:
        if not told:
            told.append(text)
            warn(text)

    return first


def feed_objects(state: ControllerState, objects: Iterable[Json]) -> list[str]:
    """Put objects of the kinds that the controller reads into the World. Returns what could not be decoded.

    Of an object that is there twice, the one that a server has stored (it has a uid) counts, not the manifest.
    """
    tables: dict[str, dict[str, Any]] = {kind: {} for kind in _BY_KIND}
    problems: list[str] = []
    unknown = set(_OWNERS)
    for found in objects:
        unknown.discard(str(found.get("kind")).removesuffix("List"))
        entry = _BY_KIND.get(str(found.get("kind")))
        if entry is None or "metadata" not in found:
            continue
        resource, kind = entry
        group = str(found.get("apiVersion") or resource.api_version).rpartition("/")[0]
        if group != resource.group:
            continue  # another product's Subnet, Vpc, …
        try:
            value = convert(found, kind)
        except msgspec.ValidationError as error:
            problems.append(f"{resource.kind} {found['metadata']['name']}: {error}")
            continue
        known = tables[resource.kind].get(value.metadata.key)
        if known is None or value.metadata.uid or not known.metadata.uid:
            tables[resource.kind][value.metadata.key] = value
    for name, values in tables.items():
        state.source.replace(_BY_KIND[name][0], None if name in unknown else values)
    return problems


async def from_files(
    directory: Path, nb: Path, sb: Path | None = None, sb_columns: Mapping[str, Sequence[str]] = SB_COLUMNS
) -> tuple[ControllerState, Notes]:
    """State from dumped objects and databases in any form (`ovsdb/file.py`). Raises InputError."""
    database = await _database(nb, NB_COLUMNS, NB_SCHEMA)
    southbound = await _database(sb, sb_columns, SB_SCHEMA) if sb is not None else None
    notes = Notes(unread=database.unread, unseen=GIVE_SB if southbound is None else "")
    objects = read_objects(directory, notes.warnings.append, leave=[nb, *([sb] if sb is not None else [])])
    state = ControllerState(database, southbound)
    database.publish()
    if southbound is not None:
        southbound.publish()
    notes.problems = feed_objects(state, objects)
    if not database.says_uuids:
        _take_uuids(state)
    notes.warnings += held(state)
    if not any(state.world.size(kind) for kind in _BY_KIND):
        raise InputError(f"{directory}: no objects of the kinds that the controller reads ({', '.join(_BY_KIND)})")
    return state, notes


async def _database(path: Path, columns: Mapping[str, Sequence[str]], stand_in: Path) -> FileDatabase:
    try:
        return await FileDatabase.read(path, columns, stand_in)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {why(error)}") from error


def held(state: ControllerState) -> Iterator[str]:
    """What stays as it is because nobody knows which objects there are."""
    world = state.world
    kept = {world.get(STICKY, owner) for owner in world.keys(STICKY)}
    networks = any(pod.metadata.annotation(NETWORKS) for key in world.keys("Pod") if (pod := world.get("Pod", key)))
    for kinds, needed, what in (
        ((STATEFUL_SET,), STATEFUL_SET in kept, "the addresses of their pods stay"),
        ((VIRTUAL_MACHINE, f"{VIRTUAL_MACHINE}Instance"), VIRTUAL_MACHINE in kept, "their addresses stay"),
        (("NetworkAttachmentDefinition",), networks, "networks that pods are attached to stay"),
    ):
        missing = [kind for kind in kinds if world.get(UNKNOWN_KINDS, kind)]
        if needed and missing:
            yield f"that there are no {', '.join(missing)} objects: {what}"


def _take_uuids(state: ControllerState) -> None:
    """Believe the UUIDs that subnets' statuses name, of rows that exist."""
    for name in list(state.world.keys("Subnet")):
        subnet = state.world.get("Subnet", name)
        status = subnet.status if isinstance(subnet, Subnet) else SubnetStatus()
        for version, uuid in ((4, status.dhcp_v4_options_uuid), (6, status.dhcp_v6_options_uuid)):
            row = dhcp_key(row_key(name, f"IPv{version}"))
            if uuid and state.world.get(DHCP_ROWS, row) is not None:
                state.world.put(DHCP_ROWS, row, uuid)
