"""Files of usage over REST: sent, followed and cancelled, and the rejects fetched."""

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

from ispops import filework
from ispops.errors import NotFound
from ispops.parties.rest import CsvAnswer, CsvParser, active_caller, calling_partner, idempotent
from rating import usage_files
from rating.models import UsageFile
from rating.usage_parsers import NdjsonFileParser

FORMS = (
    "CSV with a header, or NDJSON with one event on each line; plain, gzip or zip. The columns of "
    "CSV are `event_id`, `subscriber_ref`, `offering`, `started_at`, `ended_at`, `quantity` and "
    "`unit`; every other column is an attribute of the event."
)
_FORMATS = (UsageFile.Format.CSV, UsageFile.Format.NDJSON)


class UsageFileOut(serializers.ModelSerializer[UsageFile]):
    """How far a file of usage is; of its rows that were read, each is counted once."""

    id = serializers.CharField(source="public_id")
    href = serializers.SerializerMethodField()
    rejects = serializers.SerializerMethodField(
        help_text="Where the rows can be fetched that were not taken as they are."
    )
    same_as = serializers.CharField(
        source="same_as.public_id", default=None, help_text="The same file came before as this one."
    )
    in_error = serializers.IntegerField(help_text="Stored, and waiting for what is missing.")
    rejected = serializers.IntegerField(help_text="Not stored: correct them and send them again.")

    class Meta:
        model = UsageFile
        fields = [
            "id", "href", "state", "format", "file_name", "same_as", "rows_total", "rows_done",
            "accepted", "duplicates", "conflicts", "in_error", "rejected", "error", "rejects",
            "created_at", "finished_at",
        ]  # fmt: skip

    def get_href(self, file: UsageFile) -> str:
        return reverse("usage-file", args=[file.public_id])

    def get_rejects(self, file: UsageFile) -> str:
        return reverse("usage-file-rejects", args=[file.public_id])


class UsageFileIn(serializers.Serializer[Any]):
    file = serializers.FileField(allow_empty_file=True, help_text=FORMS)
    format = serializers.ChoiceField(
        choices=[(choice.value, choice.label) for choice in _FORMATS], required=False
    )


class UsageFiles(generics.ListAPIView[UsageFile]):
    """The files of usage that the calling partner sent."""

    scope_area = "usage"
    serializer_class = UsageFileOut
    parser_classes = [MultiPartParser, CsvParser, NdjsonFileParser]

    def get_queryset(self) -> QuerySet[UsageFile]:
        if getattr(self, "swagger_fake_view", False):
            return UsageFile.objects.none()
        return _own(self.request)

    @extend_schema(summary="List your files of usage", responses={200: UsageFileOut(many=True)})
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        summary="Send a file of usage",
        description=f"{FORMS} It is read in the background. The same file may come twice: each "
        "event counts once, and `same_as` names the first.",
        parameters=[
            OpenApiParameter(
                "format",
                enum=[choice.value for choice in _FORMATS],
                description="Beside a body that is no form; its type says it otherwise.",
            )
        ],
        request={
            "multipart/form-data": UsageFileIn,
            "text/csv": OpenApiTypes.STR,
            "application/x-ndjson": OpenApiTypes.STR,
        },
        responses={202: UsageFileOut},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        asked = UsageFileIn(data=request.data)
        asked.is_valid(raise_exception=True)
        upload = asked.validated_data["file"]
        file = usage_files.submit_file(
            upload=upload,
            file_name=upload.name,
            file_format=asked.validated_data.get("format") or _format_of(upload.name),
            partner=calling_partner(request),
            actor=active_caller(request),
            at=timezone.now(),
        )
        body = UsageFileOut(file).data
        return Response(body, status=202, headers={"Location": body["href"]})


def _format_of(file_name: str) -> str:
    plain = file_name.lower().removesuffix(".gz").removesuffix(".zip")
    is_json = plain.endswith((".ndjson", ".jsonl"))
    return UsageFile.Format.NDJSON if is_json else UsageFile.Format.CSV


class OneUsageFile(APIView):
    scope_area = "usage"

    @extend_schema(summary="See how far a file of usage is", responses={200: UsageFileOut})
    def get(self, request: Request, public_id: str) -> Response:
        return Response(UsageFileOut(_one(request, public_id)).data)


class UsageFileRejects(APIView):
    scope_area = "usage"
    renderer_classes = [CsvAnswer, JSONRenderer]

    @extend_schema(
        summary="Fetch the rejects of a file of usage",
        description="CSV: the number of the row, what became of it (`rejected`, `error` or "
        "`conflict`), code, field and reason, and then the columns of the file. A value that a "
        "spreadsheet would take for a formula begins with `'`.",
        responses={(200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, "The rows.")},
    )
    def get(self, request: Request, public_id: str) -> HttpResponseBase:
        file = _one(request, public_id)
        response = StreamingHttpResponse(
            filework.written(file, file.rejects), content_type="text/csv"
        )
        response["Content-Length"] = str(file.bytes_written)
        response["Content-Disposition"] = f'attachment; filename="{file.public_id}-rejects.csv"'
        return response


class UsageFileCancellation(APIView):
    scope_area = "usage"

    @extend_schema(
        summary="Cancel a file of usage",
        description="What was taken in until now stays.",
        request=None,
        responses={200: UsageFileOut},
    )
    @idempotent
    def post(self, request: Request, public_id: str) -> Response:
        file = usage_files.cancel(
            file=_one(request, public_id), actor=active_caller(request), at=timezone.now()
        )
        return Response(UsageFileOut(file).data)


def _own(request: Request) -> QuerySet[UsageFile]:
    return UsageFile.objects.filter(partner=calling_partner(request)).select_related("same_as")


def _one(request: Request, public_id: str) -> UsageFile:
    key = UsageFile.key_of(public_id)
    file = _own(request).filter(pk=key).first() if key else None
    if file is None:
        raise NotFound("There is no such file of yours.")
    return file
