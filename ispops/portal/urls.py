"""Addresses of the subscribers' pages."""

from django.urls import path

from ispops.portal.views import (
    bills,
    check,
    devices,
    labels,
    orders,
    overview,
    register,
    shop,
    usage,
    waitlist,
)

app_name = "portal"
urlpatterns = [
    path("", check.home, name="home"),
    path("check/suggestions/", check.suggestions, name="suggestions"),
    path("check/<str:qualification_id>/", check.answer, name="answer"),
    path("check/<str:qualification_id>/wait/", check.wait, name="wait"),
    path("check/<str:qualification_id>/choose/", check.choose, name="choose"),
    path("waitlist/<str:token>/leave/", waitlist.leave, name="leave_waitlist"),
    path("register/", register.register, name="register"),
    path("register/extras/", register.extras, name="extras"),
    path("register/contact/", register.contact, name="contact"),
    path("register/review/", register.review, name="review"),
    path("register/place/", register.place, name="place"),
    path("terms/", register.terms, name="terms"),
    path("policies/", labels.policies, name="policies"),
    path("labels/", labels.listing, name="labels"),
    path("labels/<slug:code>/", labels.one, name="label"),
    path("labels.csv", labels.as_file, name="labels_csv"),
    path("orders/<str:order_id>/", orders.order, name="order"),
    path("orders/<str:order_id>/progress/", orders.progress, name="order_progress"),
    path("account/", overview.overview, name="overview"),
    path("account/lines/<str:line_id>/check/", check.check_line, name="check_line"),
    path("account/none/", overview.no_account, name="no_account"),
    path("account/usage/", usage.usage, name="usage"),
    path("account/shop/", shop.shop, name="shop"),
    path("account/shop/<str:line_id>/<slug:code>/", shop.buy, name="buy"),
    path("account/purchases/", shop.purchases, name="purchases"),
    path("account/purchases/<str:purchase_id>/", shop.purchase, name="purchase"),
    path("account/purchases/<str:purchase_id>/state/", shop.purchase_state, name="purchase_state"),
    path("account/bill/", bills.bill, name="bill"),
    path("account/bills/<str:bill_id>/", bills.issued_bill, name="issued_bill"),
    path("account/charges/<str:charge_id>/", bills.charge, name="charge"),
    path("account/devices/", devices.devices, name="devices"),
    path("account/devices/requests/<str:request_id>/", devices.answer, name="answer_request"),
    path("account/devices/extras/<str:extra_id>/stop/", devices.stop_extra, name="stop_extra"),
    path("account/devices/<str:line_id>/<str:device>/free/", devices.free, name="free_device"),
]
