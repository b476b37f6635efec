"""Answers from before the columns of a reprint get what is in force when they are migrated."""

from datetime import timedelta
from importlib import import_module

import pytest
from django.db import DatabaseError, connection, transaction

from ispops.catalog.models import ProductOffering
from qualification.models import Premises, ServiceQualification
from tests import factories
from tests.small_isp import LAUNCH, make_small_isp

AT = LAUNCH + timedelta(days=1)
EMPTY = """
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE qualification_qualifiedoffer DISABLE TRIGGER append_only;
UPDATE qualification_qualifiedoffer SET description = '', parts = '[]', low_latency = NULL;
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE qualification_qualifiedoffer ENABLE TRIGGER append_only;
ALTER TABLE qualification_servicequalification DISABLE TRIGGER settle_once;
UPDATE qualification_servicequalification SET location_id = '';
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE qualification_servicequalification ENABLE TRIGGER settle_once;
"""


def kept() -> list[object]:
    answer = ServiceQualification.objects.get()
    rows = answer.offers.order_by("pk").values("description", "parts", "low_latency")
    return [answer.location_id, *rows]


@pytest.mark.django_db
def test_older_answers_are_filled_and_stay_closed_to_changes() -> None:
    isp = make_small_isp()
    ProductOffering.objects.update(description="Fast and far.")
    Premises.objects.filter(pk=isp.oak_1.pk).update(location_id="1037392925")
    factories.qualified(Premises.objects.get(pk=isp.oak_1.pk), at=AT)
    expected = kept()
    assert expected[0] == "1037392925"
    with connection.cursor() as cursor:
        cursor.execute(EMPTY)
        assert kept() != expected
        cursor.execute(import_module("qualification.migrations.0005_reprints").KEEP_TERMS)
    assert kept() == expected
    with pytest.raises(DatabaseError), transaction.atomic():
        ServiceQualification.objects.update(location_id="other")
    with pytest.raises(DatabaseError), transaction.atomic():
        ServiceQualification.objects.get().offers.update(description="other")
