"""How each make of access server is told what a session may do: RADIUS attributes by name.

Pure: no Django, no clock, no I/O. What the attributes name (an address list, a filter, a service or
a profile) is set up on the access server; `Names` says how it is called there.
"""

from collections.abc import Callable
from dataclasses import dataclass

from provisioning.in_force import Profile, Speed

Value = str | int | list[str]
Attributes = dict[str, Value]
MOST_UINT32 = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Names:
    """What access servers call the walled garden, and what they call everything else."""

    walled: str
    open: str


def at_login(kind: str, profile: Profile, names: Names) -> Attributes:
    """Return what a session gets when it is let in; without a `kind` in two common dialects."""
    return _SPEED[kind](profile.speed) | (_WALLED[kind](names.walled) if profile.is_walled else {})


def live(kind: str, new: Profile, old: Profile | None, names: Names) -> Attributes:
    """Return what changes a live session; `old` is what it has, None when that is not known.

    A session that leaves the walled garden is told so; one that was not in it hears nothing of it.
    """
    told = at_login(kind, new, names)
    leaves = not new.is_walled and (old is None or old.is_walled)
    if kind == "juniper":
        return told | _deactivated(new, old, names)
    return told | (_WALLED[kind](names.open) if leaves and kind != "nokia" else {})


def _deactivated(new: Profile, old: Profile | None, names: Names) -> Attributes:
    """Name the Juniper services that end: nothing that runs may be left beside its successor."""
    ended = []
    if old is not None and old.speed != new.speed:
        ended.append(_juniper_speed(old.speed))
    if old is not None and old.is_walled and not new.is_walled:
        ended.append(names.walled)
    return {"ERX-Service-Deactivate": ended} if ended else {}


def _wispr(speed: Speed) -> Attributes:
    """WISPr counts bits a second in 32 bits: more than 4.29 Gbit/s is told as that."""
    return {
        "WISPr-Bandwidth-Max-Down": _bits(speed.download_kbps),
        "WISPr-Bandwidth-Max-Up": _bits(speed.upload_kbps),
    }


def _mikrotik(speed: Speed) -> Attributes:
    """MikroTik writes "what the router receives/what it sends": upload/download."""
    return {"Mikrotik-Rate-Limit": f"{speed.upload_kbps}k/{speed.download_kbps}k"}


def _cisco(speed: Speed) -> Attributes:
    """Policies by name, one for each direction; in is what the subscriber sends."""
    return {
        "Cisco-AVPair": [
            f"ip:sub-qos-policy-in=up-{speed.upload_kbps}k",
            f"ip:sub-qos-policy-out=down-{speed.download_kbps}k",
        ]
    }


def _juniper(speed: Speed) -> Attributes:
    return {"ERX-Service-Activate:1": _juniper_speed(speed)}


def _juniper_speed(speed: Speed) -> str:
    return f"speed({speed.download_kbps}k,{speed.upload_kbps}k)"


def _huawei(speed: Speed) -> Attributes:
    """Input is what the subscriber sends, in bits a second."""
    return {
        "Huawei-Input-Average-Rate": _bits(speed.upload_kbps),
        "Huawei-Output-Average-Rate": _bits(speed.download_kbps),
    }


def _nokia(speed: Speed) -> Attributes:
    return {"Alc-SLA-Prof-Str": f"speed-{speed.download_kbps}-{speed.upload_kbps}"}


def _both(speed: Speed) -> Attributes:
    return _wispr(speed) | _mikrotik(speed)


def _bits(kbps: int) -> int:
    return min(kbps * 1000, MOST_UINT32)


def _filter(name: str) -> Attributes:
    return {"Filter-Id": name}


def _address_list(name: str) -> Attributes:
    return {"Mikrotik-Address-List": name}


_SPEED: dict[str, Callable[[Speed], Attributes]] = {
    "": _both,
    "wispr": _wispr,
    "mikrotik": _mikrotik,
    "cisco": _cisco,
    "juniper": _juniper,
    "huawei": _huawei,
    "nokia": _nokia,
}
_WALLED: dict[str, Callable[[str], Attributes]] = {
    "": lambda name: _filter(name) | _address_list(name),
    "wispr": _filter,
    "mikrotik": _address_list,
    # The name of an access list for what the subscriber sends.
    "cisco": lambda name: _filter(f"{name}.in"),
    "juniper": lambda name: {"ERX-Service-Activate:2": name},
    "huawei": _filter,
    # The walled garden is a profile of its own, in place of that of the speed.
    "nokia": lambda name: {"Alc-SLA-Prof-Str": name},
}
