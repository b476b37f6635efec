"""How Django writes times where nothing else says so, as in the console's lists: with the zone."""

DATETIME_FORMAT = SHORT_DATETIME_FORMAT = "j M Y H:i T"
