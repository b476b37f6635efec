"""Who may see which answers."""

from datetime import timedelta

import pytest

from ispops.parties import accounts
from qualification import qualify, queries
from tests.small_isp import LAUNCH, SmallIsp, make_small_isp

AT = LAUNCH + timedelta(days=1)

pytestmark = pytest.mark.django_db


@pytest.fixture
def isp() -> SmallIsp:
    return make_small_isp()


def test_asker_is_a_login_a_partner_or_nobody(isp: SmallIsp) -> None:
    ada = accounts.create_login(
        email="ada@example.com", password="lovelace-1843", name="Ada", email_is_verified=True,
        at=AT,
    )  # fmt: skip
    assert queries.asker_of(ada) == f"user_{ada.pk}"
    assert queries.asker_of(isp.films.service_user) == "partner_films"
    assert queries.asker_of(None) == ""
    answer = qualify.qualify_address(
        text="1 Oak Street, Barre, VT 05641", channel="portal", asker="user_1", at=AT
    )
    assert list(queries.asked_by("user_1")) == [answer]
    assert not queries.asked_by("user_2").exists()
    assert not queries.asked_by("").exists()
