from django.urls import path

from provisioning import listener

urlpatterns = [
    path(
        "serviceOrdering/v4/listener/<str:event>",
        listener.listen,
        name="delivery-listener",
    ),
]
