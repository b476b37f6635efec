"""What is paid ahead for partners' products; what is bought and held never passes it."""

from django.db import migrations, models

# What is paid in, what of partners' products is charged and on no bill yet, and what is held.
PREPAID = """
CREATE FUNCTION rating_prepaid(
    whose uuid, moment timestamptz, OUT paid_in bigint, OUT charged bigint, OUT reserved bigint
) LANGUAGE sql STABLE AS $$
    SELECT COALESCE((
        SELECT -sum(entry.amount) FROM rating_ledgerentry entry
          JOIN rating_ledgeraccount account ON account.id = entry.account_id
         WHERE account.kind = 'prepaid' AND account.subscriber_id = whose
    ), 0)::bigint, COALESCE((
        SELECT sum(amount_net + amount_tax) FROM rating_charge
         WHERE subscriber_id = whose AND bsp_id IS NOT NULL AND bill_line_id IS NULL
    ), 0)::bigint, COALESCE((
        SELECT sum(amount - used_amount) FROM rating_reservation
         WHERE subscriber_id = whose AND released_at IS NULL AND held_until > moment
    ), 0)::bigint
$$;
"""

# Whoever buys or holds more holds the account, so that two at once are added up. What comes of a
# subscription or of use later is not refused: it is owed.
WITHIN_PREPAID = """
CREATE FUNCTION rating_within_prepaid() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    has record;
    moment timestamptz;
BEGIN
    PERFORM FROM parties_subscriber WHERE id = NEW.subscriber_id AND is_prepaid FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF TG_TABLE_NAME = 'rating_charge' THEN
        moment := NEW.charged_at;
    ELSE
        moment := NEW.held_at;
    END IF;
    SELECT * INTO has FROM rating_prepaid(NEW.subscriber_id, moment);
    IF has.charged + has.reserved > has.paid_in THEN
        RAISE EXCEPTION '% passes what is paid ahead', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER purchase_within_prepaid AFTER INSERT ON rating_charge
    FOR EACH ROW WHEN (NEW.bsp_id IS NOT NULL AND NEW.cause LIKE 'purchase:%')
    EXECUTE FUNCTION rating_within_prepaid();
CREATE TRIGGER hold_within_prepaid AFTER INSERT ON rating_reservation
    FOR EACH ROW EXECUTE FUNCTION rating_within_prepaid();
"""

# No more is taken from what was paid ahead than is there.
NOT_OVERDRAWN = """
CREATE FUNCTION rating_prepaid_is_not_overdrawn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM rating_ledgeraccount WHERE id = NEW.account_id AND kind = 'prepaid'
        FOR NO KEY UPDATE;
    IF FOUND AND (SELECT sum(amount) FROM rating_ledgerentry WHERE account_id = NEW.account_id) > 0
    THEN
        RAISE EXCEPTION 'more is taken from account % than was paid ahead', NEW.account_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER prepaid_is_not_overdrawn AFTER INSERT ON rating_ledgerentry
    FOR EACH ROW WHEN (NEW.amount > 0) EXECUTE FUNCTION rating_prepaid_is_not_overdrawn();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('parties', '0011_prepaid_accounts'),
        ('rating', '0022_spent_by_period'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='ledgertransaction',
            options={'permissions': [('top_up_prepaid', 'Can enter what a subscriber pays ahead')]},
        ),
        migrations.RemoveConstraint(
            model_name='ledgeraccount',
            name='ledger_account_names_its_owner',
        ),
        migrations.AlterField(
            model_name='ledgeraccount',
            name='kind',
            field=models.CharField(choices=[('receivable', 'Receivable from a subscriber'), ('payable', 'Payable to a partner'), ('revenue', 'Revenue'), ('tax', 'Tax payable'), ('rounding', 'Rounding differences'), ('cash', 'Cash'), ('prepaid', 'Paid ahead by a subscriber')], max_length=12),
        ),
        migrations.AddConstraint(
            model_name='ledgeraccount',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind__in', ['receivable', 'prepaid']), ('partner__isnull', True), ('subscriber__isnull', False)), models.Q(('kind', 'payable'), ('partner__isnull', False), ('subscriber__isnull', True)), models.Q(models.Q(('kind__in', ['receivable', 'prepaid', 'payable']), _negated=True), ('partner__isnull', True), ('subscriber__isnull', True)), _connector='OR'), name='ledger_account_names_its_owner'),
        ),
        migrations.RunSQL(PREPAID, "DROP FUNCTION rating_prepaid(uuid, timestamptz)"),
        migrations.RunSQL(WITHIN_PREPAID, "DROP FUNCTION rating_within_prepaid() CASCADE"),
        migrations.RunSQL(NOT_OVERDRAWN, "DROP FUNCTION rating_prepaid_is_not_overdrawn() CASCADE"),
    ]
