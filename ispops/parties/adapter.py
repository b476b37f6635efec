"""Where the product differs from allauth's defaults."""

from allauth.account.adapter import DefaultAccountAdapter
from allauth.idp.oidc.adapter import DefaultOIDCAdapter


class AccountAdapter(DefaultAccountAdapter):
    """Logins of subscribers and staff."""


class ApiClientAdapter(DefaultOIDCAdapter):
    """OAuth 2.0 clients of partners and of the client software."""
