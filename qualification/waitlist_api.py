"""Joining the waitlist over REST: for client software, with a token or without."""

from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ispops.errors import NotFound
from ispops.parties import limits
from ispops.parties.rest import active_caller, idempotent
from qualification import queries, waitlist
from qualification.models import ServiceQualification

Channel = ServiceQualification.Channel


class WaitlistEntryIn(serializers.Serializer[Any]):
    qualification = serializers.CharField(
        max_length=40, help_text="The id of an answer that you may read."
    )
    email = serializers.CharField(
        max_length=254, help_text="Written to once, when there is something new for the place."
    )
    name = serializers.CharField(
        max_length=200, required=False, default="", allow_blank=True, trim_whitespace=False
    )
    consent = serializers.BooleanField(
        help_text=f"The person was told this and agrees: “{waitlist.CONSENT}”"
    )

    def validate_consent(self, value: bool) -> bool:
        if not value:
            raise serializers.ValidationError("Ask the person first whether we may write to them.")
        return value


class WaitlistEntryOut(serializers.Serializer[Any]):
    """What was asked for; the same whether or not the person was on the list already."""

    qualification = serializers.CharField()
    place = serializers.CharField()
    email = serializers.CharField()


class WaitlistEntries(APIView):
    scope_area = "qualification"
    open_to_strangers: ClassVar = {"POST": limits.WAITLIST}

    @extend_schema(
        summary="Put somebody on the waitlist of a place",
        description="For a place that cannot be served, or for better service than there is. They "
        "get one letter, with a link that takes them off the list. Without a token: for an answer "
        "that was asked for without a token.",
        request=WaitlistEntryIn,
        responses={201: WaitlistEntryOut},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        asked = WaitlistEntryIn(data=request.data)
        asked.is_valid(raise_exception=True)
        wanted = asked.validated_data
        caller = active_caller(request) if request.user else None
        key = ServiceQualification.key_of(wanted["qualification"])
        answer = queries.readable_by(caller).filter(pk=key).first() if key else None
        if answer is None:
            raise NotFound("There is no such qualification of yours.", field="qualification")
        waitlist.join_waitlist(
            qualification=answer,
            email=wanted["email"],
            name=wanted["name"],
            channel=Channel.PARTNER if hasattr(caller, "partner") else Channel.CLIENT,
            at=timezone.now(),
        )
        told = {
            "qualification": answer.public_id,
            "place": str(answer.premises or answer.asked_text),
            "email": wanted["email"],
        }
        return Response(WaitlistEntryOut(told).data, status=201)
