"""Two prices, two terms or two tax rates for the same thing are never in force at once, and none
of them changes after it came into force: it can only be ended, once. Plans can be taken back."""

from django.db import migrations

from ispops.db import never_overlap, overlapping, same_number, same_text

IN_FORCE = overlapping("valid_from", "valid_to")


def kept_once_in_force(table):
    return migrations.RunSQL(
        f"CREATE TRIGGER kept_once_in_force BEFORE UPDATE OR DELETE ON {table} "
        "FOR EACH ROW WHEN (OLD.valid_from <= now()) "
        "EXECUTE FUNCTION ispops_refuse_change('valid_to')",
        f"DROP TRIGGER kept_once_in_force ON {table}",
    )


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
        kept_once_in_force("catalog_offeringprice"),
        kept_once_in_force("catalog_settlementterm"),
        kept_once_in_force("catalog_taxrate"),
    ]
