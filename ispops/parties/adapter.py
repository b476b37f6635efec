"""Where the product differs from allauth's defaults."""

import os
import secrets
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from allauth.account.adapter import DefaultAccountAdapter
from allauth.idp.oidc.adapter import DefaultOIDCAdapter
from allauth.idp.oidc.models import PrivateKey
from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from ispops import db
from ispops.parties.partners import PROGRAM_DOMAIN
from ispops.parties.scopes import API_SCOPES


class AccountAdapter(DefaultAccountAdapter):
    """Logins of subscribers and staff."""

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        """Send staff to their work, subscribers to their account."""
        if getattr(request.user, "is_staff", False):
            return reverse("admin:index")
        return str(settings.LOGIN_REDIRECT_URL)

    def clean_email(self, email: str) -> str:
        """Keep people from taking the address of a partner's program; case does not matter."""
        email = super().clean_email(email).lower()
        if email.endswith(f"@{PROGRAM_DOMAIN}"):
            raise self.validation_error("email_taken")
        return email


class SecondFactorAdapter(DefaultMFAAdapter):
    """Secrets of authenticator apps are encrypted at rest, like every other secret."""

    def encrypt(self, text: str) -> str:
        return db.encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        return db.decrypt(encrypted_text)


class ApiClientAdapter(DefaultOIDCAdapter):
    """OAuth 2.0 clients of partners and of the client software."""

    # What the consent page says; the keys are all the scopes there are.
    scope_display: ClassVar[dict[str, Any]] = DefaultOIDCAdapter.scope_display | API_SCOPES

    def generate_client_secret(self) -> str:
        return secrets.token_urlsafe(32)

    def populate_server_metadata(self, data: dict[str, Any]) -> None:
        """Tell programs of our own scopes too (RFC 8414)."""
        data["scopes_supported"] = list(self.scope_display)

    def list_private_keys(
        self, *, did_activate: Literal[True] | None = None, is_active: Literal[True] | None = None
    ) -> list[PrivateKey]:
        """The keys that sign ID tokens: from the settings, else the demonstration's own."""
        configured = super().list_private_keys(did_activate=did_activate, is_active=is_active)
        if configured or not (settings.DEMO or settings.DEBUG):
            return configured
        return [PrivateKey(pem=_demo_key(settings.DATA_DIR / "oidc_key.pem"))]


@lru_cache(maxsize=1)
def _demo_key(path: Path) -> str:
    """Read the signing key of a demonstration, which is made on first use and then kept.

    Several processes may come first at once: the link is made by one of them, and all read it.
    """
    if not path.exists():
        pem = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        own = path.with_suffix(f".{secrets.token_hex(4)}")
        own.touch(mode=0o600)
        own.write_bytes(pem)
        try:
            os.link(own, path)
        except FileExistsError:
            pass
        finally:
            own.unlink()
    return path.read_text()
