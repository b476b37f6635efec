from django.urls import path

from provisioning import addresses_api, api, registration_api, visits_api
from provisioning import product_orders_api as products

urlpatterns = [
    path("terms", registration_api.Terms.as_view(), name="terms"),
    path("payment_kinds", registration_api.PaymentKinds.as_view(), name="payment-kinds"),
    path("accounts", registration_api.Accounts.as_view(), name="accounts"),
    path("registrations", registration_api.Registrations.as_view(), name="registrations"),
    path(
        "registrations/<str:public_id>",
        registration_api.OneRegistration.as_view(),
        name="registration",
    ),
    path("product_orders", products.ProductOrders.as_view(), name="product-orders"),
    path(
        "product_orders/<str:public_id>", products.OneProductOrder.as_view(), name="product-order"
    ),
    path(
        "product_orders/<str:public_id>/cancellation",
        products.Cancellation.as_view(),
        name="product-order-cancellation",
    ),
    path(
        "product_orders/<str:public_id>/install_slots",
        visits_api.InstallSlots.as_view(),
        name="product-order-install-slots",
    ),
    path(
        "product_orders/<str:public_id>/appointment",
        visits_api.OneAppointment.as_view(),
        name="product-order-appointment",
    ),
    path("addresses", addresses_api.Addresses.as_view(), name="addresses"),
    path("address_history", addresses_api.AddressHistory.as_view(), name="address-history"),
    path(
        "address_assignments",
        addresses_api.AddressAssignments.as_view(),
        name="address-assignments",
    ),
    path("address_releases", addresses_api.AddressReleases.as_view(), name="address-releases"),
    path("services", products.Services.as_view(), name="services"),
    path("service_orders", api.ServiceOrders.as_view(), name="service-orders"),
    path("service_orders/<str:public_id>", api.OneServiceOrder.as_view(), name="service-order"),
    path(
        "service_orders/<str:public_id>/completion",
        api.Completion.as_view(),
        name="service-order-completion",
    ),
    path(
        "service_orders/<str:public_id>/refusal",
        api.Refusal.as_view(),
        name="service-order-refusal",
    ),
    path(
        "service_orders/<str:public_id>/progress",
        api.Progress.as_view(),
        name="service-order-progress",
    ),
]
