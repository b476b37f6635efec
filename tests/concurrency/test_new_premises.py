"""Eight visitors ask for one address that is on no list, at the same moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection

from qualification import qualify
from qualification.models import Premises, ServiceQualification
from tests.small_isp import LAUNCH, make_small_isp

pytestmark = pytest.mark.django_db(transaction=True)
ASKERS = 8


def test_one_new_address_becomes_one_premises_with_eight_answers() -> None:
    make_small_isp()
    start = threading.Barrier(ASKERS)

    def ask(number: int) -> str:
        try:
            start.wait(timeout=10)
            answer = qualify.qualify_address(
                text=f"7 Oak {'Street' if number % 2 else 'St.'}, Barre, VT 05641",
                channel="portal",
                at=LAUNCH + timedelta(days=1),
            )
            return answer.state
        finally:
            connection.close()

    with ThreadPoolExecutor(ASKERS) as pool:
        states = list(pool.map(ask, range(ASKERS)))
    assert states == ["qualified"] * ASKERS
    asked = Premises.objects.get(source=Premises.Source.ASKED)
    assert ServiceQualification.objects.filter(premises=asked).count() == ASKERS
