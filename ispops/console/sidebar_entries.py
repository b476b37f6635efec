"""What the sidebar of the console leads to, in the order of work."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the sidebar, shown to whoever has the permission."""

    title: str
    icon: str
    address: str
    permission: str = ""
    # The key of the queue whose count is the badge.
    queue: str = ""
    query: str = ""


WANTED = "ipam.view_blockrequest"
GROUPS: tuple[tuple[str, tuple[Entry, ...]], ...] = (
    (
        "",
        (
            Entry("Today", "home", "admin:index"),
            Entry("Subscribers", "group", "admin:console_subscribers", "parties.view_subscriber"),
            Entry(
                "Qualify an address",
                "add_location_alt",
                "admin:console_qualify",
                "qualification.add_servicequalification",
            ),
        ),
    ),
    (
        "Queues",
        (
            Entry(
                "Orders",
                "assignment",
                "admin:console_orders",
                "provisioning.view_productorder",
                "orders",
                "state=open",
            ),
            Entry(
                "Fallout",
                "report",
                "admin:console_fallout",
                "provisioning.view_productorder",
                "fallout",
            ),
            Entry(
                "Partners at work",
                "engineering",
                "admin:console_partner_orders",
                "provisioning.view_productorder",
                "late_partners",
            ),
            Entry(
                "Outside systems",
                "electrical_services",
                "admin:console_systems",
                "provisioning.view_productorder",
                "systems",
            ),
            Entry(
                "Visits of the day",
                "home_repair_service",
                "admin:console_visits",
                "provisioning.view_appointment",
                "visits",
            ),
            Entry(
                "Checks",
                "verified_user",
                "admin:console_checks",
                "parties.view_subscribercheck",
                "checks",
            ),
            Entry(
                "Address requests",
                "lan",
                "admin:console_overallocation",
                "ipam.view_overallocationrequest",
                "requests",
            ),
            Entry("Further blocks", "add_circle", "admin:console_block_requests", WANTED, "blocks"),
            Entry(
                "Network inquiries",
                "contact_support",
                "admin:qualification_providerinquiry_changelist",
                "qualification.view_providerinquiry",
            ),
            Entry(
                "Unreadable accounting",
                "quick_reference_all",
                "admin:provisioning_accountinginbox_changelist",
                "provisioning.view_accountinginbox",
                "accounting",
                "fault__isempty=0",
            ),
            Entry(
                "Rating errors",
                "rule",
                "admin:console_rating_errors",
                "rating.view_usage",
                "usage",
            ),
            Entry("Disputes", "gavel", "admin:console_disputes", "rating.view_dispute", "disputes"),
            Entry(
                "Webhooks",
                "webhook",
                "admin:console_webhooks",
                "parties.view_webhookdelivery",
                "webhooks",
                "state=parked",
            ),
            Entry(
                "Notices",
                "mail",
                "admin:notices_notice_changelist",
                "notices.view_notice",
                "notices",
                "state__exact=parked",
            ),
            Entry(
                "Events",
                "bolt",
                "admin:ispops_eventdelivery_changelist",
                "ispops.view_eventdelivery",
                "events",
                "delivered_at__isempty=1&next_attempt_at__isempty=1",
            ),
        ),
    ),
    (
        "Services",
        (
            Entry(
                "Lines and services",
                "cable",
                "admin:provisioning_service_changelist",
                "provisioning.view_service",
            ),
            Entry(
                "Partner orders",
                "handshake",
                "admin:provisioning_serviceorder_changelist",
                "provisioning.view_serviceorder",
            ),
            Entry(
                "Install visits",
                "calendar_month",
                "admin:provisioning_installslot_changelist",
                "provisioning.view_installslot",
            ),
            Entry(
                "Online now",
                "wifi",
                "admin:console_online",
                "provisioning.view_accesssession",
                "sessions",
            ),
            Entry(
                "Metered sessions",
                "sensors",
                "admin:rating_meteredsession_changelist",
                "rating.view_meteredsession",
            ),
            Entry("Address blocks", "account_tree", "admin:console_addresses", "ipam.view_block"),
            Entry("Address pools", "hub", "admin:ipam_pool_changelist", "ipam.view_pool"),
            Entry(
                "Address history",
                "history",
                "admin:console_history",
                "ipam.view_allocationhistory",
            ),
        ),
    ),
    (
        "Purchases and usage",
        (
            Entry(
                "Purchases",
                "shopping_bag",
                "admin:rating_purchase_changelist",
                "rating.view_purchase",
            ),
            Entry(
                "Partners' requests",
                "contact_support",
                "admin:rating_purchaserequest_changelist",
                "rating.view_purchaserequest",
            ),
            Entry(
                "Reservations",
                "lock_clock",
                "admin:console_reservations",
                "rating.view_reservation",
            ),
            Entry("Usage", "data_usage", "admin:rating_usage_changelist", "rating.view_usage"),
            Entry(
                "Files of usage",
                "upload_file",
                "admin:console_usage_files",
                "rating.view_usagefile",
            ),
            Entry("Charges", "payments", "admin:rating_charge_changelist", "rating.view_charge"),
        ),
    ),
    (
        "Billing and settlement",
        (
            Entry(
                "Bills",
                "receipt_long",
                "admin:rating_customerbill_changelist",
                "rating.view_customerbill",
            ),
            Entry(
                "Ledger",
                "account_balance",
                "admin:rating_ledgertransaction_changelist",
                "rating.view_ledgertransaction",
            ),
            Entry(
                "Partner statements",
                "request_quote",
                "admin:rating_settlementstatement_changelist",
                "rating.view_settlementstatement",
            ),
        ),
    ),
    (
        "What we sell, and where",
        (
            Entry(
                "Offerings",
                "sell",
                "admin:catalog_productoffering_changelist",
                "catalog.view_productoffering",
            ),
            Entry(
                "Prices",
                "price_change",
                "admin:console_prices",
                "catalog.view_offeringprice",
            ),
            Entry(
                "Broadband labels",
                "receipt",
                "admin:catalog_broadbandlabel_changelist",
                "catalog.view_broadbandlabel",
            ),
            Entry(
                "Coverage",
                "map",
                "admin:qualification_coveragearea_changelist",
                "qualification.view_coveragearea",
            ),
            Entry(
                "Coverage lists",
                "upload_file",
                "admin:console_imports",
                "qualification.view_coverageimport",
                "lists",
            ),
            Entry(
                "Availability filing",
                "summarize",
                "admin:console_filing",
                "qualification.change_coveragearea",
            ),
            Entry(
                "Premises",
                "home_pin",
                "admin:qualification_premises_changelist",
                "qualification.view_premises",
            ),
            Entry(
                "Demand",
                "hexagon",
                "admin:console_demand",
                "qualification.view_waitlistentry",
            ),
            Entry(
                "Networks we ask",
                "cell_tower",
                "admin:qualification_providerconnection_changelist",
                "qualification.view_providerconnection",
                "networks",
            ),
            Entry(
                "Networks we order from",
                "cable",
                "admin:provisioning_deliveryconnection_changelist",
                "provisioning.view_deliveryconnection",
                "ordering",
            ),
            Entry(
                "Equipment models",
                "router",
                "admin:provisioning_equipmentmodel_changelist",
                "provisioning.view_equipmentmodel",
            ),
            Entry(
                "Equipment",
                "settings_remote",
                "admin:provisioning_subscriberequipment_changelist",
                "provisioning.view_subscriberequipment",
            ),
            Entry(
                "DHCP servers",
                "dns",
                "admin:provisioning_dhcpserver_changelist",
                "provisioning.view_dhcpserver",
            ),
            Entry("Kea servers", "dns", "admin:ipam_keaserver_changelist", "ipam.view_keaserver"),
            Entry(
                "Refused devices",
                "block",
                "admin:ipam_refuseddevice_changelist",
                "ipam.view_refuseddevice",
            ),
            Entry(
                "DHCP reservations",
                "lan",
                "admin:provisioning_dhcpreservation_changelist",
                "provisioning.view_dhcpreservation",
            ),
            Entry(
                "Waitlist",
                "hourglass_top",
                "admin:qualification_waitlistentry_changelist",
                "qualification.view_waitlistentry",
            ),
        ),
    ),
    (
        "House",
        (
            Entry(
                "Partners",
                "diversity_3",
                "admin:parties_partner_changelist",
                "parties.view_partner",
            ),
            Entry(
                "Terms of service",
                "gavel",
                "admin:parties_termsversion_changelist",
                "parties.view_termsversion",
            ),
            Entry(
                "Notice texts",
                "edit_note",
                "admin:console_notices",
                "notices.view_noticetemplate",
            ),
            Entry("Logins", "badge", "admin:parties_user_changelist", "parties.view_user"),
            Entry(
                "Audit trail",
                "fact_check",
                "admin:parties_auditentry_changelist",
                "parties.view_auditentry",
            ),
        ),
    ),
)
