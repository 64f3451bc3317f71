"""Logging set-up: structlog renders every stdlib `logging` record, ours and foreign ones, as console text or JSON."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Final

import structlog

BURST: Final = 60
"""Lines of one kind that are told at once."""
REFILL: Final = 3.0
"""Seconds for one more."""
_KINDS: Final = 1000


class Bounded(logging.Filter):
    """Bounds how often lines of one kind (logger and text, whatever the values in it) are told, as OVS does it.

    A thousand rows that are refused are a thousand events on objects, and need not be a thousand lines. The first line
    after a gap says how many were left out. Debugging lines are not bounded.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: dict[tuple[str, str], tuple[float, float, int]] = {}  # → tokens, at what time, lines left out

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is told."""
        if record.levelno <= logging.DEBUG:
            return True
        kind, now = (record.name, str(record.msg)), self._clock()
        tokens, since, left_out = self._kinds.get(kind, (float(BURST), now, 0))
        tokens = min(float(BURST), tokens + (now - since) / REFILL)
        if tokens < 1.0:
            self._kinds[kind] = (tokens, now, left_out + 1)
            return False
        if len(self._kinds) > _KINDS:
            self._kinds.clear()
        self._kinds[kind] = (tokens - 1.0, now, 0)
        if left_out:
            record.left_out = left_out
        return True


def configure(*, verbosity: int = 0, json: bool = False) -> None:
    """Send all logs to standard error. `verbosity` as klog's -v: 3 and more is debug, -1 warnings only, -2 errors."""
    timestamper = structlog.processors.TimeStamper(fmt="iso", utc=True)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        timestamper,
        structlog.stdlib.ExtraAdder(),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    handler.addFilter(Bounded())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    quiet = {-1: logging.WARNING, -2: logging.ERROR}
    root.setLevel(logging.DEBUG if verbosity >= 3 else quiet.get(verbosity, logging.INFO))
    for noisy in ("asyncio", "aiohttp.access", "kubernetes_asyncio", "pyroute2"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
