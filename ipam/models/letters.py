"""Who of customer service is written to about requests that wait, and up to when it was."""

from django.db import models

from ispops.parties.models import User


class CsrLetters(models.Model):
    """A member of customer service, who hears of devices that wait unless it is switched off."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="+")
    wanted = models.BooleanField(default=True)
    written_at = models.DateTimeField(null=True, blank=True)
    # What was asked until then was told of.
    told_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "letters about requests"
        verbose_name_plural = "letters about requests"

    def __str__(self) -> str:
        return f"{self.user}: {'written to' if self.wanted else 'switched off'}"
