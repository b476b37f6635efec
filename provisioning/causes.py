"""Why a step needs a person, in plain words, and what the person can do. Pure.

A step in the fallout queue carries a cause: the code of the refusal that stopped it, or one of
those that only execution gives. What is not listed here is shown with its code, and `OTHER` says
what to do.
"""

from dataclasses import dataclass

OURS, PARTNER, NETWORK = "Our records", "Partner", "Access network"


@dataclass(frozen=True, slots=True)
class Cause:
    """What happened, where, and what to do."""

    where: str
    words: str
    to_do: str


CATALOGUE: dict[str, Cause] = {
    "gave_up": Cause(
        OURS,
        "It failed each time it was tried",
        "Read what was said last. When the system works again, retry all with this cause.",
    ),
    "not_possible": Cause(
        OURS,
        "The system that was asked refused",
        "Read its answer, correct what it names, then retry.",
    ),
    "internal_error": Cause(
        OURS,
        "A fault of this software",
        "Give the order's number to whoever looks after it. Retry after it was mended.",
    ),
    "server_takes_no_changes": Cause(
        NETWORK,
        "A live session is on an access server that takes no changes",
        "The session runs on until it ends. Set how the server takes changes and retry, or skip "
        "the step.",
    ),
    "refused": Cause(
        NETWORK,
        "The access server refused to change a live session, and to end it",
        "Read what it said on the subscriber's page, end the session on the server, then retry.",
    ),
    "no_answer": Cause(
        NETWORK,
        "The access server did not answer about a live session",
        "See that it is up, and that the secret is the same on both sides. Then retry.",
    ),
    "dhcp_device_unknown": Cause(
        NETWORK,
        "Nothing says by what the DHCP server would tell the line's device",
        "Name the device in the list of DHCP reservations, by its hardware address or circuit, "
        "then retry.",
    ),
    "dhcp_no_address": Cause(
        NETWORK,
        "The DHCP server has no address left for the line, or its plan includes none",
        "Read the reason; add a block to the server's pools or correct the plan, then retry.",
    ),
    "dhcp_reserved_by_others": Cause(
        NETWORK,
        "The DHCP server has reserved the device or the address for somebody else",
        "Somebody wrote to the server by hand: remove that reservation there, then retry.",
    ),
    "dhcp_database_unusable": Cause(
        NETWORK,
        "The database of the DHCP server does not take reservations",
        "See that it has Kea's tables and that our role may write its hosts, then retry.",
    ),
    "equipment_unknown": Cause(
        NETWORK,
        "The ACS knows no device, or several, with the serial number of the line's equipment",
        "Compare the label with what is noted, and see that the device has been online once. Then "
        "retry, or skip the step.",
    ),
    "equipment_refused": Cause(
        NETWORK,
        "The line's equipment refused what it was told",
        "Correct the paths of its model under Equipment models, then retry.",
    ),
    "acs_refused": Cause(
        NETWORK,
        "The ACS does not take our calls",
        "See that ACS_URL and ACS_TOKEN are right, then retry.",
    ),
    "partner_refused": Cause(
        PARTNER,
        "The partner said that it cannot deliver",
        "Read its reason and settle it with the partner; retry asks it anew. Skip what is to be "
        "left out, or cancel the order.",
    ),
    "partner_timed_out": Cause(
        PARTNER,
        "The partner did not answer in time",
        "See that the partner receives webhooks and works, then retry: it is asked anew.",
    ),
    "partner_order_withdrawn": Cause(
        PARTNER,
        "What was asked of the partner was taken back",
        "Retry when it is still wanted; skip it when not.",
    ),
    "partner_not_active": Cause(
        PARTNER,
        "The partner delivers nothing at the moment",
        "Make the partner active again and retry, or skip what it would deliver.",
    ),
    "no_free_port": Cause(
        NETWORK,
        "The access node has no free port",
        "Free or add a port at the node, then retry.",
    ),
    "check_refused": Cause(
        OURS,
        "Whoever looked into the subscriber said no",
        "Read why, and speak with the subscriber, who was told to call. Retry, and staff decide "
        "anew; or cancel the order.",
    ),
    "no_free_visit": Cause(
        OURS,
        "All visits of technicians in the area are taken",
        "Add visits to the area's calendar and retry. Or arrange one by telephone, and skip it "
        "when the technician was there.",
    ),
    "address_pool_exhausted": Cause(
        NETWORK,
        "The address pool is used up",
        "Add a block to the pool, then retry.",
    ),
    "service_ended": Cause(
        OURS,
        "The line has ended meanwhile",
        "See what happened to the line; cancel the order when it no longer fits.",
    ),
    "invalid_input": Cause(
        OURS,
        "A value of the order cannot be used",
        "Read which one, correct it, then retry.",
    ),
    "illegal_transition": Cause(
        OURS,
        "The service is in a state that does not allow it",
        "See what happened to the service meanwhile; cancel the order when it no longer fits.",
    ),
}  # fmt: skip

OTHER = Cause(OURS, "", "Read what was said, settle it, then retry.")


def of(code: str) -> Cause:
    """Return what is known of a cause; of an unknown one, its code in words."""
    known = CATALOGUE.get(code)
    if known is not None:
        return known
    return Cause(OTHER.where, code.replace("_", " ").capitalize(), OTHER.to_do)
