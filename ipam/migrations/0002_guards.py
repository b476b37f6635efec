"""What must never be false about addresses, kept by PostgreSQL and not only by the verbs.

Blocks of one tier never overlap and lie inside their parents; no slot is free twice; an address
has one holder at a moment; history, extra addresses and decided requests stay as they were.
"""

from django.db import migrations

from ispops.db import append_only, never_overlap, overlapping, same_number

# A parent cannot shrink or go away under its children, because no block ever changes its extent.
BLOCK_INSIDE_PARENT = """
CREATE FUNCTION ipam_block_inside_parent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.vrf, NEW.tier, NEW.network, NEW.parent_id)
            IS DISTINCT FROM (OLD.vrf, OLD.tier, OLD.network, OLD.parent_id) THEN
            RAISE EXCEPTION 'block % cannot be moved or resized', OLD.network
                USING ERRCODE = 'restrict_violation';
        END IF;
    ELSIF NEW.parent_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM ipam_block parent WHERE parent.id = NEW.parent_id
        AND parent.vrf = NEW.vrf AND parent.tier < NEW.tier AND parent.network >>= NEW.network
    ) THEN
        RAISE EXCEPTION 'block % is not inside its parent', NEW.network
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER inside_parent BEFORE INSERT OR UPDATE ON ipam_block
FOR EACH ROW EXECUTE FUNCTION ipam_block_inside_parent();
"""

DROP_BLOCK_INSIDE_PARENT = """
DROP TRIGGER inside_parent ON ipam_block;
DROP FUNCTION ipam_block_inside_parent();
"""

# The table of `ipam.transitions`: a pending request is decided once, and only `last_asked_at`
# of any request may move, as the device goes on asking.
DECIDED_ONCE = """
CREATE FUNCTION ipam_request_decided_once() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    may_move text[] := ARRAY['last_asked_at'];
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.state = 'pending' AND NEW.state IN ('granted', 'denied', 'expired') THEN
            may_move := may_move
                || ARRAY['state', 'decided_at', 'decided_by', 'decided_by_user_id', 'reason'];
        END IF;
        IF to_jsonb(NEW) - may_move = to_jsonb(OLD) - may_move THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'over-allocation request % is %: % refused', OLD.id, OLD.state, lower(TG_OP)
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER decided_once BEFORE UPDATE OR DELETE ON ipam_overallocationrequest
FOR EACH ROW EXECUTE FUNCTION ipam_request_decided_once();
"""

DROP_DECIDED_ONCE = """
DROP TRIGGER decided_once ON ipam_overallocationrequest;
DROP FUNCTION ipam_request_decided_once();
"""


class Migration(migrations.Migration):
    dependencies = [("ipam", "0001_initial"), ("ispops", "0002_guards")]

    operations = [
        never_overlap(
            "ipam_block",
            "blocks_of_a_tier_never_overlap",
            "network inet_ops WITH &&",
            same_number("tier"),
            same_number("vrf"),
        ),
        migrations.RunSQL(BLOCK_INSIDE_PARENT, DROP_BLOCK_INSIDE_PARENT),
        never_overlap(
            "ipam_freeextent",
            "no_slot_is_free_twice",
            same_number("pool_id"),
            "int8range(first, last, '[]') WITH &&",
        ),
        never_overlap(
            "ipam_allocationhistory",
            "one_holder_of_an_address_at_a_time",
            "address inet_ops WITH &&",
            overlapping("held_from", "held_to"),
            same_number("vrf"),
        ),
        append_only("ipam_allocationhistory", except_columns=("held_to", "ended_because")),
        append_only("ipam_extraaddress", except_columns=("ended_at",)),
        migrations.RunSQL(DECIDED_ONCE, DROP_DECIDED_ONCE),
    ]
