"""An API of the tests: small calls on which tokens, paging, problems and repeats are tried."""

from django.db import connection
from django.http import Http404
from django.urls import include, path, re_path
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ispops.errors import Refusal
from ispops.models import Event
from ispops.parties import problems
from ispops.parties.models import Subscriber
from ispops.parties.rest import NewestFirstCursor, calling_partner, idempotent


class TooLate(Refusal):
    code = "too_late"
    title = "It is too late"


class NoteIn(serializers.Serializer):
    words = serializers.CharField(max_length=20)
    numbers = serializers.ListField(child=serializers.IntegerField(), required=False)


class Notes(APIView):
    scope_area = "usage"

    def get(self, request: Request) -> Response:
        pages = NewestFirstCursor()
        page = pages.paginate_queryset(Event.objects.filter(kind="note"), request, self)
        return pages.get_paginated_response([{"words": event.subject} for event in page])

    @idempotent
    def post(self, request: Request) -> Response:
        """Write an event for each call, and break in each way that a call can break."""
        given = NoteIn(data=request.data)
        given.is_valid(raise_exception=True)
        words = given.validated_data["words"]
        event = Event.objects.create(kind="note", subject=words, occurred_at="2025-03-03T12:00Z")
        if words == "slow":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(0.3)")
        if words == "refuse":
            raise TooLate("The shop is closed.", field="words", opens_at=event.occurred_at)
        if words == "answer 409":
            return Response({"no": "never"}, status=409)
        if words == "break":
            raise ZeroDivisionError
        return Response(
            {"id": event.pk, "by": calling_partner(request).code, "secret": None},
            status=201,
            headers={"Location": f"/api/v1/notes/{event.pk}"},
        )


class Note(APIView):
    scope_area = "usage"

    def get(self, request: Request, key: int) -> Response:
        raise Http404


class Accounts(APIView):
    scope_area = "orders"

    def get(self, request: Request) -> Response:
        pages = NewestFirstCursor()
        page = pages.paginate_queryset(Subscriber.objects.all(), request, self)
        return pages.get_paginated_response([{"id": row.public_id} for row in page])


urlpatterns = [
    path("api/v1/notes", Notes.as_view()),
    path("api/v1/notes/<int:key>", Note.as_view()),
    path("api/v1/accounts", Accounts.as_view()),
    re_path("^api/", problems.nothing_here),
    path("", include("allauth.idp.urls")),
    path("accounts/", include("allauth.urls")),
]
handler404 = "ispops.portal.views.errors.not_found"
handler500 = "ispops.portal.views.errors.server_error"
