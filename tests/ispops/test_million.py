"""The places that benches make up are such as a location list would have brought."""

import h3
import pytest

from ispops.benches import million
from qualification import countries, qualify
from qualification.models import Premises
from tests.small_isp import LAUNCH


@pytest.mark.django_db
def test_made_up_places_are_found_as_real_ones_are() -> None:
    million.load(4_200, at=LAUNCH)
    made = Premises.objects.filter(location_id__startswith="1")
    assert Premises.objects.count() == 4_200
    assert made.count() == 350
    for place in made:
        form = countries.here().from_fields(
            street=place.street,
            unit=place.unit,
            city=place.city,
            region=place.region,
            postal_code=place.postal_code,
        )
        assert (form.match_key, form.unit) == (place.match_key, place.unit)
        assert h3.latlng_to_cell(float(place.latitude), float(place.longitude), 8) == place.h3_res8
    assert Premises.objects.filter(coverage__isnull=False, location_id__endswith="7").exists()
    some = million.some(35)
    assert len(some) == 35
    answer = qualify.qualify_address(text=str(some[3]), channel="csr", at=LAUNCH)
    assert answer.premises == some[3]
