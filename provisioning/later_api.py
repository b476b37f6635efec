"""What subscribers' programs ask of lines that they have: the later orders and the services."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import exceptions, serializers
from rest_framework.request import Request

from ispops.errors import InvalidInput
from ispops.parties.models import User
from provisioning import amending, changing, moving, queries, suspending
from provisioning.models import ProductOrder, ProductOrderItem, Service, ServiceSuspension
from qualification.models import ServiceQualification

Intent = ProductOrder.Intent
Action = ProductOrderItem.Action


class ItemIn(serializers.Serializer[Any]):
    """One thing that shall come, change or go (TMF622)."""

    action = serializers.ChoiceField(
        choices=[Action.ADD, Action.MODIFY, Action.DELETE],
        help_text="`add` and `delete` are for products and boosts; `modify` names the plan that "
        "the line shall have.",
    )
    offering = serializers.SlugField(max_length=50)


class ProductOrderIn(serializers.Serializer[Any]):
    """An order for a new line, or, with another `intent`, for one that is there."""

    intent = serializers.ChoiceField(choices=Intent.choices, default=Intent.NEW)
    qualification = serializers.CharField(
        required=False,
        help_text="The id of an answer to *can this place be served?*, such as `qlf_...`. Needed "
        "by whatever comes new; of a move, it is about the new address.",
    )
    offering_codes = serializers.ListField(
        child=serializers.SlugField(max_length=50),
        min_length=1,
        max_length=20,
        required=False,
        help_text="Of a new line: one internet plan or one aggregated plan, and partner products "
        "for its line.",
    )
    subscriber = serializers.CharField(
        required=False, help_text="Needed only by a login that belongs to several accounts."
    )
    line = serializers.CharField(
        required=False, help_text="Of any later order: the id of its line, such as `svc_...`."
    )
    items = ItemIn(
        many=True, required=False, help_text="What a change, a move or a change of network is of."
    )
    wanted_from = serializers.DateTimeField(
        required=False, help_text="Nothing takes effect before; at once without it."
    )
    old_line_until = serializers.DateTimeField(
        required=False,
        help_text="Of a move or a change of network: when the old line ends. Without it, when the "
        "new one is live.",
    )
    boosts_until = serializers.DateTimeField(
        required=False,
        help_text="Of a change: when the speed boosts that come end by themselves. Without it, "
        "when they are removed.",
    )
    suspension = serializers.ChoiceField(
        choices=ServiceSuspension.Reason.choices,
        default=ServiceSuspension.Reason.REQUESTED,
        help_text="What a line is suspended for, or which reason is lifted. Subscribers suspend "
        "and lift as `requested` only.",
    )
    note = serializers.CharField(max_length=300, required=False, allow_blank=True, default="")


class AmendmentIn(serializers.Serializer[Any]):
    """What an order shall be instead; what is not named stays."""

    wanted_from = serializers.DateTimeField(
        required=False, allow_null=True, help_text="Another day; null is as soon as it can."
    )
    qualification = serializers.CharField(required=False)
    offering_codes = serializers.ListField(
        child=serializers.SlugField(max_length=50),
        min_length=1,
        max_length=20,
        required=False,
        help_text="Of a new line: all that it shall be.",
    )
    items = ItemIn(many=True, required=False, help_text="Of a later order: all that it is of.")
    boosts_until = serializers.DateTimeField(
        required=False, help_text="Of a change, with its `items`: as when it was ordered."
    )


class SuspensionOut(serializers.ModelSerializer[ServiceSuspension]):
    reason = serializers.CharField()
    reason_words = serializers.CharField(source="get_reason_display")

    class Meta:
        model = ServiceSuspension
        fields = ["reason", "reason_words", "treatment", "note", "started_at"]


class CarriedOut(serializers.ModelSerializer[Service]):
    """What a line carries: a partner's product, or an add-on of ours."""

    id = serializers.CharField(source="public_id")
    offering = serializers.CharField(source="offering.code")
    name = serializers.CharField(source="offering.name")
    bundle = serializers.CharField(source="bundle.code", default=None)
    state = serializers.CharField()
    ends_at = serializers.DateTimeField(
        allow_null=True, help_text="When a boost that was wanted for a time ends by itself."
    )

    class Meta:
        model = Service
        fields = ["id", "state", "offering", "name", "bundle", "ends_at"]


class LineOut(CarriedOut):
    """A line: the speed in force on it, what it carries, and for what it is suspended."""

    subscriber = serializers.CharField(source="subscriber.public_id")
    address = serializers.CharField(source="premises")
    download_kbps = serializers.SerializerMethodField()
    upload_kbps = serializers.SerializerMethodField()
    carried = CarriedOut(many=True)
    suspensions = SuspensionOut(many=True, source="open_suspensions")
    open_order = serializers.SerializerMethodField()

    class Meta:
        model = Service
        fields = [
            *CarriedOut.Meta.fields,
            *("subscriber", "address", "created_at", "download_kbps", "upload_kbps"),
            *("carried", "suspensions", "open_order"),
        ]

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_download_kbps(self, line: Service) -> int | None:
        return queries.speed_of(line)[0]

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_upload_kbps(self, line: Service) -> int | None:
        return queries.speed_of(line)[1]

    @extend_schema_field(
        serializers.CharField(
            allow_null=True, help_text="The order that changes the line at the moment."
        )
    )
    def get_open_order(self, line: Service) -> str | None:
        orders: list[ProductOrder] = line.open_changes  # type: ignore[attr-defined]
        return orders[0].public_id if orders else None


def place_later(
    request: Request,
    user: User,
    asked: Mapping[str, Any],
    qualification: ServiceQualification | None,
) -> ProductOrder:
    """Place the later order that was asked for, for one of the login's own lines."""
    common: dict[str, Any] = {
        "line": _line(user, asked.get("line")),
        "channel": ProductOrder.Channel.CLIENT,
        "placed_by": user,
        "idempotency_key": request.headers["Idempotency-Key"].strip(),
        "at": timezone.now(),
        "wanted_from": asked.get("wanted_from"),
    }
    match asked["intent"]:
        case Intent.SUSPEND:
            return suspending.suspend_line(**common, reason=asked["suspension"], note=asked["note"])
        case Intent.RESUME:
            return suspending.resume_line(**common, reason=asked["suspension"], note=asked["note"])
        case Intent.CEASE:
            return suspending.cease_line(**common, reason=asked["note"])
    wanted = _wanted(asked.get("items") or [])
    common |= {"qualification": qualification, "reason": asked["note"]} | wanted
    if asked["intent"] == Intent.CHANGE:
        return changing.change_line(**common, boosts_until=asked.get("boosts_until"))
    return _place_new_for_old(asked["intent"], common, asked.get("old_line_until"))


@transaction.atomic
def amend(
    order: ProductOrder,
    user: User,
    asked: Mapping[str, Any],
    qualification: ServiceQualification | None,
) -> None:
    """Change one of the login's own orders: its day, what it is of, or both at once."""
    common: dict[str, Any] = {
        "order_id": order.pk, "actor": user, "reason": "", "at": timezone.now()
    }  # fmt: skip
    if "wanted_from" in asked:
        amending.reschedule_order(**common, wanted_from=asked["wanted_from"])
    if order.intent == Intent.NEW and asked.get("offering_codes"):
        amending.amend_order(
            **common, qualification=qualification, offering_codes=asked["offering_codes"]
        )
    elif order.intent != Intent.NEW and asked.get("items"):
        amending.amend_order(
            **common,
            qualification=qualification,
            boosts_until=asked.get("boosts_until"),
            **_wanted(asked["items"]),
        )
    elif "wanted_from" not in asked:
        raise InvalidInput("Say what shall be different.", field="items")


def _place_new_for_old(
    intent: str, common: dict[str, Any], old_line_until: datetime | None
) -> ProductOrder:
    if common["qualification"] is None:
        raise exceptions.ValidationError({"qualification": ["This order needs one."]})
    if intent == Intent.MOVE:
        return moving.move_line(**common, old_line_until=old_line_until)
    if common["plan_code"] is None:
        raise InvalidInput("Name the plan on the other network, as `modify`.", field="items")
    return moving.change_provider(**common, old_line_until=old_line_until)


def _wanted(items: list[Mapping[str, str]]) -> dict[str, Any]:
    """Sort the items into the plan, and what comes and goes."""
    by_action: dict[str, list[str]] = {Action.ADD: [], Action.MODIFY: [], Action.DELETE: []}
    for item in items:
        by_action[item["action"]].append(item["offering"])
    plans = by_action[Action.MODIFY]
    if len(plans) > 1:
        raise InvalidInput("Name one plan that the line shall have.", field="items")
    return {
        "plan_code": plans[0] if plans else None,
        "add": by_action[Action.ADD],
        "remove": by_action[Action.DELETE],
    }


def _line(user: User, public_id: str | None) -> Service:
    """Return one of the login's own lines; another's is not there for it (invariant 7)."""
    key = Service.key_of(public_id or "")
    own = Service.objects.filter(subscriber__in=user.subscribers.all(), line__isnull=True)
    found = own.filter(pk=key).first() if key else None
    if found is None:
        raise InvalidInput("This login has no such line.", field="line")
    return found
