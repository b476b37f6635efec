"""Orders, the work they cause, the services that come of it, and the lines' network facts."""

from provisioning.models.delivery import (
    Delivery,
    DeliveryAttempt,
    DeliveryConnection,
    DeliveryNotice,
)
from provisioning.models.dhcp import DhcpReservation, DhcpServer
from provisioning.models.equipment import EquipmentModel, SubscriberEquipment
from provisioning.models.inbox import AccountingInbox
from provisioning.models.network import (
    AaaCredential,
    AccessServer,
    AccessSession,
    AccountingRecord,
    ProfileRevision,
    SessionCommand,
    WaitingAccounting,
)
from provisioning.models.orders import OrderTask, ProductOrder, ProductOrderItem, TaskAttempt
from provisioning.models.outside import OutsideSystem
from provisioning.models.registrations import Registration
from provisioning.models.services import (
    PartnerSubscriber,
    Service,
    ServiceOrder,
    ServicePeriod,
    ServiceSuspension,
    Slowdown,
)
from provisioning.models.visits import Appointment, InstallSlot

__all__ = [
    "AaaCredential",
    "AccessServer",
    "AccessSession",
    "AccountingInbox",
    "AccountingRecord",
    "Appointment",
    "Delivery",
    "DeliveryAttempt",
    "DeliveryConnection",
    "DeliveryNotice",
    "DhcpReservation",
    "DhcpServer",
    "EquipmentModel",
    "InstallSlot",
    "OrderTask",
    "OutsideSystem",
    "PartnerSubscriber",
    "ProductOrder",
    "ProductOrderItem",
    "ProfileRevision",
    "Registration",
    "Service",
    "ServiceOrder",
    "ServicePeriod",
    "ServiceSuspension",
    "SessionCommand",
    "Slowdown",
    "SubscriberEquipment",
    "TaskAttempt",
    "WaitingAccounting",
]
