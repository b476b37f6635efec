"""What a CSR fills in for somebody on the telephone: one page, in the order of the conversation."""

from collections.abc import Iterable
from typing import Any

from django import forms

from ispops.errors import Refusal
from ispops.parties.gateways import registry
from ispops.parties.models import PaymentMethod, TermsAcceptance
from provisioning.models import Registration
from qualification.models import QualifiedOffer

_HOW = [
    (TermsAcceptance.How.VOICE, "By voice: I read the summary, they said yes"),
    (TermsAcceptance.How.PAPER, "On paper: we have the signed form"),
]


class RegisterForm(forms.Form):
    """Plan and extras, who it is for, how they pay, and how they accepted the terms."""

    plan = forms.ChoiceField(
        widget=forms.RadioSelect, error_messages={"required": "Choose one plan."}
    )
    extras = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple)
    name = forms.CharField(
        label="Full name, as on the bill",
        max_length=200,
        error_messages={"required": "Enter the name that should be on the bill."},
    )
    email = forms.EmailField(
        label="E-mail address",
        help_text="The invitation to make the login goes there. Let them spell it.",
        error_messages={
            "required": "Enter the e-mail address for the invitation.",
            "invalid": "Enter an e-mail address like name@example.com.",
        },
    )
    phone = forms.CharField(label="Phone number, for the installer", required=False, max_length=40)
    payment_kind = forms.ChoiceField(
        label="How they pay",
        widget=forms.RadioSelect,
        error_messages={"required": "Choose how they pay."},
    )
    terms_how = forms.ChoiceField(
        label="How they accepted the terms",
        choices=_HOW,
        widget=forms.RadioSelect,
        error_messages={"required": "Say how they accepted the terms."},
    )

    def __init__(
        self, *args: Any, offers: Iterable[QualifiedOffer], row: Registration | None, **kwargs: Any
    ) -> None:
        kwargs.setdefault("label_suffix", "")
        if row is not None:
            kwargs["initial"] = {"plan": row.offering.code, "extras": row.extras or []} | {
                name: getattr(row, name)
                for name in ("name", "email", "phone", "payment_kind", "terms_how")
            }
        super().__init__(*args, **kwargs)
        eligible = [offer for offer in offers if offer.eligible]
        self.offers = {offer.offering.code: offer for offer in eligible}
        plans = [o for o in eligible if o.offering.kind in ("access", "bundle")]
        extras = [o for o in eligible if o.offering.kind == "bsp" and o.offering.is_subscription]
        self._choose("plan", [(o.offering.code, o.offering_name) for o in plans])
        self._choose("extras", [(o.offering.code, o.offering_name) for o in extras])
        self._choose(
            "payment_kind",
            [(kind, str(PaymentMethod.Kind(kind).label)) for kind in registry.kinds()],
        )

    def _choose(self, name: str, choices: list[tuple[str, str]]) -> None:
        self.fields[name].choices = choices  # type: ignore[attr-defined]

    @property
    def offer(self) -> QualifiedOffer:
        return self.offers[self.cleaned_data["plan"]]

    @property
    def answers(self) -> dict[str, Any]:
        """What was answered beside the plan, in the words of the verb."""
        return {name: value for name, value in self.cleaned_data.items() if name != "plan"}

    def refuse(self, refused: Refusal) -> None:
        """Show why the verb refused, at the field that it names or above the form."""
        self.add_error(refused.field if refused.field in self.fields else None, refused.detail)
