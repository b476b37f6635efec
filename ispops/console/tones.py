"""What a state means to whoever looks: the colour role and the shape that goes with it. Pure."""

# The shape tells the tone without the colour.
SHAPES = {"good": "✓", "busy": "◔", "warn": "!", "bad": "✕", "idle": "○"}
_TONES = {
    "good": {
        "accepted", "active", "agreed", "answered", "applied", "booked", "completed", "confirmed",
        "delivered", "done", "eligible", "finished", "good", "granted", "online", "passed",
        "placed", "qualified", "rated", "sent", "upheld",
    },
    "busy": {
        "acknowledged", "applying", "asked", "asking", "awaiting", "cancelling", "carved",
        "checking", "confirm_with_provider", "draft", "in_progress", "open", "pending",
        "pushed", "qualified_with_construction", "queued", "ready", "received", "reserved",
        "rolling_back", "running", "to_cancel", "to_place", "waiting",
    },
    "warn": {
        "choose", "draining", "expired", "given_up", "held", "lost", "partial", "paused",
        "previewed", "quarantined", "restricted", "suspended", "timed_out",
    },
    "bad": {
        "declined", "denied", "error", "failed", "fallout", "not_qualified", "out_of_footprint",
        "parked", "refused", "rejected", "undelivered", "unusable",
    },
}  # fmt: skip


def tone_of(state: str) -> str:
    """Return the colour role of a state: good, busy, warn, bad, or idle for what is over or has
    not begun."""
    return next((tone for tone, states in _TONES.items() if state in states), "idle")


def task_tone(state: str) -> str:
    """Return the colour role of an order's task, where pending means that nobody works on it."""
    return "idle" if state == "pending" else tone_of(state)
