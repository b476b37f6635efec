from django.urls import path

from rating import account_api, api, balances_api, claims_api, consents_api, usage_files_api

urlpatterns = [
    path("usage", api.UsageReports.as_view(), name="usage"),
    path("usage_files", usage_files_api.UsageFiles.as_view(), name="usage-files"),
    path("usage_files/<str:public_id>", usage_files_api.OneUsageFile.as_view(), name="usage-file"),
    path(
        "usage_files/<str:public_id>/rejects",
        usage_files_api.UsageFileRejects.as_view(),
        name="usage-file-rejects",
    ),
    path(
        "usage_files/<str:public_id>/cancellation",
        usage_files_api.UsageFileCancellation.as_view(),
        name="usage-file-cancellation",
    ),
    path("purchases", api.Purchases.as_view(), name="purchases"),
    path("purchases/<str:public_id>", api.OnePurchase.as_view(), name="purchase"),
    path(
        "purchases/<str:public_id>/cancellation",
        claims_api.PurchaseCancellation.as_view(),
        name="purchase-cancellation",
    ),
    path("purchase_requests", claims_api.PurchaseRequests.as_view(), name="purchase-requests"),
    path(
        "purchase_requests/<str:public_id>",
        claims_api.OnePurchaseRequest.as_view(),
        name="purchase-request",
    ),
    path(
        "purchase_requests/<str:public_id>/withdrawal",
        claims_api.PurchaseRequestWithdrawal.as_view(),
        name="purchase-request-withdrawal",
    ),
    path("settlement_shares", api.SettlementShares.as_view(), name="settlement-shares"),
    path(
        "settlement_shares/<str:public_id>/refunds",
        claims_api.ShareRefunds.as_view(),
        name="share-refunds",
    ),
    path(
        "settlement_shares/<str:public_id>/disputes",
        claims_api.ShareDisputes.as_view(),
        name="share-disputes",
    ),
    path("disputes", claims_api.Disputes.as_view(), name="disputes"),
    path("disputes/<str:public_id>", claims_api.OneDispute.as_view(), name="dispute"),
    path("statements", api.Statements.as_view(), name="statements"),
    path("account_purchases", account_api.AccountPurchases.as_view(), name="account-purchases"),
    path(
        "account_purchases/<str:public_id>",
        account_api.OneAccountPurchase.as_view(),
        name="account-purchase",
    ),
    path(
        "account_purchases/<str:public_id>/cancellation",
        account_api.AccountPurchaseCancellation.as_view(),
        name="account-purchase-cancellation",
    ),
    path("account_charges", account_api.AccountCharges.as_view(), name="account-charges"),
    path(
        "account_charges/<str:public_id>/disputes",
        account_api.ChargeDisputes.as_view(),
        name="charge-disputes",
    ),
    path("account_disputes", account_api.AccountDisputes.as_view(), name="account-disputes"),
    path(
        "account_purchase_requests",
        consents_api.AccountPurchaseRequests.as_view(),
        name="account-purchase-requests",
    ),
    path(
        "account_purchase_requests/<str:public_id>",
        consents_api.OneAccountPurchaseRequest.as_view(),
        name="account-purchase-request",
    ),
    path(
        "account_purchase_requests/<str:public_id>/agreement",
        consents_api.Agreement.as_view(),
        name="purchase-request-agreement",
    ),
    path(
        "account_purchase_requests/<str:public_id>/refusal",
        consents_api.Refusing.as_view(),
        name="purchase-request-refusal",
    ),
    path("standing_consents", consents_api.StandingConsents.as_view(), name="standing-consents"),
    path(
        "standing_consents/<str:public_id>/withdrawal",
        consents_api.StandingWithdrawal.as_view(),
        name="standing-consent-withdrawal",
    ),
    path("account_balances", balances_api.AccountBalances.as_view(), name="account-balances"),
    path(
        "partner_balances/<str:reference>",
        balances_api.PartnerBalance.as_view(),
        name="partner-balance",
    ),
    path("reservations", balances_api.Reservations.as_view(), name="reservations"),
    path("reservations/<str:public_id>", balances_api.OneReservation.as_view(), name="reservation"),
    path(
        "reservations/<str:public_id>/uses",
        balances_api.ReservationUses.as_view(),
        name="reservation-uses",
    ),
    path(
        "reservations/<str:public_id>/release",
        balances_api.ReservationRelease.as_view(),
        name="reservation-release",
    ),
]
