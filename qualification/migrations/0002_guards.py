"""Answers are never edited, coverage is only ended, and a network has one fact for a place."""

from django.db import migrations

from ispops.db import append_only, never_overlap, overlapping, same_number, same_text


class Migration(migrations.Migration):
    dependencies = [("qualification", "0001_initial"), ("ispops", "0002_guards")]

    operations = [
        append_only("qualification_servicequalification"),
        append_only("qualification_qualifiedoffer"),
        append_only("qualification_coveragearea", except_columns=["valid_to"]),
        never_overlap(
            "qualification_coveragearea",
            "one_coverage_of_a_place_at_a_time",
            same_number("provider_id"),
            same_number("technology"),
            same_text("coalesce(premises_id::text, h3_res8)"),
            overlapping("valid_from", "valid_to"),
        ),
    ]
