"""Answers are never edited, coverage is only ended, and a network has one fact for a place."""

from django.db import migrations

from ispops.db import append_only, never_overlap, overlapping, same_text


class Migration(migrations.Migration):
    dependencies = [("qualification", "0001_initial"), ("ispops", "0002_guards")]

    operations = [
        append_only("qualification_servicequalification"),
        append_only("qualification_qualifiedoffer"),
        append_only("qualification_coveragearea", except_columns=["valid_to"]),
        never_overlap(
            "qualification_coveragearea",
            "one_coverage_of_a_place_at_a_time",
            # One key of all three is half the work of three keys when a list is imported.
            same_text(
                "provider_id::text || ':' || technology::text || ':'"
                " || coalesce(premises_id::text, h3_res8)"
            ),
            overlapping("valid_from", "valid_to"),
        ),
    ]
