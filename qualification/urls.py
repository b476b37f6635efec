from django.urls import path

from qualification import api, bulk_api, waitlist_api

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
    path("address_suggestions", api.AddressSuggestions.as_view(), name="address-suggestions"),
    path("waitlist_entries", waitlist_api.WaitlistEntries.as_view(), name="waitlist-entries"),
    path("bulk_qualifications", bulk_api.BulkQualifications.as_view(), name="bulk-qualifications"),
    path(
        "bulk_qualifications/<str:public_id>",
        bulk_api.OneBulkQualification.as_view(),
        name="bulk-qualification",
    ),
    path(
        "bulk_qualifications/<str:public_id>/result",
        bulk_api.Result.as_view(),
        name="bulk-qualification-result",
    ),
    path(
        "bulk_qualifications/<str:public_id>/cancellation",
        bulk_api.Cancellation.as_view(),
        name="bulk-qualification-cancellation",
    ),
]
