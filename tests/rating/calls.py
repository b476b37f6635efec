"""A partner's program and its token, for tests that call the API."""

from __future__ import annotations

from allauth.idp.oidc.models import Token

from ispops.parties import partners
from ispops.parties.models import Partner
from tests.rating.ground import NOON


def token(partner: Partner, scopes: list[str]) -> str:
    program, _ = partners.create_api_client(partner=partner, name="Tests", scopes=scopes, at=NOON)
    made = Token(type=Token.Type.ACCESS_TOKEN, client=program)
    value = f"token-{Token.objects.count()}"
    made.set_value(value)
    made.set_scopes(scopes)
    made.save()
    return value
