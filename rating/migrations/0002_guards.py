"""What must never be false about money and use, in the database itself."""

from django.db import migrations

from ispops.db import append_only, never_overlap, overlapping, same_text

# What a source reported stays as it was. Only who used what may be filled in, where the source's
# names could not be resolved at first, and the state of rating may change: to rated for good.
USAGE_IS_A_FACT = """
CREATE FUNCTION rating_usage_is_a_fact() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'usage is never deleted' USING ERRCODE = 'restrict_violation';
    END IF;
    IF (OLD.source, OLD.event_id, OLD.fingerprint, OLD.subscriber_ref, OLD.product_ref,
        OLD.started_at, OLD.ended_at, OLD.quantity, OLD.unit, OLD.attributes, OLD.received_at)
       IS DISTINCT FROM
       (NEW.source, NEW.event_id, NEW.fingerprint, NEW.subscriber_ref, NEW.product_ref,
        NEW.started_at, NEW.ended_at, NEW.quantity, NEW.unit, NEW.attributes, NEW.received_at)
    THEN
        RAISE EXCEPTION 'what was reported of usage % is never changed', OLD.id
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.state <> 'error' AND
       (OLD.subscriber_id, OLD.service_id, OLD.offering_id)
       IS DISTINCT FROM (NEW.subscriber_id, NEW.service_id, NEW.offering_id)
    THEN
        RAISE EXCEPTION 'usage % is guided already', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.state = 'rated' AND NEW.state <> 'rated' THEN
        RAISE EXCEPTION 'usage % is rated already', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER usage_is_never_deleted BEFORE DELETE ON rating_usage
    FOR EACH ROW EXECUTE FUNCTION rating_usage_is_a_fact();
-- What rating does a thousand times a second is let through without a call.
CREATE TRIGGER usage_is_a_fact BEFORE UPDATE ON rating_usage
    FOR EACH ROW WHEN (NOT (
        OLD.state = 'received' AND NEW.state = 'rated' AND NEW.error_code = '' AND
        (OLD.source, OLD.event_id, OLD.fingerprint, OLD.subscriber_ref, OLD.product_ref,
         OLD.started_at, OLD.ended_at, OLD.quantity, OLD.unit, OLD.attributes, OLD.received_at,
         OLD.subscriber_id, OLD.service_id, OLD.offering_id)
        IS NOT DISTINCT FROM
        (NEW.source, NEW.event_id, NEW.fingerprint, NEW.subscriber_ref, NEW.product_ref,
         NEW.started_at, NEW.ended_at, NEW.quantity, NEW.unit, NEW.attributes, NEW.received_at,
         NEW.subscriber_id, NEW.service_id, NEW.offering_id)
    )) EXECUTE FUNCTION rating_usage_is_a_fact();
"""

# A purchase is settled once; the table of `rating.purchases`.
PURCHASE_STATES = """
CREATE FUNCTION rating_purchase_states() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'purchases are never deleted' USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.state <> NEW.state AND OLD.state <> 'pending' THEN
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
CREATE TRIGGER purchase_states BEFORE UPDATE OR DELETE ON rating_purchase
    FOR EACH ROW EXECUTE FUNCTION rating_purchase_states();
"""

REVERSAL_MIRRORS = """
CREATE FUNCTION rating_reversal_mirrors() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM rating_charge original WHERE original.id = NEW.reverses_id
        AND (original.subscriber_id, original.currency, original.amount_net, original.amount_tax,
             original.isp_share, original.bsp_share, original.network_provider_share)
          = (NEW.subscriber_id, NEW.currency, -NEW.amount_net, -NEW.amount_tax,
             -NEW.isp_share, -NEW.bsp_share, -NEW.network_provider_share)
        AND (original.bsp_id, original.network_provider_id)
            IS NOT DISTINCT FROM (NEW.bsp_id, NEW.network_provider_id)
    ) THEN
        RAISE EXCEPTION 'reversal % is not the opposite of what it reverses', NEW.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER reversal_mirrors BEFORE INSERT ON rating_charge
    FOR EACH ROW WHEN (NEW.reverses_id IS NOT NULL) EXECUTE FUNCTION rating_reversal_mirrors();
"""

# One moment of one service, or of one extra address, is charged once.
RECURRING_ONCE = """
ALTER TABLE rating_charge ADD CONSTRAINT a_moment_is_charged_once EXCLUDE USING gist (
    int8range(
        hashtextextended(COALESCE(extra_address_id, service_id)::text, 0),
        hashtextextended(COALESCE(extra_address_id, service_id)::text, 0), '[]'
    ) WITH &&,
    tstzrange(period_start, period_end) WITH &&
) WHERE (kind = 'recurring');
"""

LEDGER_BALANCES = """
CREATE FUNCTION rating_ledger_balances() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wanted bigint;
    total numeric;
    entries bigint;
    currencies bigint;
BEGIN
    IF TG_TABLE_NAME = 'rating_ledgertransaction' THEN
        wanted := NEW.id;
    ELSE
        wanted := NEW.transaction_id;
    END IF;
    SELECT count(*), COALESCE(sum(entry.amount), 0), count(DISTINCT account.currency)
      INTO entries, total, currencies
      FROM rating_ledgerentry entry JOIN rating_ledgeraccount account
        ON account.id = entry.account_id
     WHERE entry.transaction_id = wanted;
    IF entries = 0 OR total <> 0 OR currencies > 1 THEN
        RAISE EXCEPTION
            'ledger transaction % has % entries in % currencies that sum to %',
            wanted, entries, currencies, total USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER ledger_balances AFTER INSERT ON rating_ledgertransaction
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rating_ledger_balances();
CREATE CONSTRAINT TRIGGER ledger_balances AFTER INSERT ON rating_ledgerentry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rating_ledger_balances();
"""

BILL_ADDS_UP = """
CREATE FUNCTION rating_bill_adds_up() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wanted uuid;
BEGIN
    IF TG_TABLE_NAME = 'rating_customerbill' THEN
        wanted := NEW.id;
    ELSE
        wanted := NEW.bill_id;
    END IF;
    IF NOT EXISTS (
        SELECT FROM rating_customerbill bill
          LEFT JOIN rating_billline line ON line.bill_id = bill.id
         WHERE bill.id = wanted GROUP BY bill.id
        HAVING bill.amount_net = sum(line.amount_net) AND bill.amount_tax = sum(line.amount_tax)
    ) THEN
        RAISE EXCEPTION 'the lines of bill % do not sum to it', wanted
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER bill_lines_add_up AFTER INSERT ON rating_customerbill
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rating_bill_adds_up();
CREATE CONSTRAINT TRIGGER bill_lines_add_up AFTER INSERT ON rating_billline
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rating_bill_adds_up();

CREATE FUNCTION rating_line_adds_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.amount_net + NEW.amount_tax <> NEW.rounding + (
        SELECT COALESCE(sum(charge.amount_net + charge.amount_tax), 0)
          FROM rating_charge charge WHERE charge.bill_line_id = NEW.id
    ) THEN
        RAISE EXCEPTION 'the charges of bill line % and its rounding do not sum to it', NEW.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER line_adds_up AFTER INSERT ON rating_billline
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rating_line_adds_up();
"""


def _drop(function: str) -> str:
    """Undo a function and the triggers that call it."""
    return f"DROP FUNCTION {function}() CASCADE"


class Migration(migrations.Migration):
    dependencies = [("rating", "0001_initial"), ("ispops", "0002_guards")]

    operations = [
        append_only("rating_charge", except_columns=["bill_line_id"]),
        append_only("rating_customerbill"),
        append_only("rating_billline"),
        append_only("rating_ledgertransaction"),
        append_only("rating_ledgerentry"),
        append_only("rating_settlementstatement"),
        migrations.RunSQL(USAGE_IS_A_FACT, _drop("rating_usage_is_a_fact")),
        migrations.RunSQL(PURCHASE_STATES, _drop("rating_purchase_states")),
        migrations.RunSQL(REVERSAL_MIRRORS, _drop("rating_reversal_mirrors")),
        migrations.RunSQL(
            RECURRING_ONCE, "ALTER TABLE rating_charge DROP CONSTRAINT a_moment_is_charged_once"
        ),
        migrations.RunSQL(LEDGER_BALANCES, _drop("rating_ledger_balances")),
        migrations.RunSQL(BILL_ADDS_UP, f"{_drop('rating_bill_adds_up')}; {_drop('rating_line_adds_up')}"),
        never_overlap(
            "rating_customerbill",
            "no_moment_on_two_bills",
            same_text("subscriber_id::text"),
            overlapping("period_start", "period_end"),
        ),
        never_overlap(
            "rating_settlementstatement",
            "no_moment_on_two_statements",
            same_text("partner_id::text || ':' || currency"),
            overlapping("period_start", "period_end"),
        ),
    ]
