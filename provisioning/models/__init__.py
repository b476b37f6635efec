"""Orders, the work they cause, the services that come of it, and the lines' network facts."""

from provisioning.models.network import AaaCredential, AccessServer, AccountingRecord
from provisioning.models.orders import OrderTask, ProductOrder, ProductOrderItem, TaskAttempt
from provisioning.models.services import PartnerSubscriber, Service, ServiceOrder, ServicePeriod

__all__ = [
    "AaaCredential",
    "AccessServer",
    "AccountingRecord",
    "OrderTask",
    "PartnerSubscriber",
    "ProductOrder",
    "ProductOrderItem",
    "Service",
    "ServiceOrder",
    "ServicePeriod",
    "TaskAttempt",
]
