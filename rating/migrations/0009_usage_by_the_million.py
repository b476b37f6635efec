"""Usage in months, rated without being updated; see `rating.used` and `rating.partitions`."""

import django.contrib.postgres.indexes
import django.db.models.deletion
from django.db import migrations, models
from django.db.models import F, Q

import ispops.money
from ispops.db import append_only

USAGE = """
CREATE TABLE rating_oldusage AS SELECT * FROM rating_usage;
CREATE TABLE rating_oldcounter AS SELECT * FROM rating_usagecounter;
DROP FUNCTION rating_counter_closed_once() CASCADE;
DROP TABLE rating_usage;
DROP FUNCTION rating_usage_is_a_fact() CASCADE;
CREATE TABLE rating_usage (
    id bigint NOT NULL PRIMARY KEY,
    source varchar(50) NOT NULL,
    event_id varchar(120) NOT NULL,
    subscriber_ref varchar(250) NOT NULL,
    product_ref varchar(50) NOT NULL,
    subscriber_id uuid,
    service_id uuid,
    offering_id bigint,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    quantity bigint NOT NULL CHECK (quantity >= 0),
    unit varchar(20) NOT NULL,
    attributes jsonb NOT NULL,
    received_at timestamptz NOT NULL,
    error_code varchar(40) NOT NULL,
    error varchar(300) NOT NULL,
    CONSTRAINT usage_is_guided_or_in_error CHECK (
        error_code <> '' OR subscriber_id IS NOT NULL AND offering_id IS NOT NULL),
    CONSTRAINT usage_ends_after_it_starts CHECK (ended_at IS NULL OR ended_at >= started_at)
) PARTITION BY RANGE (id);
CREATE INDEX usage_in_error ON rating_usage (id) WHERE error_code <> '';
CREATE INDEX usage_by_source ON rating_usage (source, id);
CREATE INDEX usage_by_subscriber ON rating_usage (subscriber_id, started_at DESC);
CREATE SEQUENCE rating_usage_batch MINVALUE 0 MAXVALUE 65535 CYCLE;
"""

RATED = """
CREATE TABLE rating_ratedusage (
    usage_id bigint NOT NULL PRIMARY KEY,
    subscriber_id uuid NOT NULL,
    service_id uuid NOT NULL,
    offering_id bigint NOT NULL,
    price_id bigint NOT NULL,
    period_start timestamptz NOT NULL,
    step bigint NOT NULL CONSTRAINT steps_begin_at_one CHECK (step > 0),
    started_at timestamptz NOT NULL,
    quantity bigint NOT NULL CHECK (quantity >= 0),
    units_after bigint NOT NULL CHECK (units_after >= 0),
    band_1 bigint,
    band_2 bigint,
    band_3 bigint,
    free_after bigint,
    events_after bigint,
    amount_net bigint NOT NULL,
    isp_share bigint NOT NULL,
    bsp_share bigint NOT NULL,
    network_provider_share bigint NOT NULL,
    amount_tax bigint NOT NULL,
    bsp_id bigint,
    network_provider_id bigint,
    explanation jsonb,
    rated_at timestamptz NOT NULL,
    CONSTRAINT shares_add_up_to_the_use CHECK (
        amount_net = isp_share + bsp_share + network_provider_share),
    CONSTRAINT a_share_of_use_names_its_partner CHECK (
        (bsp_share = 0 OR bsp_id IS NOT NULL)
        AND (network_provider_share = 0 OR network_provider_id IS NOT NULL))
) PARTITION BY RANGE (usage_id);
CREATE INDEX step_by_time ON rating_ratedusage USING brin (rated_at) WITH (autosummarize = on);
"""

# A month is a table made by itself and then attached, which nobody who writes has to wait for.
MONTHS = """
CREATE FUNCTION rating_make_month(moment timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    month timestamp := date_trunc('month', moment AT TIME ZONE 'UTC');
    start bigint := extract(epoch FROM month)::bigint << 30;
    stop bigint := extract(epoch FROM month + interval '1 month')::bigint << 30;
    parent text;
    name text;
BEGIN
    PERFORM pg_advisory_xact_lock(5317001);
    FOREACH parent IN ARRAY ARRAY['rating_usage', 'rating_ratedusage'] LOOP
        name := parent || to_char(month, '_YYYY_MM');
        CONTINUE WHEN to_regclass(name) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', name, parent);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
                       parent, name, start, stop);
        IF parent = 'rating_ratedusage' THEN
            EXECUTE format('CREATE UNIQUE INDEX %I ON %I '
                           '(service_id, price_id, period_start, step)',
                           name || '_step', name);
        END IF;
    END LOOP;
END $$;
CREATE FUNCTION rating_month_is_closed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the month of % is closed', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
"""

# What a source reported stays as it was. Only who used what may be filled in, where the source's
# names could not be resolved at first; and what is rated is in error no more.
USAGE_IS_A_FACT = """
CREATE FUNCTION rating_usage_is_a_fact() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'usage is never deleted' USING ERRCODE = 'restrict_violation';
    END IF;
    IF (OLD.id, OLD.source, OLD.event_id, OLD.subscriber_ref, OLD.product_ref, OLD.started_at,
        OLD.ended_at, OLD.quantity, OLD.unit, OLD.attributes, OLD.received_at)
       IS DISTINCT FROM
       (NEW.id, NEW.source, NEW.event_id, NEW.subscriber_ref, NEW.product_ref, NEW.started_at,
        NEW.ended_at, NEW.quantity, NEW.unit, NEW.attributes, NEW.received_at)
    THEN
        RAISE EXCEPTION 'what was reported of usage % is never changed', OLD.id
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.error_code = '' AND
       (OLD.subscriber_id, OLD.service_id, OLD.offering_id)
       IS DISTINCT FROM (NEW.subscriber_id, NEW.service_id, NEW.offering_id)
    THEN
        RAISE EXCEPTION 'usage % is guided already', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.error_code = '' AND NEW.error_code <> '' AND
       EXISTS (SELECT FROM rating_ratedusage rated WHERE rated.usage_id = OLD.id)
    THEN
        RAISE EXCEPTION 'usage % is rated already', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER usage_is_a_fact BEFORE UPDATE OR DELETE ON rating_usage
    FOR EACH ROW EXECUTE FUNCTION rating_usage_is_a_fact();
"""

# The lock waits for whoever is using the price just now: a charge holds the key of its price.
KEPT_ONCE_USED = """
CREATE OR REPLACE FUNCTION rating_kept_once_used() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM catalog_offeringprice WHERE id = OLD.id FOR UPDATE;
    IF EXISTS (SELECT FROM rating_usedprice WHERE price_id = OLD.id)
       OR EXISTS (SELECT FROM rating_charge WHERE price_id = OLD.id)
    THEN
        RAISE EXCEPTION 'price % was used: it is never changed, only ended', OLD.id
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
"""


def fact(to, **options):
    return models.ForeignKey(
        db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING,
        related_name="+", to=to, **options,
    )


class Migration(migrations.Migration):
    dependencies = [("rating", "0008_purchase_consents")]

    operations = [
        migrations.CreateModel(
            name="RatingLane",
            fields=[
                ("id", models.PositiveSmallIntegerField(primary_key=True, serialize=False)),
                ("rated_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="UsageKey",
            fields=[
                ("digest", models.UUIDField(primary_key=True, serialize=False)),
                ("content", models.UUIDField()),
                ("usage_id", models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="UsagePosting",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("posted_until", models.DateTimeField()),
            ],
            options={
                "constraints": [models.CheckConstraint(condition=Q(pk=1), name="one_row_of_usage_posting")],
            },
        ),
        migrations.CreateModel(
            name="WaitingUsage",
            fields=[
                ("first", models.BigIntegerField(primary_key=True, serialize=False)),
                ("last", models.BigIntegerField()),
                ("lane", models.PositiveSmallIntegerField()),
            ],
            options={
                "verbose_name_plural": "waiting usage",
                "indexes": [models.Index(fields=["lane", "first"], name="waiting_by_lane")],
                "constraints": [
                    models.CheckConstraint(condition=Q(last__gte=F("first")), name="waiting_usage_is_a_range")
                ],
            },
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(USAGE),
                migrations.RunSQL(RATED),
                migrations.RunSQL(MONTHS),
                migrations.RunSQL(USAGE_IS_A_FACT),
            ],
            state_operations=[
                migrations.RemoveConstraint("usage", "usage_counted_once"),
                migrations.RemoveConstraint("usage", "usage_is_guided_or_in_error"),
                migrations.RemoveConstraint("usage", "usage_error_has_a_code"),
                migrations.RemoveIndex("usage", "usage_to_rate"),
                migrations.RemoveIndex("usage", "usage_in_error"),
                migrations.RemoveField("usage", "fingerprint"),
                migrations.RemoveField("usage", "state"),
                migrations.AlterField("usage", "id", models.BigIntegerField(primary_key=True, serialize=False)),
                migrations.AlterField("usage", "offering", fact("catalog.productoffering", null=True)),
                migrations.AlterField("usage", "service", fact("provisioning.service", null=True)),
                migrations.AlterField("usage", "subscriber", fact("parties.subscriber", null=True)),
                migrations.AddIndex(
                    "usage", models.Index(condition=~Q(error_code=""), fields=["id"], name="usage_in_error")
                ),
                migrations.AddIndex("usage", models.Index(fields=["source", "id"], name="usage_by_source")),
                migrations.AddConstraint(
                    "usage",
                    models.CheckConstraint(
                        condition=~Q(error_code="") | Q(offering__isnull=False, subscriber__isnull=False),
                        name="usage_is_guided_or_in_error",
                    ),
                ),
                migrations.CreateModel(
                    name="RatedUsage",
                    fields=[
                        ("usage", models.OneToOneField(
                            db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING,
                            primary_key=True, related_name="rated", serialize=False, to="rating.usage",
                        )),
                        ("subscriber", fact("parties.subscriber")),
                        ("service", fact("provisioning.service")),
                        ("offering", fact("catalog.productoffering")),
                        ("price", fact("catalog.offeringprice")),
                        ("period_start", models.DateTimeField()),
                        ("step", models.PositiveBigIntegerField()),
                        ("started_at", models.DateTimeField()),
                        ("quantity", models.PositiveBigIntegerField()),
                        ("units_after", models.PositiveBigIntegerField()),
                        ("band_1", models.PositiveBigIntegerField(null=True)),
                        ("band_2", models.PositiveBigIntegerField(null=True)),
                        ("band_3", models.PositiveBigIntegerField(null=True)),
                        ("free_after", models.PositiveBigIntegerField(null=True)),
                        ("events_after", ispops.money.AmountField(null=True)),
                        ("amount_net", ispops.money.AmountField()),
                        ("isp_share", ispops.money.AmountField()),
                        ("bsp_share", ispops.money.AmountField()),
                        ("network_provider_share", ispops.money.AmountField()),
                        ("amount_tax", ispops.money.AmountField()),
                        ("bsp", fact("parties.partner", null=True)),
                        ("network_provider", fact("parties.partner", null=True)),
                        ("explanation", models.JSONField(null=True)),
                        ("rated_at", models.DateTimeField()),
                    ],
                    options={
                        "verbose_name_plural": "rated usage",
                        "indexes": [django.contrib.postgres.indexes.BrinIndex(
                            autosummarize=True, fields=["rated_at"], name="step_by_time"
                        )],
                        "constraints": [
                            models.CheckConstraint(
                                condition=Q(
                                    amount_net=F("isp_share") + F("bsp_share") + F("network_provider_share")
                                ),
                                name="shares_add_up_to_the_use",
                            ),
                            models.CheckConstraint(
                                condition=(Q(bsp_share=0) | Q(bsp__isnull=False))
                                & (Q(network_provider_share=0) | Q(network_provider__isnull=False)),
                                name="a_share_of_use_names_its_partner",
                            ),
                            models.CheckConstraint(condition=Q(step__gt=0), name="steps_begin_at_one"),
                        ],
                    },
                ),
            ],
        ),
        append_only("rating_ratedusage"),
        migrations.CreateModel(
            name="UsageClosing",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("period_start", models.DateTimeField()),
                ("part", models.PositiveBigIntegerField()),
                ("whole", models.PositiveBigIntegerField()),
                ("closed_at", models.DateTimeField()),
                ("price", models.ForeignKey(
                    db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+",
                    to="catalog.offeringprice",
                )),
                ("service", models.ForeignKey(
                    db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+",
                    to="provisioning.service",
                )),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=["service", "price", "period_start"], name="closed_once"),
                    models.CheckConstraint(
                        condition=Q(whole__gt=0, part__lte=F("whole")), name="closing_is_for_a_part"
                    ),
                ],
            },
        ),
        append_only("rating_usageclosing"),
        migrations.CreateModel(
            name="UsedPrice",
            fields=[
                ("price", models.OneToOneField(
                    on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name="+",
                    serialize=False, to="catalog.offeringprice",
                )),
            ],
        ),
        append_only("rating_usedprice"),
        migrations.RunSQL(KEPT_ONCE_USED),
        migrations.DeleteModel("UsageCounter"),
        migrations.AddField("charge", "step_before", models.PositiveBigIntegerField(null=True)),
        migrations.AddField("charge", "step_after", models.PositiveBigIntegerField(null=True)),
        migrations.AddIndex(
            "charge",
            models.Index(
                condition=Q(step_after__isnull=False),
                fields=["service", "price", "period_start", "step_after"],
                name="charge_by_counter",
            ),
        ),
    ]
