"""The console's pages about addresses, in the form of the table in `ispops.console.urls`."""

from ispops.console import guard
from ispops.console.views import addresses, block_imports, history, pools, renumbering
from ispops.console.views import block_requests as wanted

SEE_BLOCKS = "ipam.view_block"
SEE_POOLS = "ipam.view_pool"
SEE_RENUMBERING = "ipam.view_renumbering"
SEE_HISTORY = "ipam.view_allocationhistory"
SEE_WANTED, ASK = "ipam.view_blockrequest", "ipam.change_blockrequest"
SET_POLICY, GIVE_BACK = "ipam.change_poolpolicy", "ipam.change_blockreturn"

PAGES: tuple[tuple[str, guard.View, str, str], ...] = (
    ("addresses/", addresses.listing, "console_addresses", SEE_BLOCKS),
    ("addresses/blocks.csv", addresses.as_file, "console_addresses_file", SEE_BLOCKS),
    ("addresses/pools.csv", addresses.pools_file, "console_pools_file", SEE_POOLS),
    ("addresses/add/", addresses.add, "console_add_allocation", addresses.CHANGE),
    ("addresses/import/", block_imports.listing, "console_take_blocks", addresses.CHANGE),
    ("addresses/import/<str:ref>/", block_imports.page, "console_block_import", addresses.CHANGE),
    (
        "addresses/import/<str:ref>/rejects/",
        block_imports.rejects,
        "console_block_import_rejects",
        addresses.CHANGE,
    ),
    (
        "addresses/import/<str:ref>/make/",
        block_imports.make,
        "console_make_blocks",
        addresses.CHANGE,
    ),
    (
        "addresses/import/<str:ref>/cancel/",
        block_imports.cancel,
        "console_cancel_block_import",
        addresses.CHANGE,
    ),
    ("addresses/blocks/<int:key>/", addresses.page, "console_block", SEE_BLOCKS),
    (
        "addresses/blocks/<int:key>/change/",
        addresses.change,
        "console_change_block",
        addresses.CHANGE,
    ),
    ("addresses/history/", history.listing, "console_history", SEE_HISTORY),
    ("addresses/history/file/", history.as_file, "console_history_file", SEE_HISTORY),
    (
        "addresses/history/disclose/",
        history.disclose,
        "console_disclose_history",
        history.DISCLOSE,
    ),
    ("addresses/renumbering/", renumbering.listing, "console_renumberings", SEE_RENUMBERING),
    (
        "addresses/renumbering/start/",
        renumbering.start,
        "console_start_renumbering",
        renumbering.CHANGE,
    ),
    (
        "addresses/renumbering/<str:ref>/<slug:what>/",
        renumbering.change,
        "console_change_renumbering",
        renumbering.CHANGE,
    ),
    ("addresses/pools/<slug:name>/", pools.page, "console_pool", SEE_POOLS),
    ("addresses/pools/<slug:name>/ask/", wanted.ask, "console_ask_for_block", ASK),
    ("addresses/pools/<slug:name>/policy/", wanted.policy, "console_pool_policy", SET_POLICY),
    ("addresses/pools/<slug:name>/give-back/", wanted.give_back, "console_give_back", GIVE_BACK),
    ("addresses/wanted/", wanted.queue, "console_block_requests", SEE_WANTED),
    ("addresses/wanted/<str:ref>/grant/", wanted.grant, "console_grant_block", ASK),
    ("addresses/wanted/<str:ref>/refuse/", wanted.refuse, "console_refuse_block", ASK),
    ("addresses/wanted/<str:ref>/again/", wanted.again, "console_block_again", ASK),
    ("addresses/wanted/<str:ref>/seen/", wanted.seen, "console_block_seen", ASK),
    ("addresses/returns/<str:ref>/keep/", wanted.keep, "console_keep_block", GIVE_BACK),
    ("addresses/returns/<str:ref>/again/", wanted.return_again, "console_return_again", GIVE_BACK),
)

# Whoever comes to one of these from a list gets the whole page about it.
SHORTCUTS: tuple[tuple[str, guard.View, str, str], ...] = (
    ("ipam/block/<int:key>/change/", addresses.from_list, "console_block_from_list", SEE_BLOCKS),
    ("ipam/pool/<int:key>/change/", addresses.pool_from_list, "console_pool_from_list", SEE_POOLS),
)
