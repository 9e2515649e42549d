"""Deals the attempts that wait: to idle workers as far as resources go, into the lanes of busy ones beyond that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podium_agent.domain.attempt import Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from podium_agent.domain.admission import Demand
    from podium_agent.session.attempts import Attempt
    from podium_agent.session.effects import Parts
    from podium_agent.session.lanes import Lane
    from podium_agent.session.orders import Order

MOST_UNACKNOWLEDGED = 5_000


class Dealer:
    """Applies ADMITTED and DEALT to attempts, in the order in which they came."""

    def __init__(self, parts: Parts, apply: Callable[[Attempt, Event], None]) -> None:
        self._parts = parts
        self._apply = apply

    def deal(self) -> None:
        """Begin whatever fits now, and tell the workers."""
        self._line_up_who_wait_for_workers()
        admission, pool = self._parts.admission, self._parts.pool
        room = MOST_UNACKNOWLEDGED - self._parts.attempts.reported
        full: Demand | None = None
        lanes: list[Lane] = []
        last: Order | None = None
        while room > 0 and (token := admission.first()) is not None:
            attempt = self._held(token)
            order = attempt.order
            room -= 1
            if order.demand != full:
                if admission.fits(order.demand):
                    admission.admit(token)
                    self._apply(attempt, Event.ADMITTED)
                    continue
                full, last = order.demand, None
            if order is not last:
                lanes, last = pool.lanes_for(order), order
            lane = pool.shortest(lanes, order)
            if lane is None or not self._parts.preparer.ready(attempt):
                break
            self._line_up(attempt, lane)
        pool.flush()

    def _line_up_who_wait_for_workers(self) -> None:
        pool = self._parts.pool
        while (attempt := pool.first_waiting()) is not None:
            lane = pool.shortest(pool.lanes_for(attempt.order), attempt.order)
            if lane is None:
                return
            pool.withdraw(attempt)
            self._line_up(attempt, lane)

    def _line_up(self, attempt: Attempt, lane: Lane) -> None:
        self._parts.admission.leave(attempt.token)
        attempt.lane = lane
        self._apply(attempt, Event.DEALT)

    def _held(self, token: bytes) -> Attempt:
        attempt = self._parts.attempts.get(token)
        if attempt is None:
            raise LookupError(f"attempt {token.hex()} waits and is not held")
        return attempt
