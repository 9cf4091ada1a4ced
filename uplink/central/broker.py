"""The broker's configuration: who may connect, and who may say what to whom (mosquitto 2.0).

Identity is the TLS certificate alone: its common name becomes user name and client id, so nobody can take another's
place. Devices and stores have listeners of their own with access lists of their own. The broker keeps nothing on its
disk: what it loses is sent again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from recorder.errors import ConfigError
from uplink.mqtt import parse_address
from uplink.protocol import MAX_MESSAGE_SIZE_BYTES, ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from uplink.central.config import BrokerSection

MAX_PACKET_SIZE_BYTES: Final = MAX_MESSAGE_SIZE_BYTES + 1024
"""A message and its topic."""
MAX_INFLIGHT: Final = 64
MAX_QUEUED: Final = 10_000
FILES: Final = ("mosquitto.conf", "device.acl", "central.acl")


def device_acl() -> str:
    """Return the access list of the devices' listener.

    ``+`` in place of the bucket lets a device name any: the worker drops what names another than its own.
    """
    return (
        "# A device writes below its own name and reads below its own name; %u is its certificate's common name.\n"
        f"pattern write {ROOT}/up/+/%u/#\n"
        f"pattern read {ROOT}/down/%u/#\n"
    )


def central_acl(names: list[str]) -> str:
    """Return the access list of the stores' listener; ``names`` are the common names that may use it."""
    parts = ["# Stores hear all devices and answer them; nobody else has any right on this listener.\n"]
    for name in names:
        if not name.startswith("central:") or any(character.isspace() or character in "+#/" for character in name):
            raise ConfigError(f"broker.central_names: {name!r} is not the common name of a store")
        parts.append(f"user {name}\ntopic read {ROOT}/up/#\ntopic write {ROOT}/down/#\n")
    return "\n".join(parts)


def configuration(section: BrokerSection, folder: Path) -> str:
    """Return mosquitto.conf; the access lists are to lie beside it in ``folder``.

    Raises:
        ConfigError: a value holds a line break or is no address.
    """
    lines = [
        "# Written by `liuhen central broker-config`.",
        "per_listener_settings true",
        "persistence false",
        "set_tcp_nodelay true",
        f"max_packet_size {MAX_PACKET_SIZE_BYTES}",
        f"memory_limit {section.memory_limit_mib << 20}",
        f"max_inflight_messages {MAX_INFLIGHT}",
        f"max_queued_messages {MAX_QUEUED}",
        f"max_queued_bytes {section.max_queued_mib << 20}",
        f"max_keepalive {section.max_keepalive_s}",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
    ]
    if section.user is not None:
        lines.append(f"user {section.user}")
    for address, acl in ((section.device_listener, "device.acl"), (section.central_listener, "central.acl")):
        host, port = parse_address(address)
        lines += [
            "",
            f"listener {port} {host}",
            f"cafile {section.authority}",
            f"certfile {section.certificate}",
            f"keyfile {section.key}",
            "tls_version tlsv1.3",
            "require_certificate true",
            "use_identity_as_username true",
            "use_username_as_clientid true",
            "allow_anonymous false",
            f"acl_file {folder / acl}",
        ]
    if any("\n" in line or "\r" in line for line in lines):
        raise ConfigError("[broker]: a value holds a line break")
    return "\n".join(lines) + "\n"


def render(section: BrokerSection, folder: Path) -> dict[str, str]:
    """Return the broker's files by name, as they are to lie in ``folder``."""
    contents = (configuration(section, folder), device_acl(), central_acl(section.central_names))
    return dict(zip(FILES, contents, strict=True))


def write(section: BrokerSection, folder: Path) -> list[Path]:
    """Write the broker's files into ``folder`` and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, content in render(section, folder).items():
        (folder / name).write_text(content)
        paths.append(folder / name)
    return paths
