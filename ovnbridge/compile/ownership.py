"""Which existing NB rows are ours to delete when nobody desires them (DESIGN section 1, point 4).

Vendor-marked rows of features that are compiled here. Rows of features that are not built yet, and all rows without the
mark, are foreign: untouched and reported by `doctor`. Rows of a held subnet stay whatever is desired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ovnbridge.compile.options import external_id, ours
from ovnbridge.engine.diff import ActualRow

_Test = Callable[[ActualRow], bool]


def _port(row: ActualRow) -> bool:
    """Pod, node and router ports; not virtual or localnet ports, nor ports of features to come."""
    kind = row.columns.get("type") or ""
    return ours(row) and kind in {"", "router"}


def _group(row: ActualRow) -> bool:
    """Node groups and subnet-node groups; not those of policies."""
    return ours(row) and bool(external_id(row, "node"))


def _policy(row: ActualRow) -> bool:
    """Policies that name what they are for: a subnet or a node. Gateway and U2O policies are other modules'."""
    if external_id(row, "isU2ORoutePolicy") or not ours(row):
        return False
    if row.columns.get("priority") in {29250}:
        return False
    return bool(external_id(row, "subnet") or external_id(row, "node") or _plain(row))


def _plain(row: ActualRow) -> bool:
    """A user's policy route carries the vendor mark alone."""
    ids = row.columns.get("external_ids")
    return isinstance(ids, Mapping) and set(ids) == {"vendor"}


def _overlay_set(row: ActualRow) -> bool:
    return ours(row) and external_id(row, "isU2OOverlayCIDRs") == "true"


def _vpc_load_balancer(row: ActualRow) -> bool:
    name = str(row.columns.get("name", ""))
    return ours(row) and name.startswith("vpc-") and name.endswith("-load")


_OWNED: Final[Mapping[str, _Test]] = {
    "Logical_Switch": ours,
    "Logical_Router": ours,
    "Logical_Router_Port": lambda row: ours(row) and not row.columns.get("peer"),
    "Logical_Switch_Port": _port,
    "Logical_Router_Policy": _policy,
    "Logical_Router_Static_Route": ours,
    "Port_Group": _group,
    "Address_Set": _overlay_set,
    "Load_Balancer": _vpc_load_balancer,
}

OWNED_TABLES: Final = tuple(_OWNED)


def scope(table: str, row: ActualRow) -> str:
    """The subnet that a row belongs to, "" when to none."""
    if table == "Logical_Switch":
        return str(row.columns.get("name", ""))
    if table == "Logical_Router_Port":
        name, router = str(row.columns.get("name", "")), external_id(row, "lr")
        return name.removeprefix(f"{router}-") if router else ""
    return external_id(row, "subnet") or external_id(row, "ls")


def owns(table: str, row: ActualRow, held: Callable[[str], bool]) -> bool:
    """Whether an undesired row is to be deleted."""
    test = _OWNED.get(table)
    return test is not None and test(row) and not held(scope(table, row))
