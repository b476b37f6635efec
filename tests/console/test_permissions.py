"""Who may open what: every page of the console, for every role, a subscriber and a stranger."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from ispops.console import urls
from ispops.parties import roles
from ispops.parties.models import AuditEntry, User
from tests.console.conftest import World

CSRS = {roles.CSR, roles.CSR_LEAD}
EVERY_DESK = {*CSRS, roles.OPERATIONS, roles.FINANCE}
# Technicians see visits and nothing else.
WHOLE_STAFF = set(roles.STAFF_ROLES) - {roles.TECHNICIAN}
NETWORK_DESK = {*CSRS, roles.OPERATIONS}
ON_THE_ROAD = {*NETWORK_DESK, roles.TECHNICIAN}
MAY_OPEN = {
    "console_search": EVERY_DESK,
    "console_online": NETWORK_DESK,
    "console_retry_session": NETWORK_DESK,
    "console_subscribers": EVERY_DESK,
    "console_subscriber": EVERY_DESK,
    "console_set_standing": CSRS,
    "console_set_prepaid": CSRS,
    "console_top_up": {*CSRS, roles.FINANCE},
    "console_orders": WHOLE_STAFF,
    "console_order": WHOLE_STAFF,
    "console_cancel_order": NETWORK_DESK,
    "console_book_visit": NETWORK_DESK,
    "console_cancel_visit": NETWORK_DESK,
    "console_waive_visit": NETWORK_DESK,
    "console_visits": ON_THE_ROAD,
    "console_visit_done": ON_THE_ROAD,
    "console_visit_failed": ON_THE_ROAD,
    "console_slot": ON_THE_ROAD,
    "console_change_slot": {roles.OPERATIONS},
    "console_withdraw_slot": {roles.OPERATIONS},
    "console_retry_task": NETWORK_DESK,
    "console_skip_task": NETWORK_DESK,
    "console_fallout": WHOLE_STAFF,
    "console_change_line": NETWORK_DESK,
    "console_lift_slowdown": NETWORK_DESK,
    "console_check_line": NETWORK_DESK,
    "console_move_line": NETWORK_DESK,
    "console_choose_for_line": NETWORK_DESK,
    "console_preview_line": NETWORK_DESK,
    "console_amend_order": NETWORK_DESK,
    "console_preview_amendment": NETWORK_DESK,
    "console_orders_file": WHOLE_STAFF,
    "console_fallout_file": WHOLE_STAFF,
    "console_fallout_many": NETWORK_DESK,
    "console_take_task": NETWORK_DESK,
    "console_take_up": NETWORK_DESK,
    "console_systems": WHOLE_STAFF,
    "console_try_system": NETWORK_DESK,
    "console_limit_system": {roles.OPERATIONS},
    "console_partner_orders": WHOLE_STAFF,
    "console_webhooks": NETWORK_DESK,
    "console_webhook": NETWORK_DESK,
    "console_replay_span": {roles.OPERATIONS},
    "console_call_provider": NETWORK_DESK,
    "console_overallocation": NETWORK_DESK,
    "console_accept_request": NETWORK_DESK,
    "console_request_letters": NETWORK_DESK,
    "console_decline_request": NETWORK_DESK,
    "console_qualify": {*NETWORK_DESK, roles.CATALOGUE_MANAGER},
    "console_qualification": {*NETWORK_DESK, roles.CATALOGUE_MANAGER},
    "console_asking": {*NETWORK_DESK, roles.CATALOGUE_MANAGER},
    "console_inquiry": {*NETWORK_DESK, roles.CATALOGUE_MANAGER},
    "console_ask_again": NETWORK_DESK,
    "console_give_up": NETWORK_DESK,
    "console_place_order": NETWORK_DESK,
    "console_checks": CSRS,
    "console_decide_check": CSRS,
    "console_register": CSRS,
    "console_registration": CSRS,
    "console_change_registration": CSRS,
    "console_place_registration": CSRS,
    "console_drop_registration": CSRS,
    "console_invite": CSRS,
    "console_join_waitlist": NETWORK_DESK,
    "console_demand": {*NETWORK_DESK, roles.CATALOGUE_MANAGER},
    "console_demand_file": {*NETWORK_DESK, roles.CATALOGUE_MANAGER},
    "console_hold_port": NETWORK_DESK,
    "console_release_hold": NETWORK_DESK,
    "console_override": {roles.CSR_LEAD, roles.OPERATIONS},
    "console_bulk": {*NETWORK_DESK, roles.CATALOGUE_MANAGER},
    "console_bulk_file": {*NETWORK_DESK, roles.CATALOGUE_MANAGER},
    "console_bulk_answers": {*NETWORK_DESK, roles.CATALOGUE_MANAGER},
    "console_cancel_bulk": NETWORK_DESK,
    "console_imports": {*NETWORK_DESK, roles.CATALOGUE_MANAGER},
    "console_import": {*NETWORK_DESK, roles.CATALOGUE_MANAGER},
    "console_apply_import": {roles.OPERATIONS},
    "console_discard_import": {roles.OPERATIONS},
    "console_roll_back_import": {roles.OPERATIONS},
    "console_import_file": {roles.OPERATIONS},
    "console_import_rejects": {roles.OPERATIONS},
    "console_rating_errors": EVERY_DESK,
    "console_rating_errors_file": EVERY_DESK,
    "console_recycle": {roles.OPERATIONS, roles.FINANCE},
    "console_usage_conflicts": EVERY_DESK,
    "console_usage_files": EVERY_DESK,
    "console_usage_file": EVERY_DESK,
    "console_usage_file_rejects": EVERY_DESK,
    "console_cancel_usage_file": {roles.OPERATIONS, roles.FINANCE},
    "console_replay": {roles.OPERATIONS},
    "console_notices": {*NETWORK_DESK, roles.CATALOGUE_MANAGER},
    "console_notice": {*NETWORK_DESK, roles.CATALOGUE_MANAGER},
    "console_save_notice": {roles.OPERATIONS, roles.CATALOGUE_MANAGER},
    "console_preview_notice": {roles.OPERATIONS, roles.CATALOGUE_MANAGER},
    "console_test_notice": {roles.OPERATIONS, roles.CATALOGUE_MANAGER},
    "console_reset_notice": {roles.OPERATIONS, roles.CATALOGUE_MANAGER},
    "console_shop": {*CSRS, roles.FINANCE},
    "console_buy": {*CSRS, roles.FINANCE},
    "console_cancel_purchase": CSRS,
    "console_refund": {*CSRS, roles.FINANCE},
    "console_refund_purchase": {*CSRS, roles.FINANCE},
    "console_reservations": {*CSRS, roles.FINANCE},
    "console_release_reservation": CSRS,
    "console_disputes": {*CSRS, roles.FINANCE},
    "console_disputes_file": {*CSRS, roles.FINANCE},
    "console_answer_dispute": {*CSRS, roles.FINANCE},
    "console_prices": WHOLE_STAFF,
    "console_offering_prices": WHOLE_STAFF,
    "console_edit_price": {roles.CATALOGUE_MANAGER},
    "console_preview_price": {roles.CATALOGUE_MANAGER},
    "console_publish_price": {roles.CATALOGUE_MANAGER},
    "console_save_draft": {roles.CATALOGUE_MANAGER},
    "console_edit_term": {roles.CATALOGUE_MANAGER},
    "console_price_draft": WHOLE_STAFF,
    "console_publish_draft": {roles.CATALOGUE_MANAGER},
    "console_discard_draft": {roles.CATALOGUE_MANAGER},
    "console_cancel_simulation": {roles.CATALOGUE_MANAGER, roles.FINANCE},
    "console_simulate_draft": {roles.CATALOGUE_MANAGER, roles.FINANCE},
    "console_simulation": {*CSRS, roles.CATALOGUE_MANAGER, roles.FINANCE},
    "console_simulation_file": {*CSRS, roles.CATALOGUE_MANAGER, roles.FINANCE},
    "console_post_simulation": {roles.FINANCE},
    "console_taxes": WHOLE_STAFF,
    "console_filing": {roles.OPERATIONS},
    "console_filing_download": {roles.OPERATIONS},
    "console_addresses": NETWORK_DESK,
    "console_addresses_file": NETWORK_DESK,
    "console_pools_file": NETWORK_DESK,
    "console_ask_for_block": NETWORK_DESK,
    "console_block_requests": NETWORK_DESK,
    "console_grant_block": NETWORK_DESK,
    "console_refuse_block": NETWORK_DESK,
    "console_block_again": NETWORK_DESK,
    "console_block_seen": NETWORK_DESK,
    "console_pool_policy": {roles.OPERATIONS},
    "console_give_back": {roles.OPERATIONS},
    "console_keep_block": {roles.OPERATIONS},
    "console_return_again": {roles.OPERATIONS},
    "console_add_allocation": {roles.OPERATIONS},
    "console_block": NETWORK_DESK,
    "console_change_block": {roles.OPERATIONS},
    "console_pool": NETWORK_DESK,
    "console_block_import": {roles.OPERATIONS},
    "console_block_import_rejects": {roles.OPERATIONS},
    "console_make_blocks": {roles.OPERATIONS},
    "console_cancel_block_import": {roles.OPERATIONS},
    "console_take_blocks": {roles.OPERATIONS},
    "console_renumberings": NETWORK_DESK,
    "console_start_renumbering": {roles.OPERATIONS},
    "console_change_renumbering": {roles.OPERATIONS},
    "console_history": NETWORK_DESK,
    "console_history_file": NETWORK_DESK,
    "console_disclose_history": {roles.OPERATIONS},
}
POSTS = {
    "console_release_reservation",
    "console_buy",
    "console_cancel_purchase",
    "console_refund",
    "console_refund_purchase",
    "console_answer_dispute",
    "console_book_visit",
    "console_cancel_visit",
    "console_waive_visit",
    "console_visit_done",
    "console_visit_failed",
    "console_change_slot",
    "console_withdraw_slot",
    "console_retry_session",
    "console_decide_check",
    "console_place_registration",
    "console_drop_registration",
    "console_invite",
    "console_set_standing",
    "console_set_prepaid",
    "console_top_up",
    "console_cancel_order",
    "console_change_line",
    "console_lift_slowdown",
    "console_check_line",
    "console_retry_task",
    "console_skip_task",
    "console_take_task",
    "console_fallout_many",
    "console_take_up",
    "console_try_system",
    "console_limit_system",
    "console_accept_request",
    "console_decline_request",
    "console_ask_for_block",
    "console_grant_block",
    "console_refuse_block",
    "console_block_again",
    "console_block_seen",
    "console_give_back",
    "console_keep_block",
    "console_return_again",
    "console_place_order",
    "console_join_waitlist",
    "console_hold_port",
    "console_release_hold",
    "console_override",
    "console_ask_again",
    "console_give_up",
    "console_cancel_bulk",
    "console_recycle",
    "console_cancel_usage_file",
    "console_apply_import",
    "console_discard_import",
    "console_roll_back_import",
    "console_replay",
    "console_replay_span",
    "console_call_provider",
    "console_filing_download",
    "console_save_notice",
    "console_preview_notice",
    "console_test_notice",
    "console_reset_notice",
    "console_preview_price",
    "console_publish_price",
    "console_save_draft",
    "console_publish_draft",
    "console_discard_draft",
    "console_cancel_simulation",
    "console_simulate_draft",
    "console_add_allocation",
    "console_change_block",
    "console_history_file",
    "console_request_letters",
    "console_make_blocks",
    "console_cancel_block_import",
    "console_disclose_history",
    "console_start_renumbering",
    "console_change_renumbering",
}


OF_AN_OFFERING = {
    "console_offering_prices",
    "console_edit_price",
    "console_preview_price",
    "console_publish_price",
    "console_save_draft",
    "console_edit_term",
}


def address_of(name: str, world: World) -> str:
    """Build the address of a page about something of the world's."""
    refs = {
        "console_subscriber": [world.ada.public_id],
        "console_set_standing": [world.ada.public_id],
        "console_set_prepaid": [world.ada.public_id],
        "console_top_up": [world.ada.public_id],
        "console_order": [world.stuck.public_id],
        "console_change_line": [world.line.public_id],
        "console_lift_slowdown": [world.line.public_id],
        "console_check_line": [world.line.public_id],
        "console_move_line": [world.line.public_id],
        "console_choose_for_line": [world.line.public_id, world.stuck.qualification.public_id],
        "console_preview_line": [world.line.public_id, world.stuck.qualification.public_id],
        "console_amend_order": [world.stuck.public_id],
        "console_preview_amendment": [world.stuck.public_id],
        "console_cancel_order": [world.stuck.public_id],
        "console_book_visit": [world.stuck.public_id],
        "console_cancel_visit": [world.stuck.public_id],
        "console_waive_visit": [world.stuck.public_id],
        "console_visit_done": [f"apt_{'0' * 32}"],
        "console_visit_failed": [f"apt_{'0' * 32}"],
        **{name: [f"slt_{'0' * 32}"] for name in MAY_OPEN if name.endswith("_slot")},
        "console_retry_task": [world.stuck.public_id, world.stuck_task.position],
        "console_skip_task": [world.stuck.public_id, world.stuck_task.position],
        "console_take_task": [world.stuck.public_id, world.stuck_task.position],
        "console_try_system": [f"sys_{'0' * 32}"],
        "console_limit_system": [f"sys_{'0' * 32}"],
        "console_accept_request": [world.request.public_id],
        **{
            name: [f"bim_{'0' * 32}"]
            for name in (
                "console_block_import",
                "console_block_import_rejects",
                "console_make_blocks",
                "console_cancel_block_import",
            )
        },
        "console_decline_request": [world.request.public_id],
        "console_qualification": [world.stuck.qualification.public_id],
        "console_join_waitlist": [world.stuck.qualification.public_id],
        "console_register": [world.stuck.qualification.public_id],
        "console_decide_check": [f"chk_{'0' * 32}"],
        "console_invite": [world.ada.public_id],
        "console_shop": [world.line.public_id],
        "console_buy": [world.line.public_id],
        "console_cancel_purchase": [f"pur_{'0' * 32}"],
        "console_refund": [f"chg_{'0' * 32}"],
        "console_refund_purchase": [f"pur_{'0' * 32}"],
        "console_release_reservation": [f"rsv_{'0' * 32}"],
        "console_answer_dispute": [f"dsp_{'0' * 32}"],
        **{name: [f"reg_{'0' * 32}"] for name in MAY_OPEN if name.endswith("registration")},
        "console_place_order": [world.stuck.qualification.public_id],
        "console_hold_port": [world.stuck.qualification.public_id],
        "console_release_hold": [world.stuck.qualification.public_id],
        "console_override": [world.stuck.qualification.public_id],
        "console_asking": [world.stuck.qualification.public_id],
        "console_inquiry": [f"inq_{'0' * 32}"],
        "console_ask_again": [f"inq_{'0' * 32}"],
        "console_give_up": [f"inq_{'0' * 32}"],
        "console_bulk_file": [f"blk_{'0' * 32}"],
        "console_bulk_answers": [f"blk_{'0' * 32}"],
        "console_cancel_bulk": [f"blk_{'0' * 32}"],
        **{
            name: [f"ufl_{'0' * 32}"]
            for name in MAY_OPEN
            if "usage_file" in name and name != "console_usage_files"
        },
        **{
            name: [f"imp_{'0' * 32}"]
            for name in MAY_OPEN
            if "import" in name and name != "console_imports"
        },
        **{name: [world.film.code] for name in MAY_OPEN if name in OF_AN_OFFERING},
        "console_price_draft": [f"drf_{'0' * 32}"],
        "console_publish_draft": [f"drf_{'0' * 32}"],
        "console_discard_draft": [f"drf_{'0' * 32}"],
        "console_cancel_simulation": [f"sim_{'0' * 32}"],
        "console_simulate_draft": [f"drf_{'0' * 32}"],
        "console_simulation": [f"sim_{'0' * 32}"],
        "console_simulation_file": [f"sim_{'0' * 32}"],
        "console_post_simulation": [f"sim_{'0' * 32}"],
        "console_retry_session": [0],
        "console_replay": [f"msg_{'0' * 32}"],
        "console_webhook": [f"msg_{'0' * 32}"],
        **{name: ["welcome"] for name in MAY_OPEN if name.endswith("_notice")},
        "console_block": [0],
        "console_change_block": [0],
        "console_pool": ["none"],
        "console_change_renumbering": [f"rnb_{'0' * 32}", "pause"],
        **{
            name: ["none"]
            for name in ("console_ask_for_block", "console_pool_policy", "console_give_back")
        },
        **{
            name: [f"fbr_{'0' * 32}"]
            for name in MAY_OPEN
            if name.endswith("_block") and name.split("_")[1] in ("grant", "refuse")
        },
        "console_block_again": [f"fbr_{'0' * 32}"],
        "console_block_seen": [f"fbr_{'0' * 32}"],
        "console_keep_block": [f"ret_{'0' * 32}"],
        "console_return_again": [f"ret_{'0' * 32}"],
        "console_call_provider": [f"sor_{'0' * 32}"],
    }
    return reverse(f"admin:{name}", args=refs.get(name, []))


def ask(client: Client, name: str, world: World) -> int:
    address = address_of(name, world)
    return (client.post if name in POSTS else client.get)(address).status_code


def test_every_page_is_in_the_table_of_this_test() -> None:
    assert {name for _, _, name, _ in urls.PAGES} == set(MAY_OPEN)


@pytest.mark.parametrize("role", roles.STAFF_ROLES)
def test_each_role_opens_its_pages_and_no_other(
    role: str, world: World, as_role: Callable[[str], Client]
) -> None:
    client = as_role(role)

    refused = {name for name in MAY_OPEN if ask(client, name, world) == 403}

    assert refused == {name for name, allowed in MAY_OPEN.items() if role not in allowed}


def test_a_subscriber_opens_nothing(
    world: World, as_user: Callable[[User], Client], settings: object
) -> None:
    # There are more pages that take a post than one login may send in a minute.
    settings.LOGIN_WRITES_A_MINUTE = 10 * len(POSTS)  # type: ignore[attr-defined]
    client = as_user(world.ada.users.get())
    before = AuditEntry.objects.count()

    answers = {
        (client.post if name in POSTS else client.get)(
            address_of(name, world), follow=True
        ).status_code
        for name in MAY_OPEN
    }

    assert answers == {403}
    assert AuditEntry.objects.count() == before


def test_a_stranger_is_sent_to_the_login_page_and_changes_nothing(world: World) -> None:
    before = AuditEntry.objects.count()

    for name in MAY_OPEN:
        address = address_of(name, world)
        answer = (Client().post if name in POSTS else Client().get)(address)

        assert answer.status_code == 302, name
        assert answer.url.startswith(reverse("admin:login")), name
    assert AuditEntry.objects.count() == before


def test_the_console_has_no_login_page_of_its_own(db: None) -> None:
    answer = Client().get(reverse("admin:login"), {"next": "/console/orders/"})

    assert answer.status_code == 302
    assert answer.url == f"{reverse('account_login')}?next=%2Fconsole%2Forders%2F"


def test_posts_need_the_token_of_our_own_page(
    world: World, as_role: Callable[[str], Client]
) -> None:
    client = as_role(roles.CSR)
    client.handler.enforce_csrf_checks = True

    assert ask(client, "console_accept_request", world) == 403
    world.request.refresh_from_db()
    assert world.request.state == "pending"


def test_a_change_cannot_be_made_by_following_a_link(
    world: World, as_role: Callable[[str], Client]
) -> None:
    client = as_role(roles.CSR)

    assert {client.get(address_of(name, world)).status_code for name in POSTS} <= {403, 405}


def test_staff_without_a_second_factor_are_asked_to_set_one_up(
    world: World, as_role: Callable[[str], Client], settings: object
) -> None:
    client = as_role(roles.CSR)
    settings.STAFF_NEED_SECOND_FACTOR = True  # type: ignore[attr-defined]

    answer = client.get(reverse("admin:console_orders"), follow=True)

    assert answer.redirect_chain[-1][0].startswith("/accounts/")
    assert "console" not in answer.redirect_chain[-1][0]


@pytest.mark.parametrize(
    ("role", "sees_money"), [(roles.CSR, True), (roles.FINANCE, True), (roles.OPERATIONS, False)]
)
def test_money_is_shown_to_whom_it_concerns(
    role: str, sees_money: bool, world: World, as_role: Callable[[str], Client]
) -> None:
    page = as_role(role).get(address_of("console_subscriber", world))

    assert (b'id="charges"' in page.content) is sees_money
