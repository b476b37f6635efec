"""Every setting of the product, read from the environment, with safe defaults.

`.env.example` lists the variables. Nothing here opens a connection.
"""

import os
import secrets
from datetime import timedelta
from pathlib import Path

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from ispops.console.unfold import UNFOLD  # noqa: F401
from ispops.settings_people import (  # noqa: F401
    CHECK_ANSWERED_WITHIN,
    CHECKED,
    CHECKERS,
    CHECKS,
    INSTALL_VISITS,
    VISIT_CHOSEN_WITHIN,
    VISIT_CLOSED_WITHIN,
    VISIT_NOTICE,
)
from ispops.settings_sms import (  # noqa: F401
    PHONE_REGION,
    SMS_GATEWAY_BODY,
    SMS_GATEWAY_HEADERS,
    SMS_GATEWAY_ID_FIELD,
    SMS_GATEWAY_URL,
    SMS_REPORT_DELIVERED,
    SMS_REPORT_ID_FIELD,
    SMS_REPORT_STATE_FIELD,
    SMS_REPORT_TOKEN,
    SMS_REPORT_UNDELIVERED,
    SMS_SENDER,
)
from ispops.settings_sweeps import ACCOUNTING_KEPT, CELERY_BEAT_SCHEDULE  # noqa: F401

BASE_DIR = Path(__file__).resolve().parent.parent


def _flag(name: str, default: bool) -> bool:
    """Read a yes/no variable: 1, true, yes and on mean yes."""
    return os.environ.get(name, str(default)).strip().lower() in {"1", "true", "yes", "on"}


def _list(name: str, default: str = "") -> list[str]:
    return [part.strip() for part in os.environ.get(name, default).split(",") if part.strip()]


DEBUG = _flag("DEBUG", False)
DEMO = _flag("ISPOPS_DEMO", False)
DATA_DIR = Path(os.environ.get("ISPOPS_DATA_DIR", BASE_DIR / ".data"))


def _secret_key() -> str:
    """Take SECRET_KEY from the environment; a demo keeps a random one in its data folder.

    The key signs sessions and encrypts stored secrets, so production must set its own.
    """
    key = os.environ.get("SECRET_KEY", "")
    if key:
        return key
    if not (DEBUG or DEMO):
        raise ImproperlyConfigured("SECRET_KEY is not set. Set it to a long random text.")
    path = DATA_DIR / "secret_key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(secrets.token_urlsafe(64))
        path.chmod(0o600)
    return path.read_text()


SECRET_KEY = _secret_key()
FIELD_ENCRYPTION_KEYS = _list("FIELD_ENCRYPTION_KEYS") or [SECRET_KEY]
ALLOWED_HOSTS = _list("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = _list("CSRF_TRUSTED_ORIGINS")
BASE_URL = os.environ.get("ISPOPS_BASE_URL", "http://127.0.0.1:8000")


def _link(name: str, path: str) -> str:
    """Read an address that others are led to; empty means a page of the portal."""
    return os.environ.get(name) or BASE_URL.rstrip("/") + path


ISP_NAME = os.environ.get("ISP_NAME", "Harbor Broadband")
SUPPORT_PHONE = os.environ.get("SUPPORT_PHONE", "+1 800 555 0142")
# The FCC registration number of whoever sells the plans: ten digits, kept as text.
ISP_FRN = os.environ.get("ISP_FRN") or "0000000000"
if not (ISP_FRN.isascii() and ISP_FRN.isdigit() and len(ISP_FRN) == 10):
    raise ImproperlyConfigured("ISP_FRN is not a registration number of ten digits.")
# Where broadband labels lead to, unless a plan's own label says another address.
CONTRACT_TERMS_URL = _link("CONTRACT_TERMS_URL", "/terms/")
DISCOUNTS_URL = _link("DISCOUNTS_URL", "/policies/#discounts")
DATA_ALLOWANCE_URL = _link("DATA_ALLOWANCE_URL", "/policies/#data-allowance")
NETWORK_MANAGEMENT_URL = _link("NETWORK_MANAGEMENT_URL", "/policies/#network")
PRIVACY_URL = _link("PRIVACY_URL", "/policies/#privacy")
SUPPORT_URL = _link("SUPPORT_URL", "/policies/#support")
CURRENCY = os.environ.get("ISP_CURRENCY", "USD")
# Whose addresses: a country of `qualification.countries`, or a module of your own.
ADDRESS_COUNTRY = os.environ.get("ADDRESS_COUNTRY", "us")
BILLING_TIME_ZONE = os.environ.get("BILLING_TIME_ZONE", "America/New_York")

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "ispops.console.admin_config.ConsoleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.idp.oidc",
    "rest_framework",
    "drf_spectacular",
    "django_htmx",
    "ispops",
    "ispops.parties",
    "ispops.notices",
    "ispops.catalog",
    "qualification",
    "ipam",
    "provisioning",
    "rating",
    "ispops.portal",
    "ispops.console",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "ispops.csp.ContentSecurityPolicyMiddleware",
    "ispops.hostile.HostileInputMiddleware",
    "ispops.console.zone.ConsoleTimeMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "allauth.usersessions.middleware.UserSessionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "ispops.parties.limits.LoginWritesMiddleware",
]

ROOT_URLCONF = "ispops.urls"
WSGI_APPLICATION = "ispops.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "ispops.portal.context.brand",
            ],
        },
    },
]

# --- The database and Redis -------------------------------------------------------------------

DATABASES = {
    "default": dj_database_url.config(
        default="postgresql://ispops@localhost/ispops",
        conn_max_age=60,
        conn_health_checks=True,
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")

# Losing Redis must lose nothing and stop no page: sessions are rows of the database.
SESSION_ENGINE = "django.contrib.sessions.backends.db"
CACHES = {
    "default": {
        "BACKEND": "ispops.cache.ForgivingRedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {"socket_connect_timeout": 0.5, "socket_timeout": 1.0},
    }
}

CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 300,
    "socket_connect_timeout": 1.0,
    "socket_timeout": 5.0,
    # A web request gives up at once when Redis is away: the sweep finds the row.
    "max_retries": 0,
}
CELERY_TIMEZONE = "UTC"

# --- People and programs ----------------------------------------------------------------------

AUTH_USER_MODEL = "parties.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/account/"
ACCOUNT_ADAPTER = "ispops.notices.adapter.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_CONFIRM_EMAIL_ON_GET = False
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_EMAIL_VERIFICATION_SUPPORTS_RESEND = True
# The page could offer it only to those who have no login yet, and so tell who has one.
ACCOUNT_EMAIL_VERIFICATION_SUPPORTS_CHANGE = False
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes", "webauthn"]
# A member of staff needs a second factor; only a demonstration may waive it.
STAFF_NEED_SECOND_FACTOR = not DEMO
# Outside a demonstration, webhooks go by https to the public internet and nowhere else.
WEBHOOKS_MAY_STAY_LOCAL = DEMO or DEBUG
MFA_ADAPTER = "ispops.parties.adapter.SecondFactorAdapter"
MFA_TOTP_ISSUER = ISP_NAME
IDP_OIDC_ADAPTER = "ispops.parties.adapter.ApiClientAdapter"
# PEM text that signs ID tokens; a demonstration makes its own. One line with \\n will do.
IDP_OIDC_PRIVATE_KEY = os.environ.get("IDP_OIDC_PRIVATE_KEY", "").replace("\\n", "\n")
IDP_OIDC_ACCESS_TOKEN_EXPIRES_IN = 3600


# Without a mail server, mail becomes files that a demonstration shows at /mail/.
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = DATA_DIR / "mail"
if EMAIL_HOST := os.environ.get("EMAIL_HOST", ""):
    EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    EMAIL_PORT = int(os.environ.get("EMAIL_PORT", "587"))
    EMAIL_HOST_USER = os.environ.get("EMAIL_HOST_USER", "")
    EMAIL_HOST_PASSWORD = os.environ.get("EMAIL_HOST_PASSWORD", "")
    EMAIL_USE_TLS = _flag("EMAIL_USE_TLS", True)
    # Less than TASK_LEASE: a mail server that hangs must not outlive the lease of its task.
    EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = os.environ.get("DEFAULT_FROM_EMAIL", "service@harbor.example")
# Without a gateway, a demonstration writes SMS to files; elsewhere none are sent.
SMS_GATEWAY = "http" if SMS_GATEWAY_URL else "files" if DEMO else ""
SMS_FILE_PATH = DATA_DIR / "sms"

# With a key, people may pay by card: https://docs.stripe.com/payments/checkout
STRIPE_SECRET_KEY = os.environ.get("STRIPE_SECRET_KEY", "")
STRIPE_WEBHOOK_SECRET = os.environ.get("STRIPE_WEBHOOK_SECRET", "")
STRIPE_API_URL = os.environ.get("STRIPE_API_URL", "https://api.stripe.com")

# The ACS that configures subscribers' equipment, by the northbound interface of GenieACS, and the
# token by which a proxy in front of it lets us in. Without an address none is configured.
ACS_URL = os.environ.get("ACS_URL", "")
ACS_TOKEN = os.environ.get("ACS_TOKEN", "")

# --- The web ----------------------------------------------------------------------------------

SECURE_COOKIES = _flag("SECURE_COOKIES", not (DEBUG or DEMO))
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = SECURE_COOKIES
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^aaa/"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SECURE_COOKIES else None
SECURE_HSTS_SECONDS = 31_536_000 if SECURE_COOKIES else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE_COOKIES
X_FRAME_OPTIONS = "DENY"

STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
# Files that people send and fetch: lists of coverage, of addresses, and their results. They are
# given out by pages that ask for the right to them, never by the web server.
MEDIA_ROOT = DATA_DIR / "files"
UPLOAD_MOST_BYTES = int(os.environ.get("UPLOAD_MOST_MEGABYTES", "200")) * 1_000_000
# What a packed file may become.
UNPACKED_MOST_BYTES = 5 * UPLOAD_MOST_BYTES
# One report of usage is held in memory; a stream of them is not, but has an end, too.
USAGE_BATCH_MOST_BYTES = 20_000_000
USAGE_STREAM_MOST_BYTES = int(os.environ.get("USAGE_STREAM_MOST_MEGABYTES", "2000")) * 1_000_000
FILE_UPLOAD_HANDLERS = [
    "ispops.uploads.SizeLimit",
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
FORMAT_MODULE_PATH = "ispops.formats"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["ispops.parties.rest.ApiTokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["ispops.parties.rest.HasScope"],
    "DEFAULT_THROTTLE_CLASSES": ["ispops.parties.limits.CallersLimit"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "ispops.parties.rest.NewestFirstCursor",
    "DEFAULT_SCHEMA_CLASS": "ispops.parties.schema.ApiSchema",
    "EXCEPTION_HANDLER": "ispops.parties.problems.problem_details",
    "PAGE_SIZE": 50,
    "URL_FORMAT_OVERRIDE": None,
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "ISP Ops API",
    "VERSION": "1.0.0",
    "DESCRIPTION": (
        "For partners, client software and network elements. Times are ISO 8601 in UTC, amounts "
        "are strings beside a currency, ids are opaque. Lists come in pages: follow `next` until "
        "it is null. Whatever is refused is an RFC 9457 problem."
    ),
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "ENUM_NAME_OVERRIDES": {
        "Channel": "qualification.models.ServiceQualification.Channel",
        "BulkQualificationState": "qualification.models.BulkQualification.State",
        "PaymentKind": "ispops.parties.models.PaymentMethod.Kind",
        "SubscriberKind": "ispops.parties.models.Subscriber.Kind",
        "QualificationState": "qualification.models.ServiceQualification.State",
        "ShareKindEnum": "rating.models.Charge.Kind",
        "PurchaseStateEnum": "rating.models.Purchase.State",
        "PurchaseChannelEnum": "rating.models.Purchase.Channel",
        "PurchaseRequestState": "rating.models.PurchaseRequest.State",
        "DisputeState": "rating.models.Dispute.State",
    },
}

# --- Time limits of the business --------------------------------------------------------------

QUALIFICATION_VALID_FOR = timedelta(days=30)
# Rows of one file of addresses, and files of one asker that are not done yet.
BULK_MOST_ROWS = int(os.environ.get("BULK_MOST_ROWS", "500000"))
BULK_MOST_OPEN = 3
USAGE_FILES_MOST_OPEN = 10
# How long a file and its rejects are kept once it is over, and how much of one sender.
USAGE_FILES_KEPT_FOR, USAGE_FILES_MOST_BYTES = timedelta(days=30), 10 * UNPACKED_MOST_BYTES
# How long a port is kept for whoever begins to register, and for how long staff may keep one.
PORT_HELD_FOR_REGISTRATION = timedelta(minutes=30)
REGISTRATION_KEPT_FOR, REGISTRATION_REMINDED_AFTER = timedelta(days=14), timedelta(hours=2)
INVITATION_VALID_FOR = timedelta(days=7)
PORT_HELD_BY_STAFF_FOR = timedelta(days=7)
# Of so many ports of a node visitors may hold one at once; of a smaller node one, too.
PORTS_TO_ONE_HOLD = 10
# How many lines an account may have and still order another one by itself; staff may order more.
LINES_ORDERED_ALONE = int(os.environ.get("LINES_ORDERED_ALONE", "10"))
# How much one login may write, and ask of networks that may want to be paid for answers; and how
# much one program of a partner may. Usage is not counted: it comes as fast as it is made.
LOGIN_WRITES_A_MINUTE = int(os.environ.get("LOGIN_WRITES_A_MINUTE", "60"))
LOGIN_QUALIFICATIONS_A_DAY = int(os.environ.get("LOGIN_QUALIFICATIONS_A_DAY", "200"))
CLIENT_WRITES_A_MINUTE = int(os.environ.get("CLIENT_WRITES_A_MINUTE", "6000"))
CLIENT_QUALIFICATIONS_A_MINUTE = int(os.environ.get("CLIENT_QUALIFICATIONS_A_MINUTE", "600"))
ENTITLEMENT_CONFIRMED_WITHIN = timedelta(
    seconds=int(os.environ.get("ENTITLEMENT_TIMEOUT_SECONDS", "900"))
)
# How long after the promised date a network provider may still deliver its line.
LINE_ANSWERED_AFTER_DUE = timedelta(days=3)
OVERALLOCATION_ANSWERED_WITHIN = timedelta(hours=24)
# A device that does not ask again for this long loses its address.
ADDRESS_LEASE = timedelta(hours=24)
WALLED_GARDEN_LEASE = timedelta(minutes=5)
# How many off-net providers' calls run at a time, in all workers together: one place is left for
# everything else when several of them are slow.
PROVIDER_CALLS_AT_ONCE = int(os.environ.get("PROVIDER_CALLS_AT_ONCE", "2"))
# Folders for providers that are asked by files are made here.
PROVIDER_FILES_DIR = Path(os.environ.get("PROVIDER_FILES_DIR") or DATA_DIR / "providers")
# Changes and disconnects of live sessions: how long each packet's answer is waited for, how often a
# packet is sent, and how many calls to one access server run at a time.
COA_TIMEOUT_SECONDS = float(os.environ.get("COA_TIMEOUT_SECONDS", "1.5"))
COA_SENDINGS = int(os.environ.get("COA_SENDINGS", "2"))
COA_CALLS_AT_ONCE = int(os.environ.get("COA_CALLS_AT_ONCE", "2"))
# What access servers call the filter, address list, service or profile that shows a subscriber
# nothing but the page that says why, and the one that shows everything.
WALLED_GARDEN_NAME = os.environ.get("WALLED_GARDEN_NAME", "walled-garden")
OPEN_ACCESS_NAME = os.environ.get("OPEN_ACCESS_NAME", "open-access")
# A session in the walled garden ends after this, so that one on an access server that takes no
# changes comes back open soon after the line is.
WALLED_GARDEN_SESSION = timedelta(minutes=10)
TASK_LEASE = timedelta(seconds=int(os.environ.get("TASK_LEASE_SECONDS", "60")))

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "class": "ispops.access_log.Line",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": os.environ.get("LOG_LEVEL", "INFO")},
}
