"""Refunds, disputes, and purchases that are cancelled; never more goes back than was charged."""

import django.db.models.deletion
import ispops.db
from django.conf import settings
from django.db import migrations, models


# Whoever takes something back holds the charge, so that two at once are added up.
NEVER_MORE_BACK = """
CREATE FUNCTION rating_never_more_back() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    original rating_charge;
    back record;
BEGIN
    SELECT * INTO original FROM rating_charge
     WHERE id = COALESCE(NEW.corrects_id, NEW.reverses_id) FOR NO KEY UPDATE;
    IF NEW.corrects_id IS NOT NULL AND (
        original.corrects_id IS NOT NULL OR original.reverses_id IS NOT NULL
        OR (original.subscriber_id, original.currency, original.bsp_id,
            original.network_provider_id)
           IS DISTINCT FROM
           (NEW.subscriber_id, NEW.currency, NEW.bsp_id, NEW.network_provider_id)
    ) THEN
        RAISE EXCEPTION 'correction % is not of a charge of the same parties', NEW.id
            USING ERRCODE = 'check_violation';
    END IF;
    SELECT COALESCE(sum(amount_net), 0) + NEW.amount_net AS net,
           COALESCE(sum(amount_tax), 0) + NEW.amount_tax AS tax,
           COALESCE(sum(bsp_share), 0) + NEW.bsp_share AS bsp,
           COALESCE(sum(network_provider_share), 0) + NEW.network_provider_share AS network
      INTO back
      FROM rating_charge WHERE corrects_id = original.id OR reverses_id = original.id;
    IF original.amount_net + back.net < LEAST(original.amount_net, 0)
       OR original.amount_tax + back.tax < LEAST(original.amount_tax, 0)
       OR original.bsp_share + back.bsp < LEAST(original.bsp_share, 0)
       OR original.network_provider_share + back.network
          < LEAST(original.network_provider_share, 0)
    THEN
        RAISE EXCEPTION 'more would be given back of charge % than was charged', original.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER takes_no_more_back BEFORE INSERT ON rating_charge
    FOR EACH ROW WHEN (NEW.corrects_id IS NOT NULL OR NEW.reverses_id IS NOT NULL)
    EXECUTE FUNCTION rating_never_more_back();
"""

# A purchase is settled once; what was completed can be cancelled after that.
PURCHASE_STATES = """
CREATE OR REPLACE FUNCTION rating_purchase_states() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'purchases are never deleted' USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.state <> NEW.state AND OLD.state <> 'pending'
       AND NOT (OLD.state = 'completed' AND NEW.state = {after_completed})
    THEN
        RAISE EXCEPTION 'purchase % cannot go from % to %', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF (OLD.subscriber_id, OLD.line_id, OLD.offering_id, OLD.idempotency_key, OLD.placed_at)
       IS DISTINCT FROM
       (NEW.subscriber_id, NEW.line_id, NEW.offering_id, NEW.idempotency_key, NEW.placed_at)
    THEN
        RAISE EXCEPTION 'what was purchased is never changed' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
"""

DISPUTE_STATES = """
CREATE FUNCTION rating_dispute_states() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.state <> 'open' THEN
        RAISE EXCEPTION 'what was answered stays' USING ERRCODE = 'restrict_violation';
    END IF;
    IF (OLD.charge_id, OLD.subscriber_id, OLD.partner_id, OLD.words, OLD.opened_at, OLD.opened_by_id)
       IS DISTINCT FROM
       (NEW.charge_id, NEW.subscriber_id, NEW.partner_id, NEW.words, NEW.opened_at, NEW.opened_by_id)
    THEN
        RAISE EXCEPTION 'what was disputed is never changed' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER dispute_states BEFORE UPDATE OR DELETE ON rating_dispute
    FOR EACH ROW EXECUTE FUNCTION rating_dispute_states();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('catalog', '0007_wide_prices'),
        ('ipam', '0002_guards'),
        ('parties', '0009_checkers'),
        ('provisioning', '0019_coa_says_when'),
        ('rating', '0004_used_prices'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Dispute',
            fields=[
                ('id', models.UUIDField(default=ispops.db.uuid7, editable=False, primary_key=True, serialize=False)),
                ('words', models.CharField(max_length=1000)),
                ('state', models.CharField(choices=[('open', 'Waiting for our answer'), ('upheld', 'Upheld'), ('rejected', 'Rejected')], default='open', max_length=8)),
                ('opened_at', models.DateTimeField()),
                ('answer', models.CharField(blank=True, default='', max_length=300)),
                ('answered_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'permissions': [('answer_dispute', 'Can answer a dispute')],
            },
        ),
        migrations.AlterModelOptions(
            name='charge',
            options={'permissions': [('refund_charge', 'Can give a charge back')]},
        ),
        migrations.AlterModelOptions(
            name='purchase',
            options={'permissions': [('cancel_purchase', 'Can cancel a purchase')]},
        ),
        migrations.AddField(
            model_name='charge',
            name='corrects',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='corrections', to='rating.charge'),
        ),
        migrations.AddField(
            model_name='purchase',
            name='cancelled_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddIndex(
            model_name='charge',
            index=models.Index(condition=models.Q(('corrects__isnull', False)), fields=['corrects'], name='charge_by_corrected'),
        ),
        migrations.AddConstraint(
            model_name='charge',
            constraint=models.CheckConstraint(condition=models.Q(('corrects__isnull', True), models.Q(('amount_net__lte', 0), ('amount_tax__lte', 0), ('kind', 'adjustment'), ('reverses__isnull', True)), _connector='OR'), name='a_correction_takes_nothing'),
        ),
        migrations.AddConstraint(
            model_name='purchase',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('cancelled_at__isnull', False), ('state', 'cancelled')), models.Q(models.Q(('state', 'cancelled'), _negated=True), ('cancelled_at__isnull', True)), _connector='OR'), name='cancelled_purchase_says_when'),
        ),
        migrations.AddField(
            model_name='dispute',
            name='answered_by',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='dispute',
            name='charge',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='disputes', to='rating.charge'),
        ),
        migrations.AddField(
            model_name='dispute',
            name='correction',
            field=models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='upholds', to='rating.charge'),
        ),
        migrations.AddField(
            model_name='dispute',
            name='opened_by',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='dispute',
            name='partner',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='disputes', to='parties.partner'),
        ),
        migrations.AddField(
            model_name='dispute',
            name='subscriber',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='disputes', to='parties.subscriber'),
        ),
        migrations.AddIndex(
            model_name='dispute',
            index=models.Index(condition=models.Q(('state', 'open')), fields=['opened_at'], name='dispute_open'),
        ),
        migrations.AddConstraint(
            model_name='dispute',
            constraint=models.UniqueConstraint(condition=models.Q(('state', 'open')), fields=('charge', 'partner'), name='one_open_dispute_of_a_charge', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='dispute',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('answer', ''), ('answered_at__isnull', True), ('state', 'open')), models.Q(models.Q(('state', 'open'), _negated=True), ('answered_at__isnull', False), models.Q(('answer', ''), _negated=True)), _connector='OR'), name='answered_dispute_says_when_and_why'),
        ),
        migrations.AddConstraint(
            model_name='dispute',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('correction__isnull', False), ('state', 'upheld')), models.Q(models.Q(('state', 'upheld'), _negated=True), ('correction__isnull', True)), _connector='OR'), name='upheld_dispute_has_a_correction'),
        ),
        migrations.RunSQL(NEVER_MORE_BACK, "DROP FUNCTION rating_never_more_back() CASCADE"),
        migrations.RunSQL(
            PURCHASE_STATES.format(after_completed="'cancelled'"),
            PURCHASE_STATES.format(after_completed="''"),
        ),
        migrations.RunSQL(DISPUTE_STATES, "DROP FUNCTION rating_dispute_states() CASCADE"),
    ]
