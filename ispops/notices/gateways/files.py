"""SMS as files, which a demonstration shows beside its mail: there is nobody to send them by."""

import json
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from ispops.notices.gateways.base import Message


class FileGateway:
    """Writes each message to a file of its own in the data folder."""

    def send(self, message: Message) -> str:
        """See `Gateway`. A repeat writes the same file again."""
        folder = Path(settings.SMS_FILE_PATH)
        folder.mkdir(parents=True, exist_ok=True)
        said = {
            "to": message.address,
            "text": message.body,
            "sent_at": timezone.now().isoformat(),
        }
        unfinished = folder / f"{message.reference}.new"
        unfinished.write_text(json.dumps(said, ensure_ascii=False))
        unfinished.replace(folder / f"{message.reference}.json")
        return message.reference
