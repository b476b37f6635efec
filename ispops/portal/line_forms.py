"""What a subscriber fills in to pause a line and to end it."""

from ispops.portal.forms import KeyForm
from ispops.wanted_form import day_field


class PauseForm(KeyForm):
    """From when a line is paused."""

    wanted_from = day_field("From", "Leave it empty to pause it now.")


class EndForm(KeyForm):
    """When a line ends."""

    wanted_from = day_field("Last day", "Leave it empty to end it now.")
