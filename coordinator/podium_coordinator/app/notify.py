"""A word to the service manager that started us, if one did (systemd's Type=notify)."""

from __future__ import annotations

import os
import socket


def notify_service_manager(message: str) -> bool:
    """Send `message`, such as READY=1; return whether anybody listens. Source: sd_notify(3)."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(message.encode(), address)
    return True
