"""Policy files on the disk: reading them, the one in force, and the one that a session was made under."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from recorder.errors import ConfigError
from recorder.evidence import policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from recorder.evidence.policy import Policy

FOLDERS: Final = (Path("/etc/liuhen/agencies"), Path(__file__).parents[1] / "config" / "agencies")
"""Where a policy is looked for by its digest when none is named: installed, and beside the program."""


class InForce(NamedTuple):
    """The policy that a device follows, and that its sessions name by its digest."""

    policy: Policy
    fault: str | None
    """Why its file cannot be used."""


def in_force(path: str | None) -> InForce:
    """Return the policy that a device is to follow; it never refuses to record because of one.

    A file that cannot be read or understood is not followed, and so no session names it: then holds what holds
    without one.

    Args:
        path: of its file; None or empty where none is configured.
    """
    fault = None
    try:
        if path and (data := Path(path).read_bytes()):
            return InForce(policy.parse(data), None)
    except OSError as error:
        fault = f"the policy file cannot be read: {error.strerror}: {path}"
    except policy.PolicyError as error:
        fault = f"the policy file cannot be understood: {error}: {path}"
    return InForce(policy.without_file(), fault)


def load(named: Iterable[Path]) -> list[Policy]:
    """Read policy files, and all of a named folder.

    Raises:
        ConfigError: a file cannot be read, or is no policy.
    """
    found: list[Policy] = []
    for path in named:
        for file in sorted(path.glob("*.toml")) if path.is_dir() else [path]:
            try:
                found.append(policy.parse(file.read_bytes()))
            except OSError as error:
                raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
            except policy.PolicyError as error:
                raise ConfigError(f"{file}: {error}") from error
    return found


def choose(known: Sequence[Policy], made_under: bytes | None) -> Policy | None:
    """Return the policy that a session was made under; another one only where it is the only one that was named."""
    same = next((one for one in known or list(_installed()) if one.digest == made_under), None)
    return known[0] if same is None and len(known) == 1 else same


def _installed() -> Iterator[Policy]:
    for folder in FOLDERS:
        if folder.is_dir():
            yield from load([folder])
