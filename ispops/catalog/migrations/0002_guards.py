"""Two prices, two terms or two tax rates for the same thing are never in force at once."""

from django.db import migrations

from ispops.db import never_overlap, overlapping, same_number, same_text

IN_FORCE = overlapping("valid_from", "valid_to")


class Migration(migrations.Migration):
    dependencies = [("catalog", "0001_initial"), ("ispops", "0002_guards")]

    operations = [
        never_overlap(
            "catalog_offeringprice",
            "one_price_at_a_time",
            same_number("offering_id"),
            same_text("charge || ':' || unit || ':' || currency"),
            IN_FORCE,
        ),
        never_overlap(
            "catalog_settlementterm",
            "one_term_at_a_time",
            same_number("offering_id"),
            same_text("role"),
            IN_FORCE,
        ),
        never_overlap(
            "catalog_taxrate", "one_tax_rate_at_a_time", same_text("category"), IN_FORCE
        ),
    ]
