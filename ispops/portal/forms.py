"""What people fill in. A form checks its shape; whether it can be done, the verb decides."""

from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.contrib.auth.password_validation import (
    password_validators_help_text_html,
    validate_password,
)
from django.utils import timezone

from ispops.errors import InvalidInput, Refusal
from ispops.parties import people
from ispops.parties.gateways import registry
from ispops.parties.models import PaymentMethod, User
from ispops.periods import moment_on
from provisioning.models import Registration
from qualification import waitlist


class PortalForm(forms.Form):
    """A form without placeholders and colons, that takes a refusal to the field it names."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)

    def refuse(self, refused: Refusal) -> None:
        """Show why the verb refused, at the field that it names or above the form."""
        self.add_error(refused.field if refused.field in self.fields else None, refused.detail)


class AddressForm(PortalForm):
    """The one question of the first page: an address, a place that was picked, or a point."""

    address = forms.CharField(
        label="Your address",
        required=False,
        max_length=500,
        help_text="Street and number, city, state and ZIP code",
        error_messages={
            "required": "Enter an address: street and number, city, state and ZIP code.",
            "max_length": "That is too long for an address. Enter it without other text.",
        },
        widget=forms.TextInput(
            attrs={
                "autocomplete": "street-address",
                "autocapitalize": "words",
                "spellcheck": "false",
                "enterkeyhint": "search",
            }
        ),
    )
    # Set when a suggestion was chosen: the very place, instead of a text to be matched.
    premises = forms.CharField(required=False, max_length=40, widget=forms.HiddenInput)
    # What the browser says of where it is.
    latitude = forms.FloatField(
        required=False,
        widget=forms.HiddenInput,
        error_messages={"invalid": "Give the latitude in degrees from -90 to 90."},
    )
    longitude = forms.FloatField(
        required=False,
        widget=forms.HiddenInput,
        error_messages={"invalid": "Give the longitude in degrees from -180 to 180."},
    )
    # The visitor has seen what may be meant, and means none of it.
    as_written = forms.BooleanField(required=False, widget=forms.HiddenInput)

    @property
    def place(self) -> dict[str, Any]:
        """The place that was asked for, in the words of the verb."""
        given = self.cleaned_data
        if given["premises"]:
            return {"premises_id": given["premises"]}
        if self._is_point:
            return {"latitude": given["latitude"], "longitude": given["longitude"]}
        return {"text": given["address"], "as_written": given["as_written"]}

    @property
    def _is_point(self) -> bool:
        """Whether there is a coordinate; one that is no number is a wrong one, and not none."""
        return any(self.cleaned_data.get(name, 0) is not None for name in ("latitude", "longitude"))

    def clean(self) -> None:
        for hidden in ("latitude", "longitude", "premises"):
            for wrong in self.errors.pop(hidden, []):
                self.add_error("address", wrong)
        address = self.cleaned_data.get("address")
        if self.errors or self.cleaned_data["premises"]:
            return
        if self._is_point and address:
            self.add_error("address", "Enter an address or use your location, but not both.")
        elif not self._is_point and not address:
            self.add_error("address", self.fields["address"].error_messages["required"])

    def refuse(self, refused: Refusal) -> None:
        """Show every refusal at the one field that can be seen."""
        self.add_error("address", refused.detail)


class LabelDayForm(PortalForm):
    """The day whose labels are wanted; empty is now."""

    on = forms.DateField(
        label="Labels as of",
        required=False,
        error_messages={"invalid": "Enter a day like 2026-01-31."},
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )

    def clean_on(self) -> date | None:
        day: date | None = self.cleaned_data["on"]
        today = timezone.localdate(timezone=ZoneInfo(settings.BILLING_TIME_ZONE))
        if day and not date(2000, 1, 1) <= day <= today:
            raise forms.ValidationError("Enter a day that is not in the future.")
        return day

    def moment(self) -> datetime:
        """Return the end of the day, or the present moment when that is earlier or none is given.

        A day that cannot be used counts as none.
        """
        day = self.cleaned_data.get("on") if self.is_valid() else None
        return moment_on(day, now=timezone.now(), zone=settings.BILLING_TIME_ZONE)


class WaitlistForm(PortalForm):
    """Whom to tell when an address can be served, or served better."""

    consent = waitlist.CONSENT

    name = forms.CharField(
        label="Your name",
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    email = forms.EmailField(
        label="Your e-mail address",
        help_text="We write to you once, when there is something new for this address.",
        error_messages={
            "required": "Enter the e-mail address we should write to.",
            "invalid": "Enter an e-mail address like name@example.com.",
        },
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )


class ContactForm(PortalForm):
    """Who pays, and how to reach them."""

    name = forms.CharField(
        label="Full name",
        help_text="The name that goes on your bill.",
        max_length=200,
        error_messages={"required": "Enter the name that should be on your bill."},
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    phone = forms.CharField(
        label="Phone number",
        required=False,
        max_length=40,
        help_text="For the installer. We do not call to sell you things.",
        widget=forms.TextInput(attrs={"autocomplete": "tel", "inputmode": "tel", "type": "tel"}),
    )

    def clean_phone(self) -> str:
        phone: str = self.cleaned_data["phone"]
        try:
            people.require_phone(phone)
        except InvalidInput as refused:
            raise forms.ValidationError(refused.detail) from refused
        return phone


class PremisesForm(PortalForm):
    """What is true where there is a line already, or one on its way."""

    premises_answer = forms.ChoiceField(
        label="What is it?",
        choices=Registration.Premises.choices,
        widget=forms.RadioSelect,
        error_messages={"required": "Choose what is true, or use the line that is there."},
    )

    def __init__(self, *args: Any, is_own: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if is_own:
            self.fields["premises_answer"].choices = [  # type: ignore[attr-defined]
                (Registration.Premises.SECOND_LINE, Registration.Premises.SECOND_LINE.label)
            ]


class PersonForm(PortalForm):
    """That somebody with the same details is another person."""

    is_another_person = forms.BooleanField(
        label="I want an account of my own",
        error_messages={"required": "Tick this if you have no account with us, or sign in."},
    )


class PaymentForm(PortalForm):
    """How the bills are paid."""

    payment_kind = forms.ChoiceField(
        label="How will you pay?",
        widget=forms.RadioSelect,
        error_messages={"required": "Choose how you will pay.", "invalid_choice": "Choose one."},
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["payment_kind"].choices = [  # type: ignore[attr-defined]
            (kind, PaymentMethod.Kind(kind).label) for kind in registry.kinds()
        ]


class ExtrasForm(PortalForm):
    """Partner products to order together with the line."""

    extras = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"invalid_choice": "One of these products cannot go with this plan."},
    )

    def __init__(self, *args: Any, codes: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["extras"].choices = [(code, code) for code in codes]  # type: ignore[attr-defined]


class ReviewForm(PortalForm):
    """The order as it is shown, and the terms it is placed under when they are new to somebody."""

    idempotency_key = forms.CharField(max_length=200, widget=forms.HiddenInput)
    terms_version = forms.CharField(max_length=20, widget=forms.HiddenInput)
    terms = forms.BooleanField(
        label="I accept the terms of service",
        error_messages={"required": "Accept the terms of service to order."},
    )

    def __init__(self, *args: Any, must_accept: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not must_accept:
            del self.fields["terms"]


class PasswordForm(PortalForm):
    """The password of a new login."""

    password = forms.CharField(
        label="Password",
        strip=False,
        help_text=password_validators_help_text_html,
        error_messages={"required": "Choose a password."},
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        validate_password(password, self.user)
        return password


class SmsForm(PortalForm):
    """Whether we may send SMS, and to what number."""

    wants_sms = forms.BooleanField(
        label="Send me SMS when a line is ready, suspended or on again", required=False
    )
    number = forms.CharField(
        label="Mobile number",
        required=False,
        max_length=40,
        help_text="With the area code. Your operator may charge you for receiving SMS.",
        error_messages={"max_length": "That is too long for a telephone number."},
        widget=forms.TextInput(attrs={"type": "tel", "autocomplete": "tel"}),
    )


class NumberCodeForm(PortalForm):
    """The code that was sent to a telephone number."""

    code = forms.CharField(
        label="Code",
        max_length=20,
        help_text="Six digits, in the SMS that we have just sent.",
        error_messages={"required": "Enter the code.", "max_length": "A code has six digits."},
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "one-time-code"}),
    )


class KeyForm(PortalForm):
    """The key of a write, so that a form sent twice is done once."""

    idempotency_key = forms.CharField(max_length=200, widget=forms.HiddenInput)


class DisputeForm(PortalForm):
    """What is wrong with a charge."""

    words = forms.CharField(
        label="What is wrong with it?",
        max_length=1000,
        help_text="What you expected, and what happened instead.",
        error_messages={"required": "Say what is wrong, so that we can look into it."},
        widget=forms.Textarea(attrs={"rows": 5}),
    )


class ConsentForm(PortalForm):
    """Yes or no to what a partner asks for, with what tells the price that was shown."""

    answer = forms.ChoiceField(choices=[("yes", "Yes"), ("no", "No")], widget=forms.HiddenInput)
    shown = forms.CharField(max_length=64, required=False, widget=forms.HiddenInput)


class OwnLimitForm(PortalForm):
    """Up to what amount a billing period may be spent on partners' products."""

    amount = forms.DecimalField(
        label="Spend at most, a billing period, with tax",
        required=False,
        help_text="Leave it empty for no limit of your own.",
        error_messages={"invalid": "Give an amount, such as 20.00, or 0 to buy nothing."},
        widget=forms.TextInput(attrs={"inputmode": "decimal", "size": "8"}),
    )


class StandingForm(PortalForm):
    """Up to what amount a month a partner may sell unasked."""

    monthly_limit = forms.DecimalField(
        label="Up to, a month",
        error_messages={
            "required": "Give an amount above zero, such as 20.00.",
            "invalid": "Give an amount above zero, such as 20.00.",
        },
    )
