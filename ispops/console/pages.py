"""How a page of the console is put together: the site's frame around our template."""

from typing import Any, TypeVar

from django.contrib import admin
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest
from django.template.response import TemplateResponse

from ispops import csv_files
from ispops.db import PublicIdModel
from ispops.errors import InvalidInput

M = TypeVar("M", bound=PublicIdModel)
# Lists are saved as the API gives them out.
file_of = csv_files.stream


def show(
    request: HttpRequest, template: str, title: str, *, status: int = 200, **context: Any
) -> TemplateResponse:
    """Answer with a page in the console's frame: sidebar, search, messages."""
    request.current_app = admin.site.name
    filters = request.GET.copy()
    filters.pop("page", None)
    frame = admin.site.each_context(request) | {
        "title": title,
        "is_fullwidth": "1",
        # What a link to the next page must keep.
        "filter_query": f"{filters.urlencode()}&" if filters else "",
    }
    return TemplateResponse(request, template, {**frame, **context}, status=status)


def get(rows: QuerySet[Any], model: type[M], ref: str) -> M:
    """Return the row with a public id.

    Raises:
        Http404: the id is not one of this kind, or there is no such row.
    """
    key = model.key_of(ref)
    row: Model | None = rows.filter(pk=key).first() if key else None
    if row is None:
        raise Http404(f"There is no {model._meta.verbose_name} {ref}.")
    return row  # type: ignore[return-value]


def uploaded(request: HttpRequest) -> UploadedFile:
    """Return the file that a form sent.

    Raises:
        InvalidInput: it sent none.
    """
    upload = request.FILES.get("file")
    if not isinstance(upload, UploadedFile):
        raise InvalidInput("Choose a file.", field="file")
    return upload
