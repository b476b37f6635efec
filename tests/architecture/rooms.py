"""The register of rooms: which file of an app does what. A new file is entered here first.

The tests of this folder hold each file to its kind: a pure module knows no Django, no clock and no
outside; only a verb writes rows; and only an interface file may be missing from the register.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent

INTERFACE = {"__init__", "admin", "api", "apps", "handlers", "models", "queries", "tasks", "urls"}
"""Files that every app may have, with the same name and the same duty."""


@dataclass(frozen=True)
class Room:
    """An app. `reads` are reading modules that one queries.py could not hold; `web` speaks HTTP."""

    stage: int
    pure: frozenset[str] = frozenset()
    verbs: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()
    web: frozenset[str] = frozenset()

    @property
    def files(self) -> set[str]:
        return INTERFACE | self.pure | self.verbs | self.reads | self.web


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


ROOMS = {
    "ispops.parties": Room(
        stage=1,
        pure=_names("scopes"),
        verbs=_names(
            "accounts audit check_asking checks invitations outbox own_limits partners payments "
            "programs roles terms webhooks"
        ),
        reads=_names("people"),
        web=_names(
            "adapter admin_accounts destinations docs limits payment_hooks problems rest schema "
            "webhook_api"
        ),
    ),
    "ispops.notices": Room(
        stage=2,
        pure=_names("catalogue kinds sms"),
        verbs=_names("contacts delivery editing notify plain_letters"),
        reads=_names("wording"),
        web=_names("adapter reports"),
    ),
    "ispops.catalog": Room(
        stage=2,
        pure=_names("labels price_checks"),
        verbs=_names("drafts effective fair_use labelling publishing"),
        reads=_names("catalogue labelled prices"),
    ),
    "qualification": Room(
        stage=3,
        pure=_names(
            "addresses availability cells coverage_rows eligibility place_rows row_values sheets"
        ),
        verbs=_names(
            "asking bulk_qualify collecting connections coverage coverage_lists filing import_work "
            "imports inquiries letters lists locating overriding place_lists ports qualify reach "
            "settling waitlist"
        ),
        reads=_names("demand estimates gazetteer judging previews together"),
        web=_names("bulk_api waitlist_api"),
    ),
    "ipam": Room(
        stage=3,
        pure=_names("carving forecast notice_kinds plan_rows selection transitions"),
        verbs=_names(
            "address_servers allocation allowance answers asking block_imports block_steps "
            "blocks csr_letters disclosure extents growing importing kea_servers leases observed "
            "overallocation policies reclaiming renumbering returning sampling server_calls "
            "serving sessions statements static_addresses static_moves stepping tree"
        ),
        reads=_names("grounds groups helping history live space"),
        web=_names("server_login"),
    ),
    "provisioning": Room(
        stage=4,
        pure=_names("causes following in_force notice_kinds pacing plan radius transitions"),
        verbs=_names(
            "access_calls accounting accounting_parts amending boosts changing checking control "
            "deliveries delivering delivery_connections dhcp_servers dhcp_telling equipment "
            "execution expectations fallout further_devices hearing inbox jeopardy later_orders "
            "lease_following moving orders outside partner_news partner_orders placing profiles "
            "progress radius_setup registrations reminders reservations services session_addresses "
            "sessions slowing statements steering steps suspending telling upkeep visit_following "
            "visit_results visit_slots visits waiting"
        ),
        reads=_names(
            "admission composing duplicates held outcomes sign_of_life visit_days visiting worklist"
        ),
        web=_names(
            "aaa aaa_urls addresses_api control_admin delivery_admin dhcp_admin equipment_admin "
            "later_api "
            "listener listener_urls product_orders_api registration_api visit_admin visits_api"
        ),
    ),
    "rating": Room(
        stage=5,
        pure=_names(
            "allowances amounts bands differences examples guarantees ipdr kernel metering "
            "network_records notice_kinds pricing sharing spans thresholds usage_events "
            "usage_forecast usage_ids usage_lines usage_prices usage_words versions"
        ),
        verbs=_names(
            "billing by_meter cancelling charge_months charges closing consents culprits disputes "
            "engine holding intake interims lanes ledger metered months network_files packs "
            "partitions parts posting "
            "prepaid probing purchases refunds rerating reservations retrying sessions "
            "settlement simulations standing stepping storing taking telling topping_up usage "
            "usage_files watching"
        ),
        reads=_names(
            "accrual balances books carriage charged claim_queries claims goods guiding had_since "
            "held late_use line_choices meter_reading meters never_came offers outlook past_use "
            "recent_use reported reports rules simulated spending standings tariff trials "
            "tried_use used"
        ),
        web=_names(
            "account_api balances_api claims_api consents_api usage_files_api usage_parsers "
            "usage_stream"
        ),
    ),
}
SHARED_PURE = {
    "ispops.breaker",
    "ispops.errors",
    "ispops.masking",
    "ispops.periods",
    "ispops.console.charts",
    "ispops.console.graph",
    "ispops.console.heatmap",
    "ispops.console.hexmap",
    "ispops.console.tones",
    "provisioning.network.templates",
    "qualification.countries.us",
}
ADAPTERS = {
    f"qualification.providers.{name}"
    for name in ("base", "files", "registry", "tmf645", "transport")
} | {
    f"ispops.parties.gateways.{name}"
    for name in ("base", "check_registry", "checks", "http_check", "offline", "registry", "stripe")
}
ADAPTERS |= {
    "provisioning.network.coa",
    "provisioning.network.genieacs",
    "provisioning.network.kea",
}
ADAPTERS |= {
    f"ipam.servers.{name}"
    for name in ("base", "freeradius", "kea", "kea_backend", "kea_control", "kea_files", "registry",
                 "tailing")
}  # fmt: skip
ADAPTERS |= {f"ispops.notices.gateways.{name}" for name in ("base", "files", "http", "mail")}
ADAPTERS |= {f"provisioning.delivery.{name}" for name in ("base", "tmf641")}
"""They speak to the outside, write no rows, and are typed as closely as the verbs."""
SHARED_VERBS = {
    "ispops.binary",
    "ispops.bulk",
    "ispops.events",
    "ispops.filework",
    "ispops.gates",
    "ispops.health",
    "ispops.jobs",
}
FACES = {"ispops.portal": 6, "ispops.console": 6}


def path_of(module: str) -> Path:
    return REPOSITORY / f"{module.replace('.', '/')}.py"


def modules(kind: str) -> set[str]:
    """The full names of all pure modules, or of all verbs."""
    shared = {"pure": SHARED_PURE, "verbs": SHARED_VERBS}[kind]
    return shared | {f"{app}.{name}" for app, room in ROOMS.items() for name in getattr(room, kind)}


def sources() -> list[Path]:
    """Every Python file of the product."""
    found = [
        path
        for top in ("ispops", "qualification", "ipam", "provisioning", "rating")
        for path in (REPOSITORY / top).rglob("*.py")
        if "migrations" not in path.parts
    ]
    assert len(found) > 50
    return sorted(found)


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
