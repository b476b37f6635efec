"""The rows of a hold and a use, written past all rules: what bounds how fast they can be."""

from collections.abc import Iterator
from typing import Any

from django.db import connection, models, transaction
from django.utils import timezone

from ispops.db import Prepared, inserted, inserting, uuid7
from ispops.models import Event, EventDelivery
from rating.models import Charge, Reservation, ReservationUse

_MODELS: tuple[type[models.Model], ...] = (
    Reservation, Charge, ReservationUse, Event, EventDelivery,
)  # fmt: skip
_USED = Prepared("bare_used", ("uuid",), """
UPDATE bare_rating_reservation SET used_net = net, used_amount = amount, released_at = now()
 WHERE id = $1
""")  # fmt: skip


def make() -> None:
    """Make tables with the same columns, checks and indexes, and neither triggers nor keys of
    other tables."""
    with connection.cursor() as cursor:
        for model in _MODELS:
            table = model._meta.db_table
            cursor.execute(f"CREATE TABLE bare_{table} (LIKE {table} INCLUDING ALL)")


def hold_and_use(count: int) -> int:
    """Write so many holds and uses, each a transaction of its own, a statement a row."""
    written = {model: _written(model) for model in _MODELS}
    for _ in range(count):
        held, *others = _rows()
        with transaction.atomic():
            written[Reservation].rows(*inserted(held))
        with transaction.atomic():
            _USED.rows(held.pk)
            for row in others:
                written[type(row)].rows(*inserted(row))
    return count


def _written(model: type[models.Model]) -> Prepared:
    statement, types = inserting(model)
    table = model._meta.db_table
    return Prepared(f"bare_{table}", types, statement.replace(table, f"bare_{table}", 1))


def _rows() -> Iterator[models.Model]:
    at, key = timezone.now(), uuid7()
    held: dict[str, Any] = {
        "subscriber_id": key, "partner_id": 1, "offering_id": 1, "standing_id": key,
        "idempotency_key": key.hex, "currency": "USD", "net": 1, "amount": 1, "period_start": at,
        "period_end": at, "month_start": at, "held_at": at, "held_until": timezone.now(),
    }  # fmt: skip
    reservation = Reservation(**held)
    charge = Charge(
        subscriber_id=key, offering_id=1, kind="one_off", cause=key.hex, period_start=at,
        currency="USD", amount_net=1, isp_share=0, bsp_share=1, amount_tax=0, bsp_id=1,
        explanation={"rule": "reservation", "arithmetic": "USD 1.00 of USD 1.00 that were held"},
        charged_at=at,
    )  # fmt: skip
    yield reservation
    yield charge
    yield ReservationUse(
        reservation=reservation, idempotency_key=key.hex, net=1, charge=charge, used_at=at
    )
    event = Event(
        kind="reservation.used", subject=key.hex, payload={"charge": key.hex}, occurred_at=at
    )
    yield event
    yield EventDelivery(event_id=key.int % 2**60, handler="bare", next_attempt_at=at)
