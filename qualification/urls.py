from django.urls import path

from qualification import api

urlpatterns = [
    path(
        "service_qualifications",
        api.ServiceQualifications.as_view(),
        name="service-qualifications",
    ),
    path(
        "service_qualifications/<str:public_id>",
        api.OneServiceQualification.as_view(),
        name="service-qualification",
    ),
]
