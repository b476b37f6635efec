"""What somebody has answered on the way to an order."""

from django.db import models
from django.db.models import Q

from ispops.catalog.models import ProductOffering
from ispops.db import PublicIdModel
from ispops.parties.models import PaymentMethod, TermsAcceptance, User
from provisioning.models.orders import ProductOrder
from qualification.models import ServiceQualification


class Registration(PublicIdModel):
    """A form that is filled in over several pages, days and devices, until an order comes of it.

    Before the login nobody owns it but the browser that knows its id; afterwards it is the
    login's, who has one open at a time. A member of staff may fill it in for somebody on the
    telephone. What was given up keeps no name.
    """

    PREFIX = "reg"

    class State(models.TextChoices):
        DRAFT = "draft", "Not finished"
        PLACED = "placed", "Ordered"
        ABANDONED = "abandoned", "Given up"

    class Premises(models.TextChoices):
        """What is true where there is a line already, or one on its way."""

        SECOND_LINE = "second_line", "A second line, beside the first"
        MOVING_IN = "moving_in", "I am moving in"

    state = models.CharField(max_length=9, choices=State, default=State.DRAFT)
    channel = models.CharField(max_length=8, choices=ProductOrder.Channel)
    # Whose account it will be; None for a visitor, and for whom a CSR speaks.
    user = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="registrations"
    )
    # The member of staff who fills it in.
    clerk = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    qualification = models.ForeignKey(
        ServiceQualification, on_delete=models.PROTECT, related_name="registrations"
    )
    offering = models.ForeignKey(ProductOffering, on_delete=models.PROTECT, related_name="+")
    # Codes of what goes with the plan; None until somebody was asked.
    extras = models.JSONField(null=True, blank=True)
    name = models.CharField(max_length=200, blank=True, default="")
    email = models.EmailField(blank=True, default="")
    phone = models.CharField(max_length=40, blank=True, default="")
    payment_kind = models.CharField(
        max_length=13, choices=PaymentMethod.Kind, blank=True, default=""
    )
    # Answers to what has to be asked only where something like it is there already.
    premises_answer = models.CharField(max_length=11, choices=Premises, blank=True, default="")
    is_another_person = models.BooleanField(default=False)
    terms_how = models.CharField(max_length=8, choices=TermsAcceptance.How, blank=True, default="")
    # The key of the order that comes of these very answers: another answer, another key.
    idempotency_key = models.CharField(max_length=200)
    order = models.OneToOneField(
        ProductOrder, on_delete=models.PROTECT, null=True, blank=True, related_name="registration"
    )
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    # When to write to whoever left it; None once that is done, or is not to be done.
    remind_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user"], condition=Q(state="draft"), name="one_open_registration_a_login"
            ),
            models.CheckConstraint(
                condition=Q(state="placed", order__isnull=False)
                | ~Q(state="placed") & Q(order__isnull=True),
                name="placed_registration_has_its_order",
            ),
            models.CheckConstraint(
                condition=~Q(state="abandoned") | Q(name="", phone="", email=""),
                name="abandoned_registration_names_nobody",
            ),
        ]
        indexes = [
            models.Index(
                fields=["remind_at"], condition=Q(remind_at__isnull=False), name="registration_left"
            ),
            models.Index(
                fields=["expires_at"], condition=Q(state="draft"), name="registration_expires"
            ),
        ]

    def __str__(self) -> str:
        return self.public_id
