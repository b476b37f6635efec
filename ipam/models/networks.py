"""How networks and addresses are stored, compared and told apart."""

from typing import Any

from django.db import models
from django.db.models import Func


class NetworkField(models.Field):  # type: ignore[type-arg]
    """A network such as 100.64.0.0/10, stored as PostgreSQL `cidr`, text in Python."""

    description = "A network or an address"

    def db_type(self, connection: object) -> str:
        return "cidr"


@NetworkField.register_lookup
class Covers(models.Lookup):  # type: ignore[type-arg]
    """`network__covers="100.64.0.7"`: the stored network holds that address or network."""

    lookup_name = "covers"
    operator = ">>="

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        left, left_parameters = self.process_lhs(compiler, connection)
        right, right_parameters = self.process_rhs(compiler, connection)
        return f"{left} {self.operator} {right}::inet", (*left_parameters, *right_parameters)


@NetworkField.register_lookup
class Overlaps(Covers):
    """`network__overlaps="100.64.0.0/16"`: the stored network and that one share an address."""

    lookup_name = "overlaps"
    operator = "&&"


@NetworkField.register_lookup
class Within(Covers):
    """`network__within="100.64.0.0/10"`: the stored network lies inside that one."""

    lookup_name = "within"
    operator = "<<="


class IsSingle(Func):
    """Whether a network is one IPv6 address."""

    function = "masklen"
    template = "(%(function)s(%(expressions)s) = 128)"
    output_field = models.BooleanField()
