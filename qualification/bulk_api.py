"""Files of addresses over REST: sent, followed, fetched and cancelled by whoever sent them."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponseBase, StreamingHttpResponse
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import generics, serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ispops.errors import NotFound
from ispops.parties.models import Subscriber
from ispops.parties.rest import CsvAnswer, CsvParser, active_caller, idempotent
from qualification import bulk_qualify, queries, sheets
from qualification.models import BulkQualification

COLUMNS = (
    f"CSV with a header, plain, gzip or zip. It names places by the columns {sheets.WANTED}; other "
    "columns come back as they are. The columns that the answer adds begin with `result_`."
)
ESTIMATE = (
    "The answers are estimates of their moment: prices and ports are not promised, and network "
    "providers are not asked. To order, qualify the one address."
)


# --- What goes over the wire --------------------------------------------------------------------


class BulkQualificationOut(serializers.ModelSerializer[BulkQualification]):
    """How far a file of addresses is. `outcomes` counts the rows that are done by their state."""

    id = serializers.CharField(source="public_id")
    href = serializers.SerializerMethodField()
    result = serializers.SerializerMethodField(
        help_text="Where the answers can be fetched, also while there are only some."
    )
    outcomes = serializers.DictField(child=serializers.IntegerField())

    class Meta:
        model = BulkQualification
        fields = [
            "id", "href", "state", "file_name", "subscriber_kind", "rows_total", "rows_done",
            "outcomes", "error", "result", "created_at", "finished_at",
        ]  # fmt: skip

    def get_href(self, bulk: BulkQualification) -> str:
        return reverse("bulk-qualification", args=[bulk.public_id])

    def get_result(self, bulk: BulkQualification) -> str:
        return reverse("bulk-qualification-result", args=[bulk.public_id])


class BulkQualificationIn(serializers.Serializer[Any]):
    file = serializers.FileField(allow_empty_file=True, help_text=COLUMNS)
    subscriber_kind = serializers.ChoiceField(
        choices=Subscriber.Kind.choices, default=Subscriber.Kind.CONSUMER
    )


KIND = OpenApiParameter(
    "subscriber_kind", enum=Subscriber.Kind.values, description="Beside a body of text/csv."
)


# --- The calls ----------------------------------------------------------------------------------


class BulkQualifications(generics.ListAPIView[BulkQualification]):
    """Many addresses at once, from a file, in the background."""

    scope_area = "qualification"
    serializer_class = BulkQualificationOut
    parser_classes = [MultiPartParser, CsvParser]

    def get_queryset(self) -> QuerySet[BulkQualification]:
        if getattr(self, "swagger_fake_view", False):
            return BulkQualification.objects.none()
        return queries.files_of(_asker(self.request))

    @extend_schema(
        summary="List your files of addresses",
        responses={200: BulkQualificationOut(many=True)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        summary="Send a file of addresses",
        description=f"{COLUMNS} {ESTIMATE}",
        parameters=[KIND],
        request={"multipart/form-data": BulkQualificationIn, "text/csv": OpenApiTypes.STR},
        responses={202: BulkQualificationOut},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        asked = BulkQualificationIn(data=request.data)
        asked.is_valid(raise_exception=True)
        upload = asked.validated_data["file"]
        bulk = bulk_qualify.submit_file(
            upload=upload,
            file_name=upload.name,
            subscriber_kind=asked.validated_data["subscriber_kind"],
            asker=_asker(request),
            created_by=active_caller(request),
            at=timezone.now(),
        )
        body = BulkQualificationOut(bulk).data
        return Response(body, status=202, headers={"Location": body["href"]})


class OneBulkQualification(APIView):
    scope_area = "qualification"

    @extend_schema(
        summary="See how far one of your files is", responses={200: BulkQualificationOut}
    )
    def get(self, request: Request, public_id: str) -> Response:
        return Response(BulkQualificationOut(_own(request, public_id)).data)


class Result(APIView):
    scope_area = "qualification"
    renderer_classes = [CsvAnswer, JSONRenderer]

    @extend_schema(
        summary="Fetch the answers to one of your files",
        description="Whole rows in the order of the file, as many as are done. A value that a "
        "spreadsheet would take for a formula begins with `'`.",
        responses={(200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, "The answers.")},
    )
    def get(self, request: Request, public_id: str) -> HttpResponseBase:
        bulk = _own(request, public_id)
        response = StreamingHttpResponse(queries.answers_of(bulk), content_type="text/csv")
        response["Content-Length"] = str(bulk.bytes_written)
        response["Content-Disposition"] = f'attachment; filename="{bulk.public_id}.csv"'
        return response


class Cancellation(APIView):
    scope_area = "qualification"

    @extend_schema(
        summary="Cancel one of your files",
        description="What was answered until now can still be fetched.",
        request=None,
        responses={200: BulkQualificationOut},
    )
    @idempotent
    def post(self, request: Request, public_id: str) -> Response:
        bulk = bulk_qualify.cancel(
            bulk=_own(request, public_id), actor=active_caller(request), at=timezone.now()
        )
        return Response(BulkQualificationOut(bulk).data)


def _asker(request: Request) -> str:
    return queries.asker_of(active_caller(request))


def _own(request: Request, public_id: str) -> BulkQualification:
    key = BulkQualification.key_of(public_id)
    bulk = queries.files_of(_asker(request)).filter(pk=key).first() if key else None
    if bulk is None:
        raise NotFound("There is no such file of yours.")
    return bulk
