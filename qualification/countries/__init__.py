"""The country whose addresses this ISP serves: one module a country, chosen by a setting.

Another country is another module with the functions of `AddressFormat`; the verbs know only those.
"""

from functools import lru_cache
from importlib import import_module
from typing import cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from qualification.addresses import AddressFormat
from qualification.countries import us

_OURS: dict[str, AddressFormat] = {"us": us}


def here() -> AddressFormat:
    """Return the format that ADDRESS_COUNTRY names: one of ours, or a module of the operator's.

    Raises:
        ImproperlyConfigured: there is no such country and no such module.
    """
    return _named(settings.ADDRESS_COUNTRY)


@lru_cache
def _named(name: str) -> AddressFormat:
    if name in _OURS:
        return _OURS[name]
    try:
        return cast(AddressFormat, import_module(name))
    except ImportError as error:
        known = ", ".join(_OURS)
        raise ImproperlyConfigured(
            f"ADDRESS_COUNTRY is {name!r}. Use one of {known}, or the name of a module."
        ) from error
