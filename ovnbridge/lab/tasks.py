"""Background work of the supervisor: each task has a name, and one that fails is logged and shown, never lost."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog


class Tasks:
    """The supervisor of the supervisor's own tasks."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self.failures: list[str] = []

    def start(self, name: str, work: Coroutine[Any, Any, object]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._run(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self, name: str, work: Coroutine[Any, Any, object]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 (the one place where any failure of a task ends)
            structlog.get_logger().exception("task_failed", task=name)
            self.failures.append(f"{name}: {error!r}")

    async def stop(self) -> None:
        """Cancels everything and waits for it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
