from django.urls import path

from ispops.parties import webhook_api as api

urlpatterns = [
    path("webhook_deliveries", api.WebhookDeliveries.as_view(), name="webhook-deliveries"),
    path("webhook_deliveries/redeliver", api.Redeliveries.as_view(), name="webhook-redeliveries"),
    path(
        "webhook_deliveries/<str:public_id>",
        api.OneWebhookDelivery.as_view(),
        name="webhook-delivery",
    ),
    path(
        "webhook_deliveries/<str:public_id>/redeliver",
        api.Redelivery.as_view(),
        name="webhook-redelivery",
    ),
]
