"""The form in which staff promise by hand what an answer refused: one row for each offer."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from ispops.errors import InvalidInput
from qualification.models import QualifiedOffer
from qualification.overriding import MOST_LETTERS, Promise

_LONGEST = 20
_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,9}(?:\.(?P<decimals>[0-9]+))?")
DAYS, DOWNLOAD, UPLOAD, FEE = "install_days", "download_kbps", "upload_kbps", "construction_fee"


@dataclass(frozen=True, slots=True)
class Row:
    """What stands in the fields of one offer; speeds are in Mbit/s there. Empty on no plan."""

    offer: QualifiedOffer
    ticked: bool = False
    download: str = ""
    upload: str = ""
    days: str = ""
    fee: str = ""

    @property
    def code(self) -> str:
        return self.offer.offering.code

    @property
    def is_plan(self) -> bool:
        return self.offer.offering.kind in ("access", "bundle")


@dataclass(frozen=True, slots=True)
class OverrideForm:
    rows: list[Row]
    reason: str = ""
    error: str = ""
    # The id of the field that is wrong.
    field: str = ""


def blank(offers: Iterable[QualifiedOffer]) -> OverrideForm:
    """Return the form with what the plans are sold with, and what is known of their lines."""
    return OverrideForm(
        [
            Row(
                offer,
                download=_in_mbits(offer.download_kbps),
                upload=_in_mbits(offer.upload_kbps),
                days=str(offer.install_days or ""),
                fee="0",
            )
            for offer in offers
        ]
    )


def filled(
    offers: Iterable[QualifiedOffer], sent: Mapping[str, str], ticked: list[str]
) -> list[Row]:
    """Return the rows as they were sent."""

    def value(name: str, offer: QualifiedOffer) -> str:
        text = sent.get(f"{name}-{offer.offering.code}", "")
        return text.replace("\0", "").strip()[:_LONGEST]

    return [
        Row(
            offer,
            ticked=offer.offering.code in ticked,
            download=value(DOWNLOAD, offer),
            upload=value(UPLOAD, offer),
            days=value(DAYS, offer),
            fee=value(FEE, offer),
        )
        for offer in offers
    ]


def promises(rows: Iterable[Row]) -> list[Promise]:
    """Return what is promised in the rows that are ticked.

    Raises:
        InvalidInput: a field holds no number; names it as the form does.
    """
    return [_promise(row) for row in rows if row.ticked]


def _promise(row: Row) -> Promise:
    if not row.is_plan:
        return Promise(row.code)
    return Promise(
        row.code,
        install_days=int(_number(row.days, DAYS, row, most_decimals=0)),
        download_kbps=_kbps(row.download, DOWNLOAD, row),
        upload_kbps=_kbps(row.upload, UPLOAD, row),
        construction_fee=_number(row.fee or "0", FEE, row, most_decimals=2),
    )


def _kbps(text: str, name: str, row: Row) -> int | None:
    if not text:
        return None
    return int(_number(text, name, row, most_decimals=3) * 1_000)


def _number(text: str, name: str, row: Row, *, most_decimals: int) -> Decimal:
    found = _PLAIN_NUMBER.fullmatch(text)
    if not found or len(found["decimals"] or "") > most_decimals:
        what = "a whole number" if most_decimals == 0 else "a number"
        words = f"{row.offer.offering_name}: enter {what}, such as 10."
        raise InvalidInput(words, field=f"{name}-{row.code}")
    return Decimal(text)


def _in_mbits(kbps: int | None) -> str:
    return "" if kbps is None else f"{Decimal(kbps) / 1_000:f}"


def reason_of(sent: Mapping[str, str]) -> str:
    """Return the reason as it was sent; the verb says when it is too long."""
    return sent.get("reason", "").replace("\0", "")[: 2 * MOST_LETTERS]
