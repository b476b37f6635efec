"""A region may be cut from a region, and blocks that are cut from one block never overlap.

With roots that never overlap and children inside their parents, two blocks of a VRF share addresses
only where one is cut from the other. That is more than was kept before, when a pool that was cut
from an allocation could lie across a region of it.
"""

from django.db import migrations

from ispops.db import same_number

TIERS = """
ALTER TABLE ipam_block DROP CONSTRAINT blocks_of_a_tier_never_overlap;
ALTER TABLE ipam_block ADD CONSTRAINT blocks_of_a_tier_never_overlap EXCLUDE USING gist
    (network inet_ops WITH &&, {tier}, {vrf}) {where};
"""
SIBLINGS = """
ALTER TABLE ipam_block ADD CONSTRAINT blocks_of_a_parent_never_overlap EXCLUDE USING gist
    (network inet_ops WITH &&, {parent}) WHERE (parent_id IS NOT NULL);
"""
INSIDE_PARENT = """
CREATE OR REPLACE FUNCTION ipam_block_inside_parent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.vrf, NEW.tier, NEW.network, NEW.parent_id)
            IS DISTINCT FROM (OLD.vrf, OLD.tier, OLD.network, OLD.parent_id) THEN
            RAISE EXCEPTION 'block % cannot be moved or resized', OLD.network
                USING ERRCODE = 'restrict_violation';
        END IF;
    ELSIF NEW.parent_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM ipam_block parent WHERE parent.id = NEW.parent_id
        AND parent.vrf = NEW.vrf AND ({tiers}) AND parent.network >>= NEW.network
    ) THEN
        RAISE EXCEPTION 'block % is not inside its parent', NEW.network
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
"""
LOWER = "parent.tier < NEW.tier"
LOWER_OR_REGIONS = f"{LOWER} OR (parent.tier = 1 AND NEW.tier = 1)"


def tiers(where: str) -> str:
    return TIERS.format(tier=same_number("tier"), vrf=same_number("vrf"), where=where)


class Migration(migrations.Migration):
    dependencies = [("ipam", "0002_guards")]

    operations = [
        migrations.RunSQL(tiers("WHERE (tier <> 1)"), tiers("")),
        migrations.RunSQL(
            SIBLINGS.format(parent=same_number("parent_id")),
            "ALTER TABLE ipam_block DROP CONSTRAINT blocks_of_a_parent_never_overlap",
        ),
        migrations.RunSQL(
            INSIDE_PARENT.format(tiers=LOWER_OR_REGIONS),
            INSIDE_PARENT.format(tiers=LOWER),
        ),
    ]
