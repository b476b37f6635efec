"""Addresses of the subscribers' pages."""

from django.urls import path

from ispops.portal.views import check, devices, orders, register

app_name = "portal"
urlpatterns = [
    path("", check.home, name="home"),
    path("check/suggestions/", check.suggestions, name="suggestions"),
    path("check/<str:qualification_id>/", check.answer, name="answer"),
    path("check/<str:qualification_id>/wait/", check.wait, name="wait"),
    path("check/<str:qualification_id>/choose/", check.choose, name="choose"),
    path("register/", register.register, name="register"),
    path("register/extras/", register.extras, name="extras"),
    path("register/contact/", register.contact, name="contact"),
    path("register/review/", register.review, name="review"),
    path("register/place/", register.place, name="place"),
    path("terms/", register.terms, name="terms"),
    path("orders/<str:order_id>/", orders.order, name="order"),
    path("orders/<str:order_id>/progress/", orders.progress, name="order_progress"),
    path("account/devices/", devices.devices, name="devices"),
    path("account/devices/requests/<str:request_id>/", devices.answer, name="answer_request"),
    path("account/devices/extras/<str:extra_id>/stop/", devices.stop_extra, name="stop_extra"),
    path("account/devices/<str:line_id>/<str:device>/free/", devices.free, name="free_device"),
]
