"""What a registration still needs, computed from its answers and from what is there already."""

from dataclasses import dataclass
from typing import Any

from ispops.parties import payments, terms
from ispops.parties.models import PaymentMethod, Subscriber, TermsVersion
from ispops.portal.access import subscriber_of
from ispops.portal.journey import Step
from ispops.portal.offers import Answer, arrange
from provisioning import duplicates
from provisioning.duplicates import AtPremises
from provisioning.models import Registration
from qualification.models import QualifiedOffer
from qualification.queries import offers_of


@dataclass(frozen=True, slots=True)
class Progress:
    """A registration with all that its pages show of it."""

    registration: Registration
    answer: Answer
    # The plan as it was promised; None where it is no longer.
    plan: QualifiedOffer | None
    extras_on_offer: list[QualifiedOffer]
    subscriber: Subscriber | None
    pays_by: PaymentMethod | None
    there: AtPremises
    # Somebody with the same details has an account, and may be told so.
    is_known: bool
    signed_in: bool

    @property
    def picked(self) -> list[QualifiedOffer]:
        chosen = self.registration.extras or []
        return [offer for offer in self.extras_on_offer if offer.offering.code in chosen]

    @property
    def first_open(self) -> str:
        """The page of the first part that is not done; the last one when all are."""
        return next((step.page for step in self.steps if not step.is_done), "review")

    @property
    def is_complete(self) -> bool:
        return all(step.is_done for step in self.steps[:-1])

    @property
    def steps(self) -> list[Step]:
        """The parts in their order; only those that this order has to ask for."""
        row, parts = self.registration, [self._plan_step()]
        if self.extras_on_offer:
            said = ", ".join(offer.offering_name for offer in self.picked) or "Nothing else"
            is_done = row.extras is not None
            parts.append(Step("What goes with it", "extras", is_done, said if is_done else ""))
        email = row.user.email if row.user else ""
        parts.append(Step("Your login", "register", self.signed_in, email))
        if self.subscriber is not None:
            parts.append(Step("Your account", "review", True, self.subscriber.name))
        else:
            parts.append(Step("Who the service is for", "contact", bool(row.name), row.name))
        if self.is_known:
            parts.append(Step("Another account", "person", row.is_another_person))
        if self.there:
            said = row.get_premises_answer_display()
            parts.append(Step("The line at this address", "premises", bool(said), said))
        if self.pays_by is not None:
            parts.append(Step("How you pay", "payment", True, self.pays_by.label))
        else:
            said = row.get_payment_kind_display()
            parts.append(Step("How you pay", "register_payment", bool(said), said))
        parts = [self._waiting(step) for step in parts]
        all_done = all(step.is_done for step in parts)
        return [*parts, Step("Check and order", "review", False, waits=not all_done)]

    def _plan_step(self) -> Step:
        row = self.registration
        said = f"{row.offering} at {row.qualification.address}"
        return Step("Your plan", "answer", self.plan is not None, said)

    def _waiting(self, step: Step) -> Step:
        """What is asked of a login waits for the login."""
        early = {"answer", "extras", "register"}
        if self.signed_in or step.page in early or step.is_done:
            return step
        return Step(step.name, step.page, step.is_done, step.said, waits=True)


def progress_of(registration: Registration, user: Any) -> Progress:
    """Gather what the pages of a registration show, and what is there already."""
    answer = arrange(offers_of(registration.qualification))
    plan = answer.orderable(registration.offering.code)
    subscriber = subscriber_of(user)
    signed_in = bool(user.is_authenticated)
    premises = registration.qualification.premises
    return Progress(
        registration=registration,
        answer=answer,
        plan=plan,
        extras_on_offer=answer.extras_for(plan) if plan else [],
        subscriber=subscriber,
        pays_by=payments.in_use(subscriber) if subscriber else None,
        # Whoever has no login is told nothing of what is there.
        there=duplicates.at_premises(premises, subscriber) if signed_in else AtPremises(),
        is_known=subscriber is None and _is_known(registration),
        signed_in=signed_in,
    )


def _is_known(row: Registration) -> bool:
    if not row.name or row.user is None:
        return False
    people = duplicates.same_person(
        name=row.name,
        email=row.user.email,
        phone=row.phone,
        premises=row.qualification.premises,
    )
    return any(person.is_sure for person in people)


def must_accept(subscriber: Subscriber | None) -> TermsVersion | None:
    """Return the terms in force, if they were not accepted yet."""
    newest = terms.in_force()
    if subscriber is not None and terms.has_accepted(subscriber, newest):
        return None
    return newest
