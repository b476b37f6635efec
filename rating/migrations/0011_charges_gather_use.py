"""A charge for use is the sum of steps of a counter; the database checks it."""

from django.db import migrations, models
from django.db.models import F, Q

# A charge for use is the sum of the steps that it gathers.
CHARGE_GATHERS = """
CREATE FUNCTION rating_charge_gathers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM rating_ratedusage step
         WHERE step.service_id = NEW.service_id AND step.price_id = NEW.price_id
           AND step.period_start = NEW.period_start
           AND step.step > NEW.step_before AND step.step <= NEW.step_after
           AND step.offering_id = NEW.offering_id
           AND (step.bsp_id, step.network_provider_id)
               IS NOT DISTINCT FROM (NEW.bsp_id, NEW.network_provider_id)
        HAVING (LEAST(sum(step.quantity), 100000000000000000), sum(step.amount_net), sum(step.amount_tax),
                sum(step.isp_share), sum(step.bsp_share), sum(step.network_provider_share))
             = (NEW.quantity, NEW.amount_net, NEW.amount_tax,
                NEW.isp_share, NEW.bsp_share, NEW.network_provider_share)
    ) THEN
        RAISE EXCEPTION 'charge % is not the sum of the use that it gathers', NEW.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER charge_gathers AFTER INSERT ON rating_charge
    FOR EACH ROW WHEN (NEW.step_after IS NOT NULL) EXECUTE FUNCTION rating_charge_gathers();
"""


class Migration(migrations.Migration):
    dependencies = [("rating", "0010_keep_old_usage")]

    operations = [
        migrations.AddConstraint(
            "charge",
            models.CheckConstraint(
                condition=Q(step_after__isnull=True, step_before__isnull=True)
                | Q(
                    price__isnull=False,
                    service__isnull=False,
                    step_after__gt=F("step_before"),
                    step_before__isnull=False,
                ),
                name="a_charge_that_gathers_says_what",
            ),
        ),
        migrations.RunSQL(CHARGE_GATHERS, "DROP FUNCTION rating_charge_gathers() CASCADE"),
    ]
