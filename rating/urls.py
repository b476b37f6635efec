from django.urls import path

from rating import api

urlpatterns = [
    path("usage", api.UsageReports.as_view(), name="usage"),
    path("purchases", api.Purchases.as_view(), name="purchases"),
    path("purchases/<str:public_id>", api.OnePurchase.as_view(), name="purchase"),
    path("settlement_shares", api.SettlementShares.as_view(), name="settlement-shares"),
    path("statements", api.Statements.as_view(), name="statements"),
]
