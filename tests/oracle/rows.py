"""Rows of the oracle: plain values, references by name."""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.oracle.world import dhcp_label

VENDOR = {"vendor": "kube-ovn"}


LABELS = ("name", "match", "ip_prefix", "external_ip", "cidr", "vip", "dst_ip", "chassis_name")
"""Columns that tell rows apart for people, the first that a row has."""


class Ref(NamedTuple):
    """A reference to a row by its name (DHCP rows: switch, protocol and port)."""

    table: str
    label: str


class Row(NamedTuple):
    table: str
    columns: dict[str, Any]
    parent: tuple[str, str, str] | None = None
    """Table, name and column of the row that refers to this one."""

    @property
    def label(self) -> str:
        ids = self.columns.get("external_ids", {})
        if self.table == "DHCP_Options" and "ls" in ids:
            return dhcp_label(ids["ls"], ids["protocol"], ids.get("port", ""))
        return next((str(self.columns[column]) for column in LABELS if column in self.columns), "")


def row(
    table: str, parent: tuple[str, str, str] | None = None, ids: dict[str, str] | None = None, **columns: Any
) -> Row:
    """A row with the vendor mark."""
    return Row(table, {**columns, "external_ids": {**VENDOR, **(ids or {})}}, parent)


def dotted(text: str) -> str:
    return text.replace("-", ".")
