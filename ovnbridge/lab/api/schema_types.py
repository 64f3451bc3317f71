"""Checkers of values that are not objects or lists: strings, numbers, quantities, times."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from .quantity import is_quantity
from .report import Check, Path, Report

MICRO_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)$")
INTEGER_RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}


def is_date_time(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def check_string(value: Any, path: Path, report: Report) -> None:
    if value.__class__ is not str:
        report.wrong_type(path, value, "string")


def check_filled(value: Any, path: Path, report: Report) -> None:
    if value.__class__ is not str:
        report.wrong_type(path, value, "string")
    elif not value:
        report.required(path)


def check_boolean(value: Any, path: Path, report: Report) -> None:
    if value.__class__ is not bool:
        report.wrong_type(path, value, "boolean")


def check_number(value: Any, path: Path, report: Report) -> None:
    if value.__class__ is not float and value.__class__ is not int:
        report.wrong_type(path, value, "number")


def integer_check(low: int, high: int) -> Check:
    def check(value: Any, path: Path, report: Report) -> None:
        if value.__class__ is not int:
            if value.__class__ is float and value.is_integer():
                return
            report.wrong_type(path, value, "integer")
        elif not low <= value <= high:
            report.wrong_type(path, value, "integer")

    return check


def check_int_or_string(value: Any, path: Path, report: Report) -> None:
    if value.__class__ is not str and value.__class__ is not int:
        report.wrong_type(path, value, "integer,string")


def check_quantity(value: Any, path: Path, report: Report) -> None:
    if not is_quantity(value):
        report.wrong_type(path, value, "quantity")


def check_time(value: Any, path: Path, report: Report) -> None:
    if value is None:
        return
    if value.__class__ is not str or not is_date_time(value):
        report.wrong_type(path, value, "date-time")


def check_micro_time(value: Any, path: Path, report: Report) -> None:
    if value is not None and (value.__class__ is not str or not MICRO_TIME.match(value)):
        report.wrong_type(path, value, "date-time with six decimals")
