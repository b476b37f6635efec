"""Lists of a million rows: what guards coverage is checked for all rows of a statement at once.

The exclusion constraint cost 75 to 150 microseconds a row, the foreign keys 5 to 10 each. What
stands here instead promises the same.

No two rows of a place are in force at once: a row begins open, and a unique index allows one open
row of a place; from then on it only shrinks, because a trigger refuses every change but its end. So
a new row can overlap nothing but rows that have ended, which a trigger looks for after the insert.
By then the unique index has waited for whoever was ending the row before, and the look is a
snapshot of its own that shows that end. That is so in READ COMMITTED only, where every statement
sees what was committed before it; the stricter levels look at the past, and are refused.

No row refers to what does not exist: the same trigger looks for the partners, places, nodes and
files that are named. These are never deleted, so there is nobody to race with.
"""

import django.contrib.postgres.indexes
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from ispops.db import append_only, never_overlap, overlapping, same_text

EXCLUSION = never_overlap(
    "qualification_coveragearea",
    "one_coverage_of_a_place_at_a_time",
    same_text(
        "provider_id::text || ':' || technology::text || ':' || coalesce(premises_id::text, h3_res8)"
    ),
    overlapping("valid_from", "valid_to"),
)
ROW_BY_ROW = append_only("qualification_coveragearea", except_columns=["valid_to", "ended_by_id"])

# A condition is looked at without calling a function, for a tenth of the cost.
ONLY_ENDS = """
CREATE TRIGGER append_only BEFORE UPDATE ON qualification_coveragearea FOR EACH ROW WHEN (
    (OLD.id, OLD.provider_id, OLD.technology, OLD.premises_id, OLD.h3_res8, OLD.max_download_kbps,
     OLD.max_upload_kbps, OLD.low_latency, OLD.install_days, OLD.loop_length_m,
     OLD.construction_fee, OLD.construction_days, OLD.node_id, OLD.planned_date, OLD.valid_from,
     OLD.added_by_id)
    IS DISTINCT FROM
    (NEW.id, NEW.provider_id, NEW.technology, NEW.premises_id, NEW.h3_res8, NEW.max_download_kbps,
     NEW.max_upload_kbps, NEW.low_latency, NEW.install_days, NEW.loop_length_m,
     NEW.construction_fee, NEW.construction_days, NEW.node_id, NEW.planned_date, NEW.valid_from,
     NEW.added_by_id)
    OR OLD.valid_to IS NOT NULL AND NEW.valid_to IS DISTINCT FROM OLD.valid_to
    OR OLD.ended_by_id IS NOT NULL AND NEW.ended_by_id IS DISTINCT FROM OLD.ended_by_id
) EXECUTE FUNCTION ispops_refuse_change();
CREATE TRIGGER never_deleted BEFORE DELETE ON qualification_coveragearea
    FOR EACH ROW EXECUTE FUNCTION ispops_refuse_change();
"""
NO_ONLY_ENDS = """
DROP TRIGGER append_only ON qualification_coveragearea;
DROP TRIGGER never_deleted ON qualification_coveragearea;
"""

KEEP = """
CREATE FUNCTION qualification_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% keeps its rows, because coverage refers to them: % refused',
        TG_TABLE_NAME, lower(TG_OP) USING ERRCODE = 'restrict_violation';
END $$;
"""
KEPT = (
    "parties_partner",
    "qualification_premises",
    "qualification_accessnode",
    "qualification_coverageimport",
)

# The looks are dynamic, so that one row and a million are each planned for what they are.
BEGINS = """
CREATE FUNCTION qualification_coverage_begins() RETURNS trigger LANGUAGE plpgsql
SET work_mem = '64MB' AS $$
DECLARE
    lists jsonb;
    is_wrong boolean;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'coverage is written in READ COMMITTED, where its guard sees what others did'
            USING ERRCODE = 'restrict_violation';
    END IF;

    -- All rows of a list share the partner and the file.
    EXECUTE $look$
        SELECT jsonb_agg(named) FROM (
            SELECT provider_id, added_by_id, min(valid_from) begins FROM fresh GROUP BY 1, 2
        ) named
    $look$ INTO lists;
    EXECUTE $look$
        SELECT EXISTS (
            SELECT FROM jsonb_to_recordset($1) list(provider_id bigint, added_by_id uuid)
             WHERE NOT EXISTS (SELECT FROM parties_partner known WHERE known.id = list.provider_id)
                OR added_by_id IS NOT NULL AND NOT EXISTS (
                    SELECT FROM qualification_coverageimport known WHERE known.id = list.added_by_id)
        ) OR EXISTS (
            SELECT FROM fresh WHERE premises_id IS NOT NULL AND NOT EXISTS (
                SELECT FROM qualification_premises known WHERE known.id = fresh.premises_id)
        ) OR EXISTS (
            SELECT FROM (SELECT DISTINCT node_id id FROM fresh WHERE node_id IS NOT NULL) named
             WHERE NOT EXISTS (
                SELECT FROM qualification_accessnode known WHERE known.id = named.id)
        )
    $look$ INTO is_wrong USING lists;
    IF is_wrong THEN
        RAISE EXCEPTION 'coverage_refers_to_rows: a partner, place, node or file does not exist'
            USING ERRCODE = 'foreign_key_violation';
    END IF;

    -- Nearly always nothing of the network has ended after the new rows begin, and that is quick.
    EXECUTE $look$
        SELECT EXISTS (
            SELECT FROM jsonb_to_recordset($1) list(provider_id bigint, begins timestamptz)
              JOIN qualification_coveragearea ended
                ON ended.provider_id = list.provider_id AND ended.valid_to > list.begins
        )
    $look$ INTO is_wrong USING lists;
    IF NOT is_wrong THEN
        RETURN NULL;
    END IF;
    EXECUTE $look$
        SELECT EXISTS (
            SELECT FROM fresh JOIN qualification_coveragearea ended
                ON ended.premises_id = fresh.premises_id
               AND ended.provider_id = fresh.provider_id
               AND ended.technology = fresh.technology AND ended.valid_to > fresh.valid_from
        ) OR EXISTS (
            SELECT FROM fresh JOIN qualification_coveragearea ended
                ON ended.h3_res8 = fresh.h3_res8 AND NOT ended.h3_res8 = ''
               AND ended.provider_id = fresh.provider_id
               AND ended.technology = fresh.technology AND ended.valid_to > fresh.valid_from
        )
    $look$ INTO is_wrong;
    IF is_wrong THEN
        RAISE EXCEPTION 'coverage_follows_what_ended: a row begins before another one ended there'
            USING ERRCODE = 'exclusion_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER begins AFTER INSERT ON qualification_coveragearea REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION qualification_coverage_begins();

CREATE FUNCTION qualification_coverage_begins_open() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'coverage_begins_open: a row is ended after it was written'
        USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER begins_open BEFORE INSERT ON qualification_coveragearea FOR EACH ROW
    WHEN (NEW.valid_to IS NOT NULL OR NEW.ended_by_id IS NOT NULL)
    EXECUTE FUNCTION qualification_coverage_begins_open();

CREATE FUNCTION qualification_coverage_ends() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT ended_by_id id FROM fresh WHERE ended_by_id IS NOT NULL) named
         WHERE NOT EXISTS (
            SELECT FROM qualification_coverageimport known WHERE known.id = named.id)
    ) THEN
        RAISE EXCEPTION 'coverage_refers_to_rows: the file that ended a row does not exist'
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER ends AFTER UPDATE ON qualification_coveragearea REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION qualification_coverage_ends();
"""
NO_BEGINS = """
DROP TRIGGER begins ON qualification_coveragearea;
DROP TRIGGER begins_open ON qualification_coveragearea;
DROP TRIGGER ends ON qualification_coveragearea;
DROP FUNCTION qualification_coverage_ends();
DROP FUNCTION qualification_coverage_begins();
DROP FUNCTION qualification_coverage_begins_open();
"""


def kept(table: str) -> migrations.RunSQL:
    """Return a step after which no row of a table is deleted or gets another key."""
    return migrations.RunSQL(
        f"CREATE TRIGGER kept BEFORE DELETE OR UPDATE OF id ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION qualification_keep()",
        f"DROP TRIGGER kept ON {table}",
    )


class Migration(migrations.Migration):

    dependencies = [
        ('parties', '0002_guards'),
        ('qualification', '0009_where_people_asked'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunSQL(EXCLUSION.reverse_sql, EXCLUSION.sql),
        migrations.RunSQL(ROW_BY_ROW.reverse_sql, ROW_BY_ROW.sql),
        migrations.RemoveIndex(
            model_name='coveragearea',
            name='coverage_by_cell',
        ),
        migrations.AddField(
            model_name='coverageimport',
            name='basis',
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='coverageimport',
            name='summary',
            field=models.JSONField(blank=True, default=dict),
        ),
        migrations.AddField(
            model_name='coverageimport',
            name='use_cells',
            field=models.BooleanField(default=False),
        ),
        migrations.AlterField(
            model_name='coveragearea',
            name='added_by',
            field=models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='rows_added', to='qualification.coverageimport'),
        ),
        migrations.AlterField(
            model_name='coveragearea',
            name='ended_by',
            field=models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='rows_ended', to='qualification.coverageimport'),
        ),
        migrations.AlterField(
            model_name='coveragearea',
            name='node',
            field=models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='coverage', to='qualification.accessnode'),
        ),
        migrations.AlterField(
            model_name='coveragearea',
            name='premises',
            field=models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='coverage', to='qualification.premises'),
        ),
        migrations.AlterField(
            model_name='coveragearea',
            name='provider',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='coverage', to='parties.partner'),
        ),
        migrations.AlterField(
            model_name='coverageimport',
            name='format',
            field=models.CharField(choices=[('fcc_filing', 'FCC availability, as filed (8 columns)'), ('fcc_public', 'FCC availability, as published (12 columns)'), ('locations', 'Coverage by location, address or H3 cell'), ('premises', 'Places: the Fabric, or a list of addresses')], max_length=10),
        ),
        migrations.AlterField(
            model_name='coverageimport',
            name='provider',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='coverage_imports', to='parties.partner'),
        ),
        migrations.AddIndex(
            model_name='coveragearea',
            index=models.Index(condition=models.Q(('valid_to__isnull', False)), fields=['provider', 'valid_to'], name='coverage_that_ended'),
        ),
        migrations.AddIndex(
            model_name='coveragearea',
            index=models.Index(condition=models.Q(('node__isnull', False)), fields=['node'], name='coverage_by_node'),
        ),
        migrations.AddIndex(
            model_name='coveragearea',
            index=django.contrib.postgres.indexes.BrinIndex(fields=['added_by'], name='coverage_by_file_that_added'),
        ),
        migrations.AddIndex(
            model_name='coveragearea',
            index=models.Index(condition=models.Q(('ended_by__isnull', False)), fields=['ended_by'], name='coverage_by_file_that_ended'),
        ),
        migrations.AddIndex(
            model_name='coverageimport',
            index=models.Index(condition=models.Q(('next_attempt_at__isnull', False)), fields=['next_attempt_at'], name='coverage_import_due'),
        ),
        migrations.AddConstraint(
            model_name='coveragearea',
            constraint=models.UniqueConstraint(condition=models.Q(('premises__isnull', False)), fields=('premises', 'provider', 'technology', 'valid_to'), name='one_coverage_of_a_place_at_a_time', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='coveragearea',
            constraint=models.UniqueConstraint(condition=models.Q(('h3_res8', ''), _negated=True), fields=('h3_res8', 'provider', 'technology', 'valid_to'), name='one_coverage_of_a_cell_at_a_time', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='coverageimport',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('format', 'premises'), ('is_complete', False), ('provider__isnull', True)), models.Q(models.Q(('format', 'premises'), _negated=True), ('provider__isnull', False)), _connector='OR'), name='coverage_import_has_a_provider'),
        ),
        migrations.AddConstraint(
            model_name='coverageimport',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('next_attempt_at__isnull', False), ('state__in', ['queued', 'checking', 'applying', 'rolling_back'])), models.Q(models.Q(('state__in', ['queued', 'checking', 'applying', 'rolling_back']), _negated=True), ('leased_until__isnull', True), ('next_attempt_at__isnull', True)), _connector='OR'), name='only_a_working_import_is_due'),
        ),
        migrations.RunSQL(ONLY_ENDS, NO_ONLY_ENDS),
        migrations.RunSQL(KEEP, "DROP FUNCTION qualification_keep()"),
        *(kept(table) for table in KEPT),
        migrations.RunSQL(BEGINS, NO_BEGINS),
    ]
