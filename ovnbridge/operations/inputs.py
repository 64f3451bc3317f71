"""State for a dry run: objects and the NB database, from files or from a running cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from ovnbridge.controller import KINDS, NB_COLUMNS, OPTIONAL_KINDS, ControllerState
from ovnbridge.kube.connection import Connection
from ovnbridge.kube.reflector import Reflector
from ovnbridge.model.crd.codec import convert
from ovnbridge.ovsdb.client import Database
from ovnbridge.ovsdb.file import FileDatabase

_BY_KIND = {resource.kind: (resource, kind) for resource, kind in KINDS}
_BY_PLURAL = {resource.plural: resource.kind for resource, _ in KINDS}


class InputError(Exception):
    """An input cannot be read; the text says which and why."""


def read_objects(directory: Path) -> Iterator[dict[str, Any]]:
    """All Kubernetes objects in the YAML and JSON files of a directory.

    Files hold objects, `List`s, or maps from plural to objects as in `reference/parity/*/k8s.json`. Raises InputError.
    """
    files = sorted(p for p in directory.glob("**/*") if p.suffix in {".yaml", ".yml", ".json"} and p.is_file())
    if not files:
        raise InputError(f"{directory}: no YAML or JSON files")
    for path in files:
        try:
            documents = list(yaml.load_all(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: {error}") from error
        for document in documents:
            yield from _objects(document)


def _objects(document: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(document, dict):
        return
    if isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _objects(item)
    elif "kind" in document:
        yield document
    else:
        for plural, objects in document.items():
            for found in objects if isinstance(objects, list) else ():
                if isinstance(found, dict):
                    yield {"kind": _BY_PLURAL.get(plural, ""), **found}


def feed_objects(state: ControllerState, objects: Iterator[dict[str, Any]]) -> list[str]:
    """Put objects of the kinds that the controller reads into the World. Returns what could not be decoded.

    Of an object that is there twice, the one that a server has stored (it has a uid) counts, not the manifest.
    """
    tables: dict[str, dict[str, Any]] = {kind: {} for kind in _BY_KIND}
    problems: list[str] = []
    for found in objects:
        entry = _BY_KIND.get(str(found.get("kind")))
        if entry is None:
            continue
        resource, kind = entry
        try:
            value = convert(found, kind)
        except msgspec.ValidationError as error:
            problems.append(f"{resource.kind} {found.get('metadata', {}).get('name', '?')}: {error}")
            continue
        known = tables[resource.kind].get(value.metadata.key)
        if known is None or value.metadata.uid or not known.metadata.uid:
            tables[resource.kind][value.metadata.key] = value
    for name, values in tables.items():
        state.source.replace(_BY_KIND[name][0], values)
    return problems


async def from_files(directory: Path, nb: Path) -> tuple[ControllerState, list[str]]:
    """State from dumped objects and an NB database file or its JSON dump. Raises InputError."""
    try:
        database = await FileDatabase.read(nb, NB_COLUMNS)
    except (OSError, ValueError) as error:
        raise InputError(f"{nb}: {error}") from error
    state = ControllerState(database)
    database.publish()
    return state, feed_objects(state, read_objects(directory))


async def from_cluster(kubeconfig: str, remotes: tuple[str, ...]) -> tuple[ControllerState, list[str]]:
    """State of a running cluster, read once. Raises InputError when it cannot be reached within 30 s."""
    problems: list[str] = []
    database = Database(name="OVN_Northbound", remotes=remotes, columns=NB_COLUMNS, leader_only=False)
    state = ControllerState(database)
    connection = await Connection.open(kubeconfig=kubeconfig or None)
    reflectors = [
        Reflector(
            connection=connection,
            resource=resource,
            decoder=kind,
            sink=state.source,
            optional=resource.kind in OPTIONAL_KINDS,
            on_malformed=lambda r, name, ns, error: problems.append(f"{r.kind} {ns}/{name}: {error}"),
        )
        for resource, kind in KINDS
    ]
    tasks = [asyncio.create_task(database.run()), *(asyncio.create_task(r.run()) for r in reflectors)]
    try:
        async with asyncio.timeout(30):
            await asyncio.gather(database.synced.wait(), *(r.synced.wait() for r in reflectors))
    except TimeoutError:
        missing = [r.resource.plural for r in reflectors if not r.synced.is_set()]
        missing += [] if database.synced.is_set() else ["OVN NB " + ",".join(remotes)]
        raise InputError(f"no answer within 30 s: {', '.join(missing)}") from None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await connection.close()
    return state, problems


def kind_of(name: str) -> str | None:
    """The kind for `pod`, `pods`, `Pod`, … , None when it is not one that the controller reads."""
    wanted = name.lower()
    for resource, _ in KINDS:
        if wanted in {resource.kind.lower(), resource.plural}:
            return resource.kind
    return None


def kinds() -> Mapping[str, Any]:
    """Resources by kind."""
    return {kind: resource for kind, (resource, _) in _BY_KIND.items()}
