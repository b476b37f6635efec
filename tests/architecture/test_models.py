"""What must be true of every table."""

from __future__ import annotations

from django.apps import apps
from django.db import models

from tests.architecture import rooms

STAGES = (
    {"ispops": 0}
    | {app.rpartition(".")[2]: room.stage for app, room in rooms.ROOMS.items()}
    | {app.rpartition(".")[2]: stage for app, stage in rooms.FACES.items()}
)
"""Stage of each of our apps by its label; apps of others are below all of them."""


def our_models() -> list[type[models.Model]]:
    found = [model for model in apps.get_models() if model._meta.app_label in STAGES]
    assert len(found) > 20
    return found


def test_keys_point_to_earlier_stages() -> None:
    wrong = []
    for model in our_models():
        own = model._meta.app_label
        for field in model._meta.get_fields():
            if field.auto_created or not isinstance(field.related_model, type):
                continue
            other = field.related_model._meta.app_label
            later = STAGES.get(other, -1) > STAGES[own]
            sibling = other != own and STAGES.get(other, -1) == STAGES[own]
            if later or sibling:
                wrong.append(f"{model._meta.label}.{field.name} -> {other}")
    assert wrong == []


def test_the_walk_sees_keys_at_all() -> None:
    """The test above would also pass if it looked at nothing."""
    keys = [
        field
        for model in our_models()
        for field in model._meta.get_fields()
        if isinstance(field, models.ForeignKey)
    ]
    assert len(keys) > 30


def test_nothing_is_kept_as_a_binary_fraction() -> None:
    fractions = [
        str(field)
        for model in our_models()
        for field in model._meta.get_fields()
        if isinstance(field, models.FloatField)
    ]
    assert fractions == []


def test_every_model_names_the_thing_in_the_real_world() -> None:
    silent = [
        model._meta.label
        for model in our_models()
        if not (model.__doc__ or "").strip() or (model.__doc__ or "").startswith(model.__name__)
    ]
    assert silent == []


def test_instants_and_days_are_told_apart_by_name() -> None:
    """`*_at`, `*_from`, `*_to`, `*_until`, `*_start` and `*_end` are instants, `*_date` days."""
    instants = ("_at", "_from", "_to", "_until", "_start", "_end", "_by", "at")
    wrong = []
    for model in our_models():
        for field in model._meta.get_fields():
            if isinstance(field, models.DateTimeField):
                good = field.name.endswith(instants) or field.name in {"date_joined", "last_login"}
            elif isinstance(field, models.DateField):
                good = field.name.endswith("_date")
            else:
                continue
            if not good:
                wrong.append(str(field))
    assert wrong == []
