"""Figure 6, at its end: whom a CSR has registered makes the login, by the link in a letter."""

from django.contrib import messages
from django.contrib.auth import login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from ispops.errors import NotFound, Refusal
from ispops.parties import accounts, invitations
from ispops.parties.models import Invitation, User
from ispops.portal.forms import PasswordForm

BACKEND = "django.contrib.auth.backends.ModelBackend"


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Ask for a password, or, where there is a login, for its agreement; nothing on GET."""
    try:
        row = invitations.of_token(token)
    except NotFound as nothing:
        raise Http404 from nothing
    state = row.state_at(timezone.now())
    if state != "open":
        return _show(request, row, state=state, status=410)
    user = request.user if isinstance(request.user, User) else None
    if user is not None:
        return _link(request, row, user)
    if User.objects.filter(email__iexact=row.email).exists():
        return _show(request, row, state="sign_in")
    return _make(request, row)


def _make(request: HttpRequest, row: Invitation) -> HttpResponse:
    form = PasswordForm(request.POST or None, user=User(email=row.email))
    if form.is_valid():
        try:
            made = accounts.accept_invitation(
                invitation_id=row.pk, password=form.cleaned_data["password"], at=timezone.now()
            )
        except Refusal as refused:
            form.refuse(refused)
        else:
            login(request, made, backend=BACKEND)
            return _done(request)
    return _show(request, row, state="make", form=form, status=422 if form.errors else 200)


def _link(request: HttpRequest, row: Invitation, user: User) -> HttpResponse:
    if user.email.lower() != row.email.lower():
        return _show(request, row, state="another")
    if request.method != "POST":
        return _show(request, row, state="link")
    try:
        accounts.accept_invitation(invitation_id=row.pk, user=user, at=timezone.now())
    except Refusal as refused:
        messages.error(request, refused.detail)
        return redirect("portal:home")
    return _done(request)


def _done(request: HttpRequest) -> HttpResponse:
    messages.success(request, "Your login is ready. This is your account.")
    return redirect("portal:overview")


def _show(
    request: HttpRequest,
    row: Invitation,
    *,
    state: str,
    form: PasswordForm | None = None,
    status: int = 200,
) -> HttpResponse:
    context = {"invitation": row, "state": state, "form": form, "here": request.path}
    return render(request, "portal/invitation.html", context, status=status)
