from django.urls import path

from provisioning import api

urlpatterns = [
    path("product_orders", api.ProductOrders.as_view(), name="product-orders"),
    path("product_orders/<str:public_id>", api.OneProductOrder.as_view(), name="product-order"),
    path(
        "product_orders/<str:public_id>/cancellation",
        api.Cancellation.as_view(),
        name="product-order-cancellation",
    ),
    path("services", api.Services.as_view(), name="services"),
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
