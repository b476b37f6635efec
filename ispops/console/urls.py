"""The console's own pages: address, view and the permission that opens it, in one table."""

from typing import TYPE_CHECKING

from django.urls import URLPattern, path

from ispops.console import address_urls, guard
from ispops.console.views import (
    amend,
    bulk,
    checks,
    demand,
    disputes,
    fallout,
    filing,
    imports,
    inquiries,
    line_orders,
    lines,
    notices,
    orders,
    overallocation,
    partners,
    prepaid,
    price_drafts,
    prices,
    promises,
    purchases,
    qualify,
    rating_errors,
    register,
    reservations,
    sessions,
    simulations,
    subscribers,
    terms,
    usage_files,
    visit_days,
    visit_slots,
    visits,
    waitlist,
    webhooks,
)

if TYPE_CHECKING:
    from ispops.console.sites import ConsoleSite

SEE_SUBSCRIBERS = "parties.view_subscriber"
SET_STANDING = "parties.change_subscriber"
SEE_ORDERS = "provisioning.view_productorder"
WORK_FALLOUT = "provisioning.work_fallout"
SEE_VISITS = "provisioning.view_appointment"
CLOSE_VISITS = "provisioning.close_appointment"
SEE_SLOTS = "provisioning.view_installslot"
CHANGE_SLOTS = "provisioning.change_installslot"
SEE_SESSIONS = "provisioning.view_accesssession"
LIMIT_SYSTEMS = "provisioning.change_outsidesystem"
SEE_REQUESTS = "ipam.view_overallocationrequest"
DECIDE_REQUESTS = "ipam.change_overallocationrequest"
QUALIFY = "qualification.add_servicequalification"
HOLD_PORT = "qualification.hold_accessport"
OVERRIDE = "qualification.override_servicequalification"
SEE_FILES = "qualification.view_bulkqualification"
SEE_LISTS = "qualification.view_coverageimport"
SEE_DEMAND = "qualification.view_waitlistentry"
JOIN_WAITLIST = "qualification.add_waitlistentry"
SEE_INQUIRIES = "qualification.view_providerinquiry"
WORK_INQUIRIES = "qualification.change_providerinquiry"
SEE_CHECKS = "parties.view_subscribercheck"
DECIDE_CHECKS = "parties.decide_subscribercheck"
REGISTER = "parties.register_on_behalf"
ORDER_ON_BEHALF = "provisioning.add_productorder"
SEE_USAGE = "rating.view_usage"
SEE_CONFLICTS = "rating.view_usageconflict"
RECYCLE = "rating.change_usage"
SEE_USAGE_FILES = "rating.view_usagefile"
SEE_WEBHOOKS = "parties.view_webhookdelivery"
REPLAY = "parties.replay_webhookdelivery"
BUY_ON_BEHALF = "rating.add_purchase"
CANCEL_PURCHASES = "rating.cancel_purchase"
REFUND_CHARGES = "rating.refund_charge"
SEE_RESERVATIONS = "rating.view_reservation"
TOP_UP_PREPAID = "rating.top_up_prepaid"
RELEASE_RESERVATIONS = "rating.release_reservation"
SEE_DISPUTES = "rating.view_dispute"
ANSWER_DISPUTES = "rating.answer_dispute"
FILE_COVERAGE = "qualification.change_coveragearea"

PAGES: tuple[tuple[str, guard.View, str, str], ...] = (
    ("find/", subscribers.find, "console_search", SEE_SUBSCRIBERS),
    ("subscribers/", subscribers.listing, "console_subscribers", SEE_SUBSCRIBERS),
    ("subscribers/<str:ref>/", subscribers.page, "console_subscriber", SEE_SUBSCRIBERS),
    (
        "subscribers/<str:ref>/standing/",
        subscribers.set_standing,
        "console_set_standing",
        SET_STANDING,
    ),
    ("subscribers/<str:ref>/prepaid/", prepaid.switch, "console_set_prepaid", SET_STANDING),
    ("subscribers/<str:ref>/top-up/", prepaid.top_up, "console_top_up", TOP_UP_PREPAID),
    ("lines/<str:ref>/order/", lines.order, "console_change_line", ORDER_ON_BEHALF),
    ("lines/<str:ref>/lift/", lines.lift_slowdown, "console_lift_slowdown", ORDER_ON_BEHALF),
    ("lines/<str:ref>/check/", line_orders.check, "console_check_line", ORDER_ON_BEHALF),
    ("lines/<str:ref>/move/", line_orders.move, "console_move_line", ORDER_ON_BEHALF),
    (
        "lines/<str:ref>/choose/<str:answer_ref>/",
        line_orders.choose,
        "console_choose_for_line",
        ORDER_ON_BEHALF,
    ),
    (
        "lines/<str:ref>/preview/<str:answer_ref>/",
        line_orders.preview,
        "console_preview_line",
        ORDER_ON_BEHALF,
    ),
    ("orders/<str:ref>/amend/", amend.choose, "console_amend_order", ORDER_ON_BEHALF),
    (
        "orders/<str:ref>/amend/preview/",
        amend.preview,
        "console_preview_amendment",
        ORDER_ON_BEHALF,
    ),
    ("orders/", orders.listing, "console_orders", SEE_ORDERS),
    ("orders/list.csv", orders.as_file, "console_orders_file", SEE_ORDERS),
    ("orders/<str:ref>/", orders.page, "console_order", SEE_ORDERS),
    ("orders/<str:ref>/cancel/", orders.cancel, "console_cancel_order", WORK_FALLOUT),
    ("orders/<str:ref>/visit/", visits.book, "console_book_visit", WORK_FALLOUT),
    ("orders/<str:ref>/visit/cancel/", visits.cancel, "console_cancel_visit", WORK_FALLOUT),
    ("orders/<str:ref>/visit/waive/", visits.go_without, "console_waive_visit", WORK_FALLOUT),
    ("visits/", visit_days.listing, "console_visits", SEE_VISITS),
    ("visits/<str:ref>/done/", visit_days.done, "console_visit_done", CLOSE_VISITS),
    ("visits/<str:ref>/failed/", visit_days.failed, "console_visit_failed", CLOSE_VISITS),
    ("visits/slots/<str:ref>/", visit_slots.page, "console_slot", SEE_SLOTS),
    ("visits/slots/<str:ref>/change/", visit_slots.change, "console_change_slot", CHANGE_SLOTS),
    (
        "visits/slots/<str:ref>/withdraw/",
        visit_slots.withdraw,
        "console_withdraw_slot",
        CHANGE_SLOTS,
    ),
    (
        "orders/<str:ref>/tasks/<int:position>/retry/",
        orders.retry,
        "console_retry_task",
        WORK_FALLOUT,
    ),
    (
        "orders/<str:ref>/tasks/<int:position>/skip/",
        orders.skip,
        "console_skip_task",
        WORK_FALLOUT,
    ),
    ("partners/orders/", partners.listing, "console_partner_orders", SEE_ORDERS),
    (
        "partners/orders/<str:ref>/call/",
        partners.call_provider,
        "console_call_provider",
        WORK_FALLOUT,
    ),
    ("online/", sessions.listing, "console_online", SEE_SESSIONS),
    ("online/<int:key>/retry/", sessions.retry, "console_retry_session", WORK_FALLOUT),
    (
        "orders/<str:ref>/tasks/<int:position>/take/",
        orders.take,
        "console_take_task",
        WORK_FALLOUT,
    ),
    ("fallout/", fallout.listing, "console_fallout", SEE_ORDERS),
    ("fallout/list.csv", fallout.as_file, "console_fallout_file", SEE_ORDERS),
    ("fallout/many/", fallout.many, "console_fallout_many", WORK_FALLOUT),
    ("fallout/take-up/", fallout.take_up, "console_take_up", WORK_FALLOUT),
    ("systems/", fallout.systems, "console_systems", SEE_ORDERS),
    ("systems/<str:ref>/try/", fallout.try_now, "console_try_system", WORK_FALLOUT),
    ("systems/<str:ref>/limits/", fallout.set_limits, "console_limit_system", LIMIT_SYSTEMS),
    ("overallocation/", overallocation.queue, "console_overallocation", SEE_REQUESTS),
    (
        "overallocation/letters/",
        overallocation.letters,
        "console_request_letters",
        DECIDE_REQUESTS,
    ),
    (
        "overallocation/<str:ref>/accept/",
        overallocation.accept,
        "console_accept_request",
        DECIDE_REQUESTS,
    ),
    (
        "overallocation/<str:ref>/decline/",
        overallocation.decline,
        "console_decline_request",
        DECIDE_REQUESTS,
    ),
    ("qualify/", qualify.ask, "console_qualify", QUALIFY),
    ("qualify/files/", bulk.listing, "console_bulk", SEE_FILES),
    ("qualify/files/<str:ref>/", bulk.page, "console_bulk_file", SEE_FILES),
    ("qualify/files/<str:ref>/answers/", bulk.answers, "console_bulk_answers", SEE_FILES),
    ("qualify/files/<str:ref>/cancel/", bulk.cancel, "console_cancel_bulk", bulk.SEND),
    ("qualify/<str:ref>/", qualify.result, "console_qualification", QUALIFY),
    ("qualify/<str:ref>/asking/", inquiries.asking, "console_asking", QUALIFY),
    ("qualify/<str:ref>/order/", qualify.order, "console_place_order", ORDER_ON_BEHALF),
    ("qualify/<str:ref>/hold/", promises.hold, "console_hold_port", HOLD_PORT),
    ("qualify/<str:ref>/release/", promises.release, "console_release_hold", HOLD_PORT),
    ("qualify/<str:ref>/override/", promises.override, "console_override", OVERRIDE),
    ("qualify/<str:ref>/register/", register.new, "console_register", REGISTER),
    ("registrations/<str:ref>/", register.review, "console_registration", REGISTER),
    ("registrations/<str:ref>/change/", register.change, "console_change_registration", REGISTER),
    ("registrations/<str:ref>/place/", register.place, "console_place_registration", REGISTER),
    ("registrations/<str:ref>/give-up/", register.give_up, "console_drop_registration", REGISTER),
    ("subscribers/<str:ref>/invite/", register.invite, "console_invite", REGISTER),
    ("checks/", checks.queue, "console_checks", SEE_CHECKS),
    ("checks/<str:ref>/decide/", checks.decide, "console_decide_check", DECIDE_CHECKS),
    ("inquiries/<str:ref>/", inquiries.page, "console_inquiry", SEE_INQUIRIES),
    ("inquiries/<str:ref>/ask/", inquiries.ask_again, "console_ask_again", WORK_INQUIRIES),
    ("inquiries/<str:ref>/give-up/", inquiries.give_up, "console_give_up", WORK_INQUIRIES),
    ("texts/", notices.listing, "console_notices", notices.SEE),
    ("texts/<slug:code>/", notices.page, "console_notice", notices.SEE),
    ("texts/<slug:code>/save/", notices.save, "console_save_notice", notices.EDIT),
    ("texts/<slug:code>/preview/", notices.preview, "console_preview_notice", notices.EDIT),
    ("texts/<slug:code>/test/", notices.test, "console_test_notice", notices.EDIT),
    ("texts/<slug:code>/reset/", notices.reset, "console_reset_notice", notices.EDIT),
    ("prices/", prices.listing, "console_prices", prices.SEE),
    ("prices/<slug:code>/", prices.page, "console_offering_prices", prices.SEE),
    ("prices/<slug:code>/new/", prices.edit, "console_edit_price", prices.EDIT),
    ("prices/<slug:code>/preview/", prices.preview, "console_preview_price", prices.EDIT),
    ("prices/<slug:code>/publish/", prices.publish, "console_publish_price", prices.EDIT),
    ("prices/<slug:code>/draft/", prices.save_draft, "console_save_draft", prices.EDIT),
    ("prices/<slug:code>/term/", terms.edit_term, "console_edit_term", prices.EDIT_TERMS),
    ("price-drafts/<str:ref>/", price_drafts.page, "console_price_draft", prices.SEE),
    (
        "price-drafts/<str:ref>/publish/",
        price_drafts.publish,
        "console_publish_draft",
        prices.EDIT,
    ),
    (
        "price-drafts/<str:ref>/discard/",
        price_drafts.discard,
        "console_discard_draft",
        prices.EDIT,
    ),
    (
        "price-drafts/<str:ref>/simulate/",
        price_drafts.simulate,
        "console_simulate_draft",
        price_drafts.SIMULATE,
    ),
    ("simulations/<str:ref>/", simulations.page, "console_simulation", simulations.SEE),
    (
        "simulations/<str:ref>/accounts.csv",
        simulations.as_file,
        "console_simulation_file",
        simulations.SEE,
    ),
    (
        "simulations/<str:ref>/cancel/",
        simulations.cancel,
        "console_cancel_simulation",
        simulations.SIMULATE,
    ),
    (
        "simulations/<str:ref>/post/",
        simulations.post,
        "console_post_simulation",
        simulations.POST,
    ),
    ("taxes/", terms.taxes, "console_taxes", terms.SEE_TAXES),
    ("filing/", filing.page, "console_filing", FILE_COVERAGE),
    ("filing/download/", filing.download, "console_filing_download", FILE_COVERAGE),
    ("qualify/<str:ref>/wait/", waitlist.join, "console_join_waitlist", JOIN_WAITLIST),
    ("demand/", demand.page, "console_demand", SEE_DEMAND),
    ("demand/areas.csv", demand.as_file, "console_demand_file", SEE_DEMAND),
    ("lists/", imports.listing, "console_imports", SEE_LISTS),
    ("lists/<str:ref>/", imports.page, "console_import", SEE_LISTS),
    ("lists/<str:ref>/apply/", imports.apply, "console_apply_import", imports.DECIDE),
    ("lists/<str:ref>/discard/", imports.discard, "console_discard_import", imports.DECIDE),
    ("lists/<str:ref>/roll-back/", imports.roll_back, "console_roll_back_import", imports.DECIDE),
    ("lists/<str:ref>/file/", imports.original, "console_import_file", imports.DECIDE),
    ("lists/<str:ref>/rejected/", imports.rejects, "console_import_rejects", imports.DECIDE),
    ("lines/<str:ref>/shop/", purchases.shop, "console_shop", BUY_ON_BEHALF),
    ("lines/<str:ref>/buy/", purchases.buy, "console_buy", BUY_ON_BEHALF),
    (
        "purchases/<str:ref>/cancel/",
        purchases.cancel,
        "console_cancel_purchase",
        CANCEL_PURCHASES,
    ),
    (
        "purchases/<str:ref>/refund/",
        purchases.refund_bundle,
        "console_refund_purchase",
        REFUND_CHARGES,
    ),
    ("charges/<str:ref>/refund/", purchases.refund, "console_refund", REFUND_CHARGES),
    ("reservations/", reservations.listing, "console_reservations", SEE_RESERVATIONS),
    (
        "reservations/<str:ref>/release/",
        reservations.release,
        "console_release_reservation",
        RELEASE_RESERVATIONS,
    ),
    ("disputes/", disputes.queue, "console_disputes", SEE_DISPUTES),
    ("disputes/list.csv", disputes.as_file, "console_disputes_file", SEE_DISPUTES),
    ("disputes/<str:ref>/answer/", disputes.answer, "console_answer_dispute", ANSWER_DISPUTES),
    ("rating-errors/", rating_errors.listing, "console_rating_errors", SEE_USAGE),
    ("rating-errors/list.csv", rating_errors.as_file, "console_rating_errors_file", SEE_USAGE),
    ("rating-errors/many/", rating_errors.many, "console_recycle", RECYCLE),
    ("usage-conflicts/", rating_errors.conflicts, "console_usage_conflicts", SEE_CONFLICTS),
    ("usage-files/", usage_files.listing, "console_usage_files", SEE_USAGE_FILES),
    ("usage-files/<str:ref>/", usage_files.page, "console_usage_file", SEE_USAGE_FILES),
    (
        "usage-files/<str:ref>/rejects/",
        usage_files.rejects,
        "console_usage_file_rejects",
        SEE_USAGE_FILES,
    ),
    (
        "usage-files/<str:ref>/cancel/",
        usage_files.cancel,
        "console_cancel_usage_file",
        usage_files.SEND,
    ),
    ("webhooks/", webhooks.listing, "console_webhooks", SEE_WEBHOOKS),
    ("webhooks/replay/", webhooks.replay_span, "console_replay_span", REPLAY),
    ("webhooks/<str:ref>/", webhooks.page, "console_webhook", SEE_WEBHOOKS),
    ("webhooks/<str:ref>/replay/", webhooks.replay, "console_replay", REPLAY),
    *address_urls.PAGES,
)


def console_urls(site: "ConsoleSite") -> list[URLPattern]:
    """Return our pages; they come before the lists, and every one of them asks for its right."""
    pages = [
        path(route, site.admin_view(guard.needs(permission, view)), name=name)
        for route, view, name, permission in PAGES
    ]
    # Whoever comes to one of these from a list gets the whole page about it.
    shortcuts = [
        path(
            "parties/subscriber/<uuid:key>/change/",
            site.admin_view(subscribers.from_list),
            name="console_subscriber_from_list",
        ),
        path(
            "provisioning/productorder/<uuid:key>/change/",
            site.admin_view(orders.from_list),
            name="console_order_from_list",
        ),
        path(
            "provisioning/installslot/<uuid:key>/change/",
            site.admin_view(guard.needs(SEE_SLOTS, visit_slots.from_list)),
            name="console_slot_from_list",
        ),
        path(
            "parties/webhookdelivery/<uuid:key>/change/",
            site.admin_view(webhooks.from_list),
            name="console_webhook_from_list",
        ),
        path(
            "qualification/providerinquiry/<uuid:key>/change/",
            site.admin_view(inquiries.from_list),
            name="console_inquiry_from_list",
        ),
        *(
            path(route, site.admin_view(guard.needs(permission, view)), name=name)
            for route, view, name, permission in address_urls.SHORTCUTS
        ),
    ]
    return pages + shortcuts
