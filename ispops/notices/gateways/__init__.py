"""The ways out: one adapter each, chosen by the settings."""

from django.conf import settings

from ispops.notices.catalogue import SMS
from ispops.notices.gateways import files, http, mail
from ispops.notices.gateways.base import Gateway

_SMS: dict[str, Gateway] = {"http": http.HttpGateway(), "files": files.FileGateway()}
_MAIL = mail.MailGateway()


def has_sms() -> bool:
    """Say whether this ISP sends SMS at all."""
    return settings.SMS_GATEWAY in _SMS


def of(channel: str) -> Gateway:
    """Return the gateway of a channel. Raises KeyError where SMS is no longer sent."""
    return _SMS[settings.SMS_GATEWAY] if channel == SMS else _MAIL
