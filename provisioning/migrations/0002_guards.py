"""Periods never overlap, the accounting inbox is kept as it came, states follow their tables."""

from django.db import migrations

from ispops.db import append_only, never_overlap, overlapping, same_text

# The tables of `provisioning.transitions` as they are today; a test holds the two together.
REFUSE_TRANSITION = """
CREATE FUNCTION provisioning_refuse_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.state || '>' || NEW.state) = ANY (TG_ARGV::text[]) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '% may not go from % to %', TG_TABLE_NAME, OLD.state, NEW.state
        USING ERRCODE = 'check_violation';
END $$;
"""

MOVES = {
    "provisioning_productorder": (
        "acknowledged>in_progress acknowledged>held acknowledged>failed acknowledged>cancelled "
        "in_progress>held in_progress>completed in_progress>failed in_progress>cancelled "
        "held>in_progress held>completed held>failed held>cancelled"
    ),
    "provisioning_ordertask": (
        "pending>ready pending>cancelled "
        "ready>awaiting ready>completed ready>fallout ready>cancelled "
        "awaiting>completed awaiting>fallout awaiting>cancelled "
        "fallout>ready fallout>skipped fallout>cancelled "
        "completed>cancelled skipped>cancelled"
    ),
    "provisioning_service": (
        "reserved>active reserved>ceased active>suspended active>ceased "
        "suspended>active suspended>ceased"
    ),
    "provisioning_serviceorder": (
        "acknowledged>completed acknowledged>failed acknowledged>timed_out acknowledged>cancelled "
        "completed>cancelled"
    ),
}


def follow_table(table: str, moves: str) -> migrations.RunSQL:
    arguments = ", ".join(f"'{move}'" for move in moves.split())
    return migrations.RunSQL(
        f"CREATE TRIGGER follow_state_table BEFORE UPDATE OF state ON {table} "
        "FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) "
        f"EXECUTE FUNCTION provisioning_refuse_transition({arguments})",
        f"DROP TRIGGER follow_state_table ON {table}",
    )


class Migration(migrations.Migration):
    dependencies = [("provisioning", "0001_initial"), ("ispops", "0002_guards")]

    operations = [
        never_overlap(
            "provisioning_serviceperiod",
            "one_period_at_a_time",
            same_text("service_id::text"),
            overlapping("started_at", "ended_at"),
        ),
        append_only("provisioning_accountingrecord", except_columns=["metered_at"]),
        migrations.RunSQL(
            REFUSE_TRANSITION, "DROP FUNCTION provisioning_refuse_transition()"
        ),
        *(follow_table(table, moves) for table, moves in MOVES.items()),
    ]
