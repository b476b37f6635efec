"""The console's pages about addresses, in the form of the table in `ispops.console.urls`."""

from ispops.console import guard
from ispops.console.views import addresses, pools

SEE_BLOCKS = "ipam.view_block"
SEE_POOLS = "ipam.view_pool"

PAGES: tuple[tuple[str, guard.View, str, str], ...] = (
    ("addresses/", addresses.listing, "console_addresses", SEE_BLOCKS),
    ("addresses/blocks.csv", addresses.as_file, "console_addresses_file", SEE_BLOCKS),
    ("addresses/pools.csv", addresses.pools_file, "console_pools_file", SEE_POOLS),
    ("addresses/add/", addresses.add, "console_add_allocation", addresses.CHANGE),
    ("addresses/blocks/<int:key>/", addresses.page, "console_block", SEE_BLOCKS),
    (
        "addresses/blocks/<int:key>/change/",
        addresses.change,
        "console_change_block",
        addresses.CHANGE,
    ),
    ("addresses/pools/<slug:name>/", pools.page, "console_pool", SEE_POOLS),
)

# Whoever comes to one of these from a list gets the whole page about it.
SHORTCUTS: tuple[tuple[str, guard.View, str, str], ...] = (
    ("ipam/block/<int:key>/change/", addresses.from_list, "console_block_from_list", SEE_BLOCKS),
    ("ipam/pool/<int:key>/change/", addresses.pool_from_list, "console_pool_from_list", SEE_POOLS),
)
