"""Where an emulator listens, and how that is remembered in its state folder.

Light on purpose: whoever only looks for an emulator imports neither a web server nor a painter.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PLAN_FILE", "SERVICE", "Endpoint", "listen"]

SERVICE = "wan-emulator"
"""What ``/_emulator/health`` calls itself; nobody else on a port does."""
PLAN_FILE = "plan.json"
"""The plan in force, in the state folder."""
_ENDPOINT_FILE = "endpoint.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Address, port and process of an emulator that runs or ran."""

    host: str
    port: int
    pid: int

    @property
    def url(self) -> str:
        """The base URL for clients."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def save(self, state_dir: Path) -> None:
        """Remember it, atomically."""
        temporary = state_dir / f".{_ENDPOINT_FILE}.{os.getpid()}"
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(state_dir / _ENDPOINT_FILE)

    @classmethod
    def load(cls, state_dir: Path) -> Self | None:
        """The one remembered, or None where no emulator ever ran."""
        try:
            noted = json.loads((state_dir / _ENDPOINT_FILE).read_text(encoding="utf-8"))
            return cls(host=str(noted["host"]), port=int(noted["port"]), pid=int(noted["pid"]))
        except (OSError, ValueError, KeyError, TypeError):
            # Never written, or not by us: nothing is remembered, and a new port will be.
            return None


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener
