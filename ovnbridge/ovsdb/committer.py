"""The only place that writes: makes the database equal to what is desired, a batch of natural keys at a time.

Fed with natural keys that may differ (`touch`), it *pulls*: only when a key's turn comes is the diff asked what must
change, so whatever happened meanwhile is taken into account, and a repeated touch costs nothing. Promises:
- every key touched is diffed after the touch; a key in flight is diffed again only when its transaction has ended;
- a transaction whose outcome is unknown is not repeated: the diff decides after the next synchronisation;
- a refused transaction is divided until the bad key stands alone; the rest lands, the bad one is reported and retried;
- what refers to a row that does not exist yet waits for it and is written as soon as it appears;
- a leader that has been replaced (`fence.py`) does not write: `run()` raises Deposed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from ovnbridge.engine.diff import Change
from ovnbridge.model.ovn import Key, TableFacts
from ovnbridge.ovsdb.client import Database
from ovnbridge.ovsdb.dirty import DirtyKeys
from ovnbridge.ovsdb.errors import Deposed, NotConnected, OutcomeUnknown, TransactionError
from ovnbridge.ovsdb.fence import Fence
from ovnbridge.ovsdb.replica import Replica, RowKey
from ovnbridge.ovsdb.setback import Setbacks
from ovnbridge.ovsdb.transaction import Encoders, Transaction

Differ: TypeAlias = Callable[[str, Key], list[Change]]
TransactionListener: TypeAlias = Callable[[int, float], None]

_SLICE = 0.01
_SERVER_TROUBLE = frozenset({"I/O error", "resources exhausted", "not allowed", "unknown database", "canceled"})
"""Errors that say nothing about a row."""

log = logging.getLogger(__name__)


class Stats(msgspec.Struct):
    """Counters since the start."""

    transactions: int = 0
    operations: int = 0
    items: int = 0
    conflicts: int = 0
    bisects: int = 0
    retries: int = 0
    bad_rows: int = 0


class Committer:
    """Commits the differences of touched keys."""

    def __init__(
        self,
        database: Database,
        replica: Replica,
        differ: Differ,
        *,
        facts: Mapping[str, TableFacts],
        max_items: int = 100,
        window: int = 4,
        deadline: float = 15.0,
        fence: Fence | None = None,
        on_error: Callable[[str, Key, str], None] | None = None,
        on_commit: Callable[[Sequence[RowKey]], None] | None = None,
    ) -> None:
        self.stats = Stats()
        self._database = database
        self._replica = replica
        self._differ = differ
        self._facts = facts
        self._max_items = max_items
        self._window = window
        self._deadline = deadline
        self._fence = fence
        self._on_error = on_error
        self._on_commit = on_commit
        self._transaction_listeners: list[TransactionListener] = []
        self._dirty = DirtyKeys(facts)
        self._groups: deque[list[RowKey]] = deque()  # parts of refused transactions, to be tried by themselves
        self._taken: dict[RowKey, None] = {}  # keys in flight or in a group
        self._again: dict[RowKey, bool] = {}  # taken keys that were touched meanwhile → urgent
        self._setbacks = Setbacks(lambda key: self.touch([key]))
        self._still_there: set[str] = set()  # rows that survived the removal of the reference we knew
        self._in_flight: dict[asyncio.Task[None], Transaction] = {}
        self._encoders: Encoders | None = None
        self._failure: BaseException | None = None
        self._pause = 0.0
        self._pause_ends: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._quiet = asyncio.Event()
        replica.subscribe(self._replica_changed)

    # -- what the outside may ask

    def touch(self, keys: Iterable[RowKey], *, urgent: bool = False) -> None:
        """These natural keys may differ from what is desired."""
        for key in keys:
            if key in self._taken:
                self._again[key] = urgent or self._again.get(key, False)
            else:
                self._dirty.add(key, urgent=urgent)
        self._wake.set()

    def on_transaction(self, listener: TransactionListener) -> None:
        """Call `listener(rows, seconds)` after each transaction that was committed."""
        self._transaction_listeners.append(listener)

    def idle(self) -> bool:
        """Nothing left to do now. Bad keys and keys that wait for a missing row do not count."""
        return not (self._dirty or self._taken)

    async def settled(self) -> None:
        """Wait until idle."""
        while not self.idle():
            self._quiet.clear()
            await self._quiet.wait()

    def busy(self, table: str, key: Key) -> bool:
        """Whether the key's desired state may not be in the database: dirty, in flight, bad or waiting."""
        row_key = (table, key)
        return row_key in self._taken or row_key in self._setbacks or row_key in self._dirty

    @property
    def queued(self) -> int:
        """Keys that are dirty."""
        return len(self._dirty) + sum(map(len, self._groups)) + len(self._again)

    @property
    def setbacks(self) -> Setbacks:
        """Keys that cannot be committed at present, and why."""
        return self._setbacks

    async def run(self) -> None:
        """Commit for ever. Cancel to stop; raises Deposed when another leader has taken over."""
        try:
            while True:
                await self._database.synced.wait()
                if self._fence is not None:
                    self._fence.begin(self._fence_rows)
                    self._fence.check(self._fence_rows)
                while self._may_launch():
                    self._launch()
                    await asyncio.sleep(0)
                if self.idle():
                    self._quiet.set()
                await self._wake.wait()
                self._wake.clear()
                if self._failure is not None:
                    raise self._failure
        finally:
            for task in self._in_flight:
                task.cancel()
            self._replica.unsubscribe(self._replica_changed)
            self._setbacks.stop()
            if self._pause_ends is not None:
                self._pause_ends.cancel()

    # -- sending

    @property
    def _fence_rows(self) -> Mapping[str, Mapping[str, object]]:
        return self._database.rows.get(self._fence.table, {}) if self._fence is not None else {}

    def _may_launch(self) -> bool:
        window = self._window if self._fence is None or self._fence.claimed else 1
        return (
            self._failure is None
            and self._pause_ends is None
            and len(self._in_flight) < window
            and self._database.synced.is_set()
            and bool(self._dirty or self._groups)
        )

    def _launch(self) -> None:
        """Diff the next keys and send what must change."""
        schema = self._database.schema
        assert schema is not None
        if self._encoders is None or self._encoders.schema is not schema:
            self._encoders = Encoders(schema)
        transaction = Transaction(self._replica, self._facts, self._encoders, self._still_there)
        finished = self._fill(transaction)
        if self._fence is not None:
            self._fence.check(self._fence_rows)
        transaction.build(self._fence, self._fence_rows)
        for key, missing in transaction.missing.items():
            self._setbacks.wait(key, [(ref.table, ref.key) for ref in missing])
        if len(transaction.keys) < len(transaction):
            sent = set(transaction.keys)
            finished += [key for key in transaction.changed if key not in sent]
        if finished:
            self._release(finished)
        if transaction.operations:
            self._replica.pending.update(transaction.inserted)
            task = asyncio.create_task(self._commit(transaction))
            self._in_flight[task] = transaction
            task.add_done_callback(self._ended)

    def _fill(self, transaction: Transaction) -> list[RowKey]:
        """Take keys until the transaction is full or the slice is over; returns those that it does not hold."""
        clean: list[RowKey] = []
        loop, differ = asyncio.get_running_loop(), self._differ
        ends = loop.time() + _SLICE
        group = self._groups.popleft() if self._groups else None
        taken, again = self._taken, self._again
        setbacks = self._setbacks or None
        tables = self._database.schema.tables if self._database.schema is not None else {}
        for count, key in enumerate(group if group is not None else self._dirty.drain(), 1):
            taken[key] = None
            if again:
                again.pop(key, None)
            if setbacks is not None:
                setbacks.retry(key)
            if not (changes := differ(*key)):
                clean.append(key)
            elif key[0] in tables:
                transaction.add(key, changes)
            else:
                self._hold(key, f"this version of OVN has no table {key[0]}")
                clean.append(key)
            if group is None and (len(transaction) >= self._max_items or (not count % 32 and loop.time() > ends)):
                break
        return clean

    def _release(self, keys: Iterable[RowKey], *, dirty: bool = False) -> None:
        """The keys are not taken any more; those touched meanwhile (or all, if `dirty`) are queued again."""
        done: list[RowKey] = []
        taken, again, setbacks = self._taken, self._again, self._setbacks
        for key in keys:
            taken.pop(key, None)
            urgent = again.pop(key, None) if again else None
            if dirty or urgent is not None:
                self._dirty.add(key, urgent=bool(urgent))
            elif not setbacks:
                done.append(key)
            elif key not in setbacks:
                self._setbacks.clear(key)
                done.append(key)
        self._wake.set()
        if done and self._on_commit is not None:
            self._on_commit(done)

    # -- replies

    async def _commit(self, transaction: Transaction) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        self.stats.transactions += 1
        self.stats.operations += len(transaction.operations)
        self.stats.items += len(transaction.keys)
        try:
            results = await self._database.transact(transaction.operations, timeout=self._deadline)
        except TransactionError as error:
            self._forget(transaction)
            self._refused(transaction, error)
        except TypeError as error:  # a value that cannot be written as JSON
            self._forget(transaction)
            self._refused(transaction, TransactionError("not JSON", str(error), None))
        except (NotConnected, OutcomeUnknown) as error:
            log.info("ovsdb_commit_unknown", extra={"keys": len(transaction.keys), "reason": str(error)})
            self._forget(transaction)
            self._postpone(transaction)
        else:
            self._forget(transaction)
            self._pause = 0.0
            self._succeeded(transaction, results)
            for listener in self._transaction_listeners:
                listener(len(transaction.keys), loop.time() - started)

    def _succeeded(self, transaction: Transaction, results: list[object]) -> None:
        if self._fence is not None:
            self._fence.check(self._fence_rows)
        rows = self._database.rows
        for key in transaction.stale(results, rows):
            self.stats.conflicts += 1
            self._again.setdefault(key, False)
        vanished = {key: uuid for key, uuid in transaction.inserted.items() if uuid not in rows[key[0]]}
        for key in vanished.keys() - self._again.keys():
            self._hold(key, "the row vanished as soon as it was inserted")
        for key, uuid in transaction.deleted:
            if uuid not in rows[key[0]]:
                self._still_there.discard(uuid)
            elif uuid not in self._still_there:  # something else than its known parent refers to it
                self._still_there.add(uuid)
                self._again.setdefault(key, False)
            else:
                self._hold(key, "the row cannot be deleted: unknown rows refer to it")
        self._release(transaction.keys)

    def _forget(self, transaction: Transaction) -> None:
        """The transaction's inserts are not on their way any more."""
        for target, uuid in transaction.inserted.items():
            if self._replica.pending.get(target) == uuid:
                del self._replica.pending[target]

    def _refused(self, transaction: Transaction, error: TransactionError) -> None:
        index = error.index
        if index is not None and index < transaction.waits:
            assert self._fence is not None
            self._fence.check(self._fence_rows)
            self._postpone(transaction)  # not deposed: the row changed under the claim
        elif error.error in _SERVER_TROUBLE:
            log.warning("ovsdb_commit_failed", extra={"keys": len(transaction.keys), "reason": str(error)})
            self._postpone(transaction)
        elif len(transaction.keys) == 1:
            (key,) = transaction.keys
            unsure = {uuid for _, uuid in transaction.deleted} - self._still_there
            if unsure:  # what stands in the way may be the old row, held by something else than its known parent
                self._still_there |= unsure
                self._again.setdefault(key, False)
            else:
                self._hold(key, str(error))
            self._release([key])
        else:
            self._divide(transaction, index)

    def _divide(self, transaction: Transaction, index: int | None) -> None:
        """Try the keys in two transactions: the suspects of the failing operation and the rest, or two halves."""
        self.stats.bisects += 1
        keys = transaction.keys
        suspects = set(transaction.owners[index]) if index is not None else set()
        if not 0 < len(suspects) < len(keys):
            suspects = set(keys[len(keys) // 2 :])
        self._groups.appendleft([key for key in keys if key in suspects])
        self._groups.appendleft([key for key in keys if key not in suspects])
        self._wake.set()

    def _hold(self, key: RowKey, reason: str) -> None:
        self.stats.bad_rows += 1
        delay = self._setbacks.hold(key, reason)
        fields = {"table": key[0], "key": key[1], "reason": reason, "retry_seconds": delay}
        log.warning("ovsdb_row_refused", extra=fields)
        if self._on_error is not None:
            self._on_error(*key, reason)

    def _postpone(self, transaction: Transaction) -> None:
        """Queue everything again, after a pause that grows as long as nothing succeeds."""
        self.stats.retries += 1
        self._release(transaction.keys, dirty=True)
        if self._pause_ends is None:
            self._pause = min(max(self._pause * 2, 0.05), 5.0)
            self._pause_ends = asyncio.get_running_loop().call_later(self._pause, self._resume)

    def _resume(self) -> None:
        self._pause_ends = None
        self._wake.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._in_flight[task]
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._failure = failure
        self._wake.set()

    def _replica_changed(self, touched: set[RowKey]) -> None:
        self._setbacks.appeared(touched)
        if self._fence is not None and self._fence.begun and (self._fence.table, ()) in touched:
            try:
                self._fence.check(self._fence_rows)
            except Deposed as error:
                self._failure = error
                self._wake.set()
