"""Paying without a gateway: an invoice, or a bank transfer under a mandate of ours."""

import secrets
from typing import NoReturn

from ispops.errors import PermanentFault
from ispops.parties.gateways.base import Named

# No letters or digits that are mistaken for others, for people write it on a form.
_LETTERS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"


class OfflineGateway:
    """Nothing to be asked and nobody to ask: what is chosen is in use at once."""

    name = "offline"
    kinds = frozenset({"invoice", "bank_transfer"})
    has_page = False

    def name_at_once(self, kind: str) -> Named:
        if kind == "invoice":
            return Named(reference="", label="Invoice by e-mail")
        mandate = "M-" + "".join(secrets.choice(_LETTERS) for _ in range(10))
        return Named(reference=mandate, label=f"Bank transfer, mandate {mandate}")

    def page_for(self, *, method_id: str, email: str, return_url: str, key: str) -> NoReturn:
        raise PermanentFault("There is no page for paying offline.")
