"""Exchanges of one worker that wait for an answer that another one fetches.

Owns: who leads and who follows for each key in this worker, and whose turn it is when a leader fails.
Refuses to know: what an exchange is, timers: it is told to look (`poll`, `tick`).

A flight is one fetch that several wait for. Its leader is an exchange of this worker, or one of another worker: then
nobody tells this one of the end, and `poll` looks into the store, some hundred times a second. When a leader fails, one
follower takes its place and the others wait on; when the answer turns out not to be shareable, all go at once, each for
itself, and nobody waits for that key for a while.
"""

from collections import deque

from mypy_extensions import i64, mypyc_attr

from equipoise.state.cache_store import ALONE, FAILED, FOLLOW, LEAD, READY, STORED, Store


@mypyc_attr(allow_interpreted_subclasses=True)
class Follower:
    """Something that can wait for a flight; called once a wait, so the open call costs nothing that counts.

    Attributes:
        since_ns: when it first began to wait; `Flights` notes it.
    """

    since_ns: i64 = 0

    def flight_over(self, verdict: i64, now: i64) -> None:
        """Its wait is over; called once, and it follows no more.

        Args:
            verdict: READY: look into the store again, and fetch it alone when nothing is there. LEAD: fetch it, and
                call `Flights.end` with this `now`. ALONE: fetch it, without `end`.
            now: monotonic clock, nanoseconds.
        """
        raise AssertionError("flight_over is missing")


class Flight:
    """One fetch, with those who wait for it."""

    def __init__(self, key: bytes, seen_ns: i64, patience_ns: i64) -> None:
        self.key = key
        self.seen_ns = seen_ns
        self.patience_ns = patience_ns
        # When the leader that is an exchange of this worker began; 0 when it is another worker's.
        self.begun_ns: i64 = 0
        self.until_ns: i64 = 0
        self.followers: deque[Follower] = deque()


class Flights:
    """All flights of one pool in one worker."""

    def __init__(self, store: Store) -> None:
        """None yet."""
        self._store = store
        self._flights: dict[bytes, Flight] = {}
        self._elsewhere: dict[bytes, Flight] = {}
        self._ended: deque[Flight] = deque()
        # Claims that are over and still stand, since their shard was busy: key, beginning, outcome, pass_until.
        self._owed: list[tuple[bytes, i64, i64, i64]] = []
        self._is_passing_on = False

    def enter(self, key: bytes, follower: Follower, now: i64, until: i64, seen_ns: i64) -> i64:
        """A miss, or an entry too old to be used: what is this exchange to do?

        Args:
            key: as for `Store.get`.
            follower: who waits when the answer is FOLLOW.
            now: monotonic clock, nanoseconds.
            until: when a leader is given up; later leaders get as much time from their beginning on.
            seen_ns: `stored_ns` of the entry that was found; 0 without one.

        Returns:
            FOLLOW: wait, `flight_over` will be called. LEAD: fetch it, and call `end` with this `now`, whatever comes.
            ALONE: fetch it, without `end`. READY: look into the store again, and fetch it alone if nothing is there.
        """
        flight = self._flights.get(key)
        if not follower.since_ns:
            follower.since_ns = now
        if flight is not None and flight.until_ns > now:
            flight.followers.append(follower)
            self._store.count_follower()
            return FOLLOW
        verdict = self._store.begin(key, now, until, seen_ns)
        if verdict == LEAD or verdict == FOLLOW:
            if flight is None:
                flight = Flight(key, seen_ns, until - now)
                self._flights[key] = flight
            if verdict == LEAD:
                self._lead(flight, now)
            else:
                flight.followers.append(follower)
                self._watch(flight, now)
        return verdict

    def end(self, key: bytes, begun_ns: i64, outcome: i64, now: i64, pass_until: i64) -> None:
        """A leader is done; each one calls it once.

        Args:
            key: as for `enter`.
            begun_ns: the `now` with which it became the leader.
            outcome: STORED: `put` was called and took it. UNSHARED: there is an answer that is not in the store.
                FAILED: there is no answer, or the client left before it was whole.
            now: monotonic clock, nanoseconds.
            pass_until: with UNSHARED, until when nobody is to wait for this key.
        """
        if not self._store.end(key, begun_ns, outcome, pass_until):
            self._owed.append((key, begun_ns, outcome, pass_until))
        flight = self._flights.get(key)
        if flight is None or flight.begun_ns != begun_ns:
            return  # it took too long, and another one leads
        if outcome == FAILED:
            self._pass_on(flight, now)
        else:
            self._land(flight, READY if outcome == STORED else ALONE, now)

    def leave(self, key: bytes, follower: Follower) -> None:
        """It waits no more: its client left, or its own time is up. Nothing happens when it does not wait."""
        flight = self._flights.get(key)
        if flight is None or follower not in flight.followers:
            return
        flight.followers.remove(follower)
        if not flight.followers and not flight.begun_ns:
            self._forget(flight)

    def is_watching(self) -> bool:
        """Whether `poll` has something to look at: the worker calls it every other millisecond while it has."""
        return len(self._elsewhere) > 0

    def poll(self, now: i64) -> None:
        """Looks how the flights of other workers stand."""
        for flight in list(self._elsewhere.values()):
            verdict = self._store.look_on(flight.key, now, flight.seen_ns)
            if verdict == LEAD:
                self._pass_on(flight, now)
            elif verdict != FOLLOW:
                self._land(flight, verdict, now)

    def tick(self, now: i64) -> None:
        """Gives up leaders of this worker whose time is up, and lets go who waited as long; called now and then."""
        if self._owed:
            owed, self._owed = self._owed, []
            for key, begun_ns, outcome, pass_until in owed:
                if not self._store.end(key, begun_ns, outcome, pass_until):
                    self._owed.append((key, begun_ns, outcome, pass_until))
        for flight in list(self._flights.values()):
            if flight.until_ns <= now and flight.begun_ns:
                self._pass_on(flight, now)
            self._let_go(flight, now)

    def close(self, now: i64) -> None:
        """There is no cache any more: all go on alone."""
        for flight in list(self._flights.values()):
            self._land(flight, ALONE, now)

    def _let_go(self, flight: Flight, now: i64) -> None:
        """Nobody waits for one leader after the other: who did for as long as one may take goes on alone."""
        if self._flights.get(flight.key) is not flight:
            return
        followers = flight.followers
        while followers and followers[0].since_ns + flight.patience_ns <= now:
            followers.popleft().flight_over(ALONE, now)
        if not followers and not flight.begun_ns:
            self._forget(flight)

    def _lead(self, flight: Flight, now: i64) -> None:
        self._elsewhere.pop(flight.key, None)
        flight.begun_ns = now
        flight.until_ns = now + flight.patience_ns

    def _watch(self, flight: Flight, now: i64) -> None:
        self._elsewhere[flight.key] = flight
        flight.begun_ns = 0
        flight.until_ns = now + flight.patience_ns

    def _forget(self, flight: Flight) -> None:
        del self._flights[flight.key]
        self._elsewhere.pop(flight.key, None)

    def _land(self, flight: Flight, verdict: i64, now: i64) -> None:
        self._forget(flight)
        for follower in flight.followers:
            follower.flight_over(verdict, now)

    def _pass_on(self, flight: Flight, now: i64) -> None:
        """The leader is gone: a follower leads. It may fail at once, so a thousand of them are a loop, no recursion."""
        self._ended.append(flight)
        if self._is_passing_on:
            return
        self._is_passing_on = True
        try:
            while self._ended:
                self._next_leader(self._ended.popleft(), now)
        finally:
            self._is_passing_on = False

    def _next_leader(self, flight: Flight, now: i64) -> None:
        if not flight.followers:
            self._forget(flight)
            return
        verdict = self._store.begin(flight.key, now, now + flight.patience_ns, flight.seen_ns)
        if verdict == FOLLOW:
            self._watch(flight, now)
        elif verdict == LEAD:
            self._lead(flight, now)
            flight.followers.popleft().flight_over(LEAD, now)
        else:
            self._land(flight, verdict, now)
