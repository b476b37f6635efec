"""What bodies of reports of use are taken for, and how large they may be."""

from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

from ispops.parties.rest import CsvParser
from ispops.uploads import in_megabytes


class ReportParser(JSONParser):
    """Takes a report as JSON, with NaN and the like, which cost their event and no other."""

    strict = False

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """Raises `RequestDataTooBig` before anything of it is read."""
        size = int(parser_context["request"].META.get("CONTENT_LENGTH") or 0)
        if size > settings.USAGE_BATCH_MOST_BYTES:
            raise RequestDataTooBig(
                f"Up to {in_megabytes(settings.USAGE_BATCH_MOST_BYTES)} can be sent as one report. "
                "Send application/x-ndjson, or a file."
            )
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise ParseError("The report is nested too deeply.") from error


class NdjsonFileParser(CsvParser):
    """Takes a body of NDJSON for the field `file`."""

    media_type = "application/x-ndjson"
    file_name = "body.ndjson"
