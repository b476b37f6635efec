from django.urls import path

from ipam import api

urlpatterns = [
    path("resource_pools", api.ResourcePools.as_view(), name="resource-pools"),
    path("resource_pools/<slug:name>", api.OneResourcePool.as_view(), name="resource-pool"),
    path(
        "resource_pools/<slug:name>/forecast",
        api.ResourcePoolForecast.as_view(),
        name="resource-pool-forecast",
    ),
    path(
        "resource_availability_checks",
        api.AvailabilityChecks.as_view(),
        name="resource-availability-checks",
    ),
    path("resource_pool_reports", api.PoolReports.as_view(), name="resource-pool-reports"),
    path(
        "resource_reservations",
        api.ResourceReservations.as_view(),
        name="resource-reservations",
    ),
    path(
        "resource_reservations/<str:public_id>",
        api.OneResourceReservation.as_view(),
        name="resource-reservation",
    ),
    path(
        "resource_reservations/<str:public_id>/release",
        api.ResourceRelease.as_view(),
        name="resource-reservation-release",
    ),
]
