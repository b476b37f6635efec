"""What a token may be allowed to do: one scope for reading and one for writing each area."""

AREAS = {
    "qualification": "service qualifications",
    "registration": "registrations and accounts",
    "orders": "product orders",
    "service_orders": "service orders",
    "webhooks": "webhook deliveries",
    "purchases": "purchases",
    "usage": "usage",
    "ipam": "address pools",
    "settlement": "settlement shares and statements",
}

API_SCOPES: dict[str, str] = {
    f"{area}:{mode}": f"{verb} {words}"
    for area, words in AREAS.items()
    for mode, verb in (("read", "See"), ("write", "Send and change"))
}
"""Each scope with its meaning, as the consent page and the documentation show it."""
