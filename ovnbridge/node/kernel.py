"""Worker threads for everything that the kernel does while a system call waits.

`cni/service` and `host` call the blocking functions of `pod_link`, `host_kernel` and `packets` through this.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, ParamSpec, TypeVar

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
_THREADS: Final = 4


class Kernel:
    """A few threads for requests that somebody waits for, one for what nobody waits for."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="kernel")
        self._background = ThreadPoolExecutor(1, thread_name_prefix="kernel-background")

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a thread. Once begun it is finished even if the caller is cancelled."""
        future = self._pool.submit(work, *args, **kwargs)
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            future.cancel()
            if not future.cancelled():
                await _settled(future)
            raise

    def later(self, work: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run `work` in the background; an error is logged."""
        self._background.submit(work, *args, **kwargs).add_done_callback(_report)

    def close(self) -> None:
        """Stop taking work, finish what has begun."""
        self._pool.shutdown(cancel_futures=True)
        self._background.shutdown(cancel_futures=True)


async def _settled(future: Future[Any]) -> None:
    """Wait until the thread is done with it, however that ends: the caller is about to undo it."""
    done = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()

    def finish() -> None:
        if not done.done():
            done.set_result(None)

    future.add_done_callback(lambda _: loop.call_soon_threadsafe(finish))
    while not done.done():
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError:
            continue


def _report(future: Future[Any]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.warning("background kernel work failed error=%s", error)
