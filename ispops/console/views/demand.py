"""Where people want service that is not there: a map, the table behind it, and its file."""

import csv

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from ispops.console import demand_page, pages
from ispops.uploads import harmless_row
from qualification import demand

PER_PAGE = 50


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Show the demand by area, as the address asks for it."""
    now = timezone.now()
    asked = demand_page.Asked.read(request.GET)
    found = demand.by_area(asked.filters, resolution=asked.resolution, at=now)
    areas = asked.sorted(found.areas)
    shown = Paginator(areas, PER_PAGE).get_page(request.GET.get("page"))
    return pages.show(
        request,
        "console/demand.html",
        "Demand",
        asked=asked,
        days=demand.ASKED_WITHIN.days,
        summary=demand_page.summary(areas, asked),
        whole=asked.link(area="", size=""),
        rows=shown,
        table=demand_page.rows(list(shown), asked),
        headings=demand_page.headings(asked),
        map=demand_page.draw(areas, asked, page=shown.number, per_page=PER_PAGE),
        filters=_filters(asked, found.by_region),
    )


def _filters(
    asked: demand_page.Asked, by_region: dict[str, int]
) -> dict[str, list[dict[str, object]]]:
    """Return the links of each filter, as title, address, count and whether it is chosen."""
    filters = asked.filters

    def link(title: str, chosen: bool, count: object = "", **changes: str) -> dict[str, object]:
        href = asked.link(**changes)
        return {"title": title, "href": href, "count": count, "is_chosen": chosen}

    return {
        "regions": [
            link("All", not filters.region, region="", area="", size=""),
            *(
                link(region, region == filters.region, count, region=region, area="", size="")
                for region, count in by_region.items()
                if region
            ),
        ],
        "kinds": [
            link(title, kind == filters.kind, kind=kind)
            for kind, title in demand_page.KINDS.items()
        ],
        "sizes": [
            link(title, size == asked.resolution, size=str(size))
            for size, title in demand_page.SIZES.items()
        ],
    }


@require_safe
def as_file(request: HttpRequest) -> StreamingHttpResponse:
    """Give the whole table as a file, with the filters of the page."""
    now = timezone.now()
    asked = demand_page.Asked.read(request.GET)
    found = demand.by_area(asked.filters, resolution=asked.resolution, at=now)
    rows = demand_page.csv_rows(asked.sorted(found.areas), asked, now)
    writer = csv.writer(_Line())
    file = StreamingHttpResponse(
        (writer.writerow(harmless_row(row)) for row in rows), content_type="text/csv; charset=utf-8"
    )
    file["Content-Disposition"] = f'attachment; filename="demand-{now:%Y-%m-%d}.csv"'
    return file


class _Line:
    """What a CSV writer writes to, so that each line comes back to whoever wrote it."""

    def write(self, line: str) -> str:
        return line
