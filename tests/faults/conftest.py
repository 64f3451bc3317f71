"""Fixtures of the fault tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.faults.candidates import Field


@pytest_asyncio.fixture
async def field() -> AsyncIterator[Field]:
    async with Field() as field:
        yield field
        for candidate in field.candidates:
            await candidate.stop()
