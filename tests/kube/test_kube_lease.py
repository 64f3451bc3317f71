"""`lease`: never two leaders, whatever the server, the network and the clocks do; and a fast hand-over.

The first half runs in virtual time (a loop whose clock jumps to the next timer) against a simulated lease, so that
hours of faults take milliseconds; the second half against the embedded server.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import selectors
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kube_harness import running, until

from ovnbridge.kube.connection import ApiError, Connection
from ovnbridge.kube.lease import RELEASE_SECONDS, Elector, Leadership
from ovnbridge.lab.api import ApiServer
from ovnbridge.model.resource import LEASE


class _InstantSelector(selectors.SelectSelector):
    """Never waits: advances the loop's clock by as much as it was asked to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        assert timeout is not None or ready, "nothing will ever happen"
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time passes only when everybody waits."""

    def __init__(self) -> None:
        self.instant = _InstantSelector()
        super().__init__(self.instant)

    def time(self) -> float:
        return self.instant.now


def in_virtual_time(scenario: Callable[[], Awaitable[None]]) -> None:
    loop = VirtualLoop()
    try:
        loop.run_until_complete(asyncio.ensure_future(scenario(), loop=loop))
    finally:
        while tasks := asyncio.all_tasks(loop):
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.wait(tasks))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


class Store:
    """The lease as the server has it: compare-and-swap by version."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.watchers: list[asyncio.Queue[bytes]] = []

    def apply(self, method: str, body: dict[str, Any] | None) -> bytes:
        if method == "GET":
            if self.lease is None:
                raise ApiError(404, "NotFound", "")
            return orjson.dumps(self.lease)
        assert body is not None
        if method == "POST":
            if self.lease is not None:
                raise ApiError(409, "AlreadyExists", "")
        elif self.lease is None:
            raise ApiError(404, "NotFound", "")
        elif body["metadata"].get("resourceVersion") != self.lease["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "")
        self.version += 1
        self.lease = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version), "uid": "u"}}
        for queue in self.watchers:
            queue.put_nowait(orjson.dumps({"type": "MODIFIED", "object": self.lease}))
        return orjson.dumps(self.lease)


class Link:
    """One candidate's way to the store, with faults drawn at random. Stands in for a Connection."""

    def __init__(self, store: Store, chance: random.Random, badness: float = 0.0) -> None:
        self.store = store
        self.chance = chance
        self.badness = badness
        self.down = False
        self.slow = 0.0
        self.requests = 0

    async def request(self, method: str, path: str, *, body: bytes | None = None, timeout: float = 30.0) -> bytes:
        self.requests += 1
        try:
            async with asyncio.timeout(timeout):
                await self._trouble()
                reply = self.store.apply(method, None if body is None else orjson.loads(body))
                await self._trouble()  # it landed, and nobody knows
                await asyncio.sleep(self.slow)
                return reply
        except TimeoutError as error:
            raise ApiError(0, "Unreachable", "timeout") from error

    async def _trouble(self) -> None:
        if self.down:
            await asyncio.sleep(1e9)
        if self.chance.random() < self.badness:
            await asyncio.sleep(self.chance.choice([0.1, 3.0, 20.0, 1e9]))
            if self.chance.random() < 0.5:
                raise ApiError(self.chance.choice([0, 500, 409, 429, 503]), "Fault", "")
        else:
            await asyncio.sleep(0.005)

    async def stream(self, path: str, params: Any, *, idle_timeout: float) -> AsyncIterator[bytes]:
        if self.down or self.chance.random() < self.badness:
            await asyncio.sleep(1.0)
            raise ApiError(0, "Unreachable", "")
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.store.watchers.append(queue)
        try:
            while not self.down:
                yield await queue.get()
        finally:
            self.store.watchers.remove(queue)


class Referee:
    """Checks that the leading coroutines of different candidates never overlap."""

    def __init__(self) -> None:
        self.leaders: set[str] = set()
        self.terms: list[str] = []

    async def lead(self, name: str, leadership: Leadership, winding_down: float, until_: float | None = None) -> None:
        self.leaders.add(name)
        assert len(self.leaders) == 1, self.leaders
        assert leadership.valid()
        self.terms.append(leadership.epoch)
        try:
            await asyncio.sleep(1e8 if until_ is None else until_)
        finally:
            await asyncio.sleep(winding_down)
            assert self.leaders == {name}
            self.leaders.remove(name)


def elector(link: Link, name: str, skew: float = 0.0, chance: random.Random | None = None) -> Elector:
    loop = asyncio.get_running_loop()
    return Elector(link, "ns", "lock", name, clock=lambda: loop.time() + skew, random_source=chance)  # type: ignore[arg-type]


async def candidate(elect: Elector, name: str, referee: Referee, winding_down: float = 0.0) -> None:
    while True:
        await elect.run(lambda leadership: referee.lead(name, leadership, winding_down))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), badness=st.sampled_from([0.0, 0.05, 0.3]), winding_down=st.sampled_from([0.0, 4.0]))
def test_never_two_leaders(seed: int, badness: float, winding_down: float) -> None:
    chance = random.Random(seed)
    referee = Referee()

    async def scenario() -> None:
        store = Store()
        links = {name: Link(store, random.Random(chance.random()), badness) for name in "abc"}

        def begin(name: str) -> asyncio.Task[None]:
            # Clocks of machines differ; only their pace is the same.
            elect = elector(links[name], name, skew=chance.uniform(0, 1e6), chance=chance)
            return asyncio.ensure_future(candidate(elect, name, referee, winding_down))

        tasks = {name: begin(name) for name in "abc"}
        for _ in range(40):
            await asyncio.sleep(chance.uniform(0.1, 60))
            for task in tasks.values():
                if task.done():
                    task.result()
            name = chance.choice("abc")
            what = chance.choice(["restart", "cut", "mend", "nothing"])
            if what == "cut":
                links[name].down = True
            elif what == "mend":
                links[name].down = False
            elif what == "restart":
                tasks[name].cancel()
                with suppress(asyncio.CancelledError):
                    await tasks[name]
                tasks[name] = begin(name)
        for link in links.values():
            link.down, link.badness = False, 0.0
        await asyncio.sleep(200)
        assert len(referee.leaders) == 1
        for task in tasks.values():
            task.cancel()
        for task in tasks.values():
            with suppress(asyncio.CancelledError):
                await task
        assert not referee.leaders
        # An epoch comes again only where its holder took its own lease back before anybody else had it.
        epochs = [epoch for epoch, _ in itertools.groupby(referee.terms)]
        assert len(set(epochs)) == len(epochs)

    in_virtual_time(scenario)


def test_failures_short_of_the_deadline_are_no_loss() -> None:
    async def scenario() -> None:
        referee = Referee()
        link = Link(Store(), random.Random(1))
        task = asyncio.ensure_future(candidate(elector(link, "a"), "a", referee))
        await asyncio.sleep(1)
        for _ in range(5):
            link.down = True
            await asyncio.sleep(8)
            link.down = False
            await asyncio.sleep(20)
        assert referee.terms == ["0-a"]
        task.cancel()

    in_virtual_time(scenario)


def test_a_leader_without_the_server_stops_before_the_lease_ends() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        link = Link(Store(), random.Random(1))
        ended = 0.0
        seen: list[Leadership] = []

        async def lead(leadership: Leadership) -> None:
            nonlocal ended
            seen.append(leadership)
            try:
                await asyncio.sleep(1e8)
            finally:
                ended = loop.time()
                assert not leadership.valid()

        task = asyncio.ensure_future(elector(link, "a").run(lead))
        await asyncio.sleep(10)
        renewed = loop.time()
        link.down = True
        await task
        assert 0 < ended - renewed <= 20.1

    in_virtual_time(scenario)


def test_the_deadline_counts_from_before_the_request() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        link = Link(Store(), random.Random(1))
        link.slow = 2.9
        seen: list[Leadership] = []

        async def lead(leadership: Leadership) -> None:
            seen.append(leadership)
            link.down = True
            await asyncio.sleep(1e8)

        await elector(link, "a").run(lead)
        # Rivals count from when it was written, long before we heard of it.
        assert loop.time() - RELEASE_SECONDS <= 20.2
        assert not seen[0].valid()

    in_virtual_time(scenario)


def test_a_suspended_machine_is_no_leader_when_it_wakes() -> None:
    async def scenario() -> None:
        offset = 0.0
        loop = asyncio.get_running_loop()
        store = Store()
        link = Link(store, random.Random(1))
        elect = Elector(link, "ns", "lock", "a", clock=lambda: loop.time() + offset)  # type: ignore[arg-type]
        terms: list[Leadership] = []

        async def lead(leadership: Leadership) -> None:
            terms.append(leadership)
            await asyncio.sleep(1e8)

        task = asyncio.ensure_future(elect.run(lead))
        await asyncio.sleep(1)
        assert terms[0].valid()
        offset = 100.0  # the clock that counts suspension jumps, the loop's timers do not
        assert not terms[0].valid()
        before = loop.time()
        await task
        assert loop.time() - before <= 4

    in_virtual_time(scenario)


def test_a_rivals_lease_is_waited_for_from_when_it_was_first_seen() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        store = Store()
        store.lease = {
            "metadata": {"name": "lock", "resourceVersion": "1"},
            "spec": {
                "holderIdentity": "dead",
                "leaseDurationSeconds": 30,
                "renewTime": "1999-01-01T00:00:00.000000Z",
                "leaseTransitions": 4,
            },
        }
        store.version = 1
        referee = Referee()
        task = asyncio.ensure_future(candidate(elector(Link(store, random.Random(1)), "a"), "a", referee))
        await until_virtual(lambda: referee.terms)
        assert 30 <= loop.time() <= 31
        assert referee.terms == ["5-a"]
        task.cancel()

    in_virtual_time(scenario)


def test_the_lease_is_watched_without_a_gap() -> None:
    """The server ends a watch every two minutes; a lease that is let go in between is taken at once nevertheless."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        store, referee = Store(), Referee()
        leader, standby = Link(store, random.Random(1)), Link(store, random.Random(2))
        streams: list[tuple[float, float]] = []

        async def ending(path: str, params: Any, *, idle_timeout: float) -> AsyncIterator[bytes]:
            began = loop.time()
            with suppress(TimeoutError):
                async with asyncio.timeout(params["timeoutSeconds"]):
                    async for line in Link.stream(standby, path, params, idle_timeout=idle_timeout):
                        yield line
            streams.append((began, loop.time()))

        standby.stream = ending  # type: ignore[method-assign]
        leading = asyncio.ensure_future(candidate(elector(leader, "one"), "one", referee))
        await asyncio.sleep(1.0)
        waiting = asyncio.ensure_future(candidate(elector(standby, "two"), "two", referee))
        await asyncio.sleep(1000.0)
        for task in (leading, waiting):
            task.cancel()
        await asyncio.wait((leading, waiting))
        assert len(streams) >= 8
        assert all(later[0] - earlier[1] < 0.1 for earlier, later in itertools.pairwise(streams)), streams

    in_virtual_time(scenario)


def test_a_failing_watch_does_not_prolong_a_rivals_lease() -> None:
    """An ERROR event says nothing about the lease: what was seen of it before still counts."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        store, referee = Store(), Referee()
        dead, standby = Link(store, random.Random(1)), Link(store, random.Random(2))

        async def failing(path: str, params: Any, *, idle_timeout: float) -> AsyncIterator[bytes]:
            while True:
                await asyncio.sleep(7.0)
                yield orjson.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 500, "reason": "Broken"}})

        standby.stream = failing  # type: ignore[method-assign]
        leading = asyncio.ensure_future(candidate(elector(dead, "one"), "one", referee))
        await asyncio.sleep(1.0)
        dead.down = True  # it can neither renew nor let go
        leading.cancel()
        began = loop.time()
        waiting = asyncio.ensure_future(candidate(elector(standby, "two"), "two", referee))
        while len(referee.terms) < 2:
            await asyncio.sleep(0.1)
            assert loop.time() - began < 30 + 2 * 6 * 1.2 + 1, "the lease's end was put off"
        waiting.cancel()
        await asyncio.wait((leading, waiting))

    in_virtual_time(scenario)


def test_deleting_the_lease_does_not_make_two_leaders() -> None:
    async def scenario() -> None:
        store = Store()
        referee = Referee()
        links = {name: Link(store, random.Random(1)) for name in "ab"}
        tasks = [asyncio.ensure_future(candidate(elector(links[n], n), n, referee)) for n in "ab"]
        await asyncio.sleep(10)
        (first,) = referee.leaders
        store.lease = None
        await asyncio.sleep(60)
        assert referee.leaders == {first}
        assert store.lease is not None
        assert store.lease["spec"]["holderIdentity"] == first
        for task in tasks:
            assert not task.done()
            task.cancel()

    in_virtual_time(scenario)


@pytest.mark.parametrize("holder", ["b", ""])
def test_a_lease_taken_by_force_ends_the_term(holder: str) -> None:
    async def scenario() -> None:
        store = Store()
        ended = asyncio.ensure_future(elector(Link(store, random.Random(1)), "a").run(lambda _: asyncio.sleep(1e8)))
        await asyncio.sleep(1)
        assert store.lease is not None
        store.apply("PUT", {**store.lease, "spec": {**store.lease["spec"], "holderIdentity": holder}})
        async with asyncio.timeout(8):
            await ended
        assert store.lease["spec"]["holderIdentity"] == holder

    in_virtual_time(scenario)


def test_renewal_goes_on_while_the_leader_winds_down() -> None:
    async def scenario() -> None:
        store = Store()
        referee = Referee()
        first = asyncio.ensure_future(candidate(elector(Link(store, random.Random(1)), "a"), "a", referee, 100.0))
        await asyncio.sleep(1)
        second = asyncio.ensure_future(candidate(elector(Link(store, random.Random(2)), "b"), "b", referee))
        first.cancel()
        await asyncio.sleep(50)
        first.cancel()  # impatience changes nothing
        await asyncio.sleep(40)
        assert referee.leaders == {"a"}
        await asyncio.sleep(20)
        assert first.cancelled()
        assert referee.leaders == {"b"}
        second.cancel()

    in_virtual_time(scenario)


def test_a_faulty_server_is_not_hammered() -> None:
    async def scenario() -> None:
        class Conflicting(Store):
            def apply(self, method: str, body: dict[str, Any] | None) -> bytes:
                if method != "GET" and self.version > 0:
                    raise ApiError(409, "Conflict", "")
                return super().apply(method, body)

        link = Link(Conflicting(), random.Random(1))
        task = asyncio.ensure_future(candidate(elector(link, "a"), "a", Referee()))
        await asyncio.sleep(600)
        assert link.requests < 1000
        task.cancel()

    in_virtual_time(scenario)


async def until_virtual(condition: Callable[[], object]) -> None:
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("condition did not come true")


@pytest.mark.parametrize(("duration", "renew_deadline", "retry"), [(10, 10, 2), (30, 5, 6), (30, 20, 0), (5, 20, 2)])
def test_times_that_cannot_work_are_refused(duration: float, renew_deadline: float, retry: float) -> None:
    with pytest.raises(ValueError, match="lease duration"):
        Elector(None, "n", "l", "i", duration=duration, renew_deadline=renew_deadline, retry=retry)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="identity"):
        Elector(None, "n", "l", "")  # type: ignore[arg-type]


# ---- against the embedded server


def real(connection: Connection, name: str) -> Elector:
    return Elector(connection, "kube-system", "lock", name)


class Term:
    def __init__(self) -> None:
        self.leadership: Leadership | None = None
        self.cleaned = False

    async def lead(self, leadership: Leadership) -> None:
        self.leadership = leadership
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.2)
            self.cleaned = True


async def test_hand_over_takes_less_than_two_seconds(connection: Connection) -> None:
    first, second = Term(), Term()
    one = asyncio.ensure_future(real(connection, "one").run(first.lead))
    await until(lambda: first.leadership)
    async with running(real(connection, "two").run(second.lead)):
        await asyncio.sleep(0.3)
        assert second.leadership is None
        began = time.monotonic()
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
        assert first.cleaned
        assert first.leadership is not None
        assert not first.leadership.valid()
        await until(lambda: second.leadership, 2.0)
        assert time.monotonic() - began < 2.0
        assert second.leadership is not None
        assert (first.leadership.epoch, second.leadership.epoch) == ("0-one", "1-two")
        spec = (await connection.get(LEASE, "kube-system", "lock"))["spec"]
        assert spec["holderIdentity"] == "two"
        assert spec["leaseDurationSeconds"] == 30


async def test_the_same_identity_takes_its_own_lease_at_once(server: ApiServer, connection: Connection) -> None:
    first, second = Term(), Term()
    crashed = await Connection.open(kubeconfig=server.kubeconfig())
    one = asyncio.ensure_future(real(crashed, "pod-0").run(first.lead))
    await until(lambda: first.leadership)
    before = (await connection.get(LEASE, "kube-system", "lock"))["spec"]
    await crashed.close()  # nothing can be released
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    async with running(real(connection, "pod-0").run(second.lead)):
        await until(lambda: second.leadership, 2.0)
        assert second.leadership is not None
        assert second.leadership.epoch == "0-pod-0"
        after = (await connection.get(LEASE, "kube-system", "lock"))["spec"]
        assert after["acquireTime"] == before["acquireTime"]
        assert after["leaseTransitions"] == 0


async def test_what_the_leader_raises_comes_out_after_the_release(connection: Connection) -> None:
    async def lead(leadership: Leadership) -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await real(connection, "one").run(lead)
    spec = (await connection.get(LEASE, "kube-system", "lock"))["spec"]
    assert spec["holderIdentity"] == ""
    assert spec["leaseDurationSeconds"] == 1


async def test_a_leader_that_returns_releases(connection: Connection) -> None:
    async def lead(leadership: Leadership) -> None:
        assert leadership.valid()

    await real(connection, "one").run(lead)
    await real(connection, "two").run(lead)
    assert (await connection.get(LEASE, "kube-system", "lock"))["spec"]["leaseTransitions"] == 1
