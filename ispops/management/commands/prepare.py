"""`manage.py prepare`: make the database and the files ready for the programs to start."""

import hashlib
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """One process for all steps, because each start of Django takes longer than most of them."""

    help = "Migrate, collect the static files if they changed, load the demo ISP if it is wanted."
    requires_system_checks = ()  # `make check` makes them; here a person waits

    def handle(self, *args: Any, **options: Any) -> None:
        self._step("Preparing the database ...")
        call_command("migrate", verbosity=0, interactive=False)
        if not self._static_files_are_current():
            self._step("Collecting the static files ...")
            call_command("collectstatic", verbosity=0, interactive=False, clear=True)
            self._note.write_text(self._fingerprint)
        if settings.DEMO:
            self._step("Loading the demo ISP (the first time takes longest) ...")
            call_command("load_demo", verbosity=0)
            logins = settings.DATA_DIR / "logins.txt"
            logins.touch(mode=0o600)
            with logins.open("w") as file:
                call_command("demo_logins", stdout=file)

    def _step(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    def _static_files_are_current(self) -> bool:
        """Collecting hashes and compresses every file again, so it is worth knowing."""
        digest = hashlib.sha256()
        for finder in get_finders():
            for path, storage in sorted(finder.list([]), key=lambda found: found[0]):
                changed_at = storage.get_modified_time(path).isoformat()
                digest.update(f"{path}\0{storage.size(path)}\0{changed_at}\n".encode())
        self._fingerprint = digest.hexdigest()
        self._note = settings.STATIC_ROOT / "collected"
        return self._note.exists() and self._note.read_text() == self._fingerprint
