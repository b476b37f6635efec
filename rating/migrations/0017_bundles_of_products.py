"""A bundle of several partners' products is one purchase, with a part for each product."""

import django.db.models.deletion
from django.db import migrations, models

# A purchase is settled once; what was completed can be cancelled after that. What one partner of a
# bundle has granted is taken back when another does not come.
PURCHASE_STATES = """
CREATE OR REPLACE FUNCTION rating_purchase_states() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'purchases are never deleted' USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.state <> NEW.state AND OLD.state <> 'pending'
       AND NOT (OLD.state = 'completed' AND NEW.state = 'cancelled') {unless}
    THEN
        RAISE EXCEPTION 'purchase % cannot go from % to %', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF (OLD.subscriber_id, OLD.line_id, OLD.offering_id, OLD.idempotency_key, OLD.placed_at {also_old})
       IS DISTINCT FROM
       (NEW.subscriber_id, NEW.line_id, NEW.offering_id, NEW.idempotency_key, NEW.placed_at {also_new})
    THEN
        RAISE EXCEPTION 'what was purchased is never changed' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
"""
UNLESS_A_PART = """
       AND NOT (OLD.state = 'completed' AND NEW.state = 'reversed' AND EXISTS (
            SELECT FROM rating_purchase whole
             WHERE whole.id = NEW.part_of_id AND whole.state = 'pending'
       ))"""


class Migration(migrations.Migration):

    dependencies = [
        ('catalog', '0011_bundles_of_products'),
        ('rating', '0016_use_by_consent'),
    ]

    operations = [
        migrations.AddField(
            model_name='purchase',
            name='part_of',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='parts', to='rating.purchase'),
        ),
        migrations.AddConstraint(
            model_name='purchase',
            constraint=models.UniqueConstraint(condition=models.Q(('part_of__isnull', False)), fields=('part_of', 'offering'), name='part_of_a_purchase_once'),
        ),
        migrations.RunSQL(
            PURCHASE_STATES.format(
                unless=UNLESS_A_PART, also_old=", OLD.part_of_id", also_new=", NEW.part_of_id"
            ),
            PURCHASE_STATES.format(unless="", also_old="", also_new=""),
        ),
    ]
