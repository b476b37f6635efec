"""Places are found by their street and by their city too, and in the order of the key."""

from django.db import migrations, models
from django.db.models import F, Q, Value
from django.db.models.functions import StrIndex, Substr


def key_after(mark: str) -> models.GeneratedField:
    return models.GeneratedField(
        expression=Substr(F("match_key"), StrIndex(F("match_key"), Value(mark)) + len(mark)),
        output_field=models.CharField(max_length=300, db_collation="C"),
        db_persist=True,
    )


class Migration(migrations.Migration):
    dependencies = [("qualification", "0006_waitlist_work")]

    operations = [
        migrations.RemoveIndex("premises", "premises_by_address_prefix"),
        migrations.RemoveIndex("premises", "premises_by_postal_code"),
        migrations.AlterField(
            "premises", "h3_res8", models.CharField(max_length=15, blank=True, default="")
        ),
        # Before the columns that are made of it.
        migrations.AlterField(
            "premises", "match_key", models.CharField(max_length=300, db_collation="C")
        ),
        migrations.AlterField(
            "premises", "postal_code", models.CharField(max_length=10, db_collation="C")
        ),
        migrations.AddField("premises", "street_key", key_after(" ")),
        migrations.AddField("premises", "locality_key", key_after(", ")),
        migrations.AddIndex(
            "premises",
            models.Index(fields=["postal_code", "street_key"], name="premises_by_postal_code"),
        ),
        migrations.AddIndex(
            "premises",
            models.Index(
                fields=["street_key"], condition=Q(source="imported"), name="premises_by_street"
            ),
        ),
        migrations.AddIndex(
            "premises",
            models.Index(
                fields=["locality_key"], condition=Q(source="imported"), name="premises_by_locality"
            ),
        ),
        migrations.AddIndex(
            "premises", models.Index(fields=["h3_res8", "latitude"], name="premises_by_place")
        ),
    ]
