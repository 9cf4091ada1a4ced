"""Codes that this store issues: signs tasks and officers' cards, and writes them as QR codes to print.

Each code is in the access log before its file is there; the log names the code by its digest and holds no names.
"""

from __future__ import annotations

import csv
import datetime as dt
import tomllib
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from keys.certificates import Role, load_der
from keys.cose import digest
from keys.signer import open_signer
from recorder.errors import ConfigError
from recorder.evidence import lens_code, texts
from recorder.evidence.lens_code import PERSON_ROLES, OfficerCode, TaskCode
from uplink.central.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from keys.certificates import Anchors, Identity
    from keys.signer import Signer
    from uplink.central.config import CentralConfig

MODULE_MM: Final = 0.9
"""Width of one square of a printed code."""
MODULE_PX: Final = 8
MAX_LIST_SIZE_BYTES: Final = 4 << 20
SHEET: Final = "codes.html"
_LISTS: Final = ("officers",)
_STYLE: Final = (
    "body{font-family:'Noto Sans CJK SC','Microsoft YaHei',sans-serif;margin:1cm}"
    "article{break-inside:avoid;border:1px solid #000;padding:5mm;margin:0 0 8mm;display:flex;gap:6mm}"
    "svg{flex:none}h1{font-size:16pt;margin:0 0 3mm}h1 small,small{font-size:9pt;font-weight:normal}"
    "td{padding:0 4mm 1mm 0;vertical-align:top}"
)


class Issuer(NamedTuple):
    """A store's key for codes."""

    signer: Signer
    identity: Identity

    @classmethod
    def open(cls, config: CentralConfig, anchors: Anchors) -> Issuer:
        """Open the key that a configuration names.

        Raises:
            ConfigError: it names none.
            KeysError: key or certificate cannot be used, or the certificate is not for codes.
        """
        keys = config.keys
        if keys.codes is None or keys.codes_certificate is None:
            raise ConfigError("keys.codes and keys.codes_certificate are not set: this store issues no codes")
        certificate = load_der(Path(keys.codes_certificate))
        return cls(open_signer(keys.codes, certificate), anchors.identify(certificate, Role.CODES))


class Printed(NamedTuple):
    """A signed code, ready to be written."""

    code: TaskCode | OfficerCode
    message: bytes

    @property
    def number(self) -> str:
        """What people call it, and its files: the beginning of its digest."""
        return digest(self.message).hex()[:12]


def validity(start: str | None, end: str, now_utc_s: int) -> tuple[int, int]:
    """Return first and last second between two moments in Beijing time; a date means from its first or to its last.

    Raises:
        StoreError: not moments, in the wrong order, or past.
    """
    try:
        first = now_utc_s if start is None else _moment(start)
        last = _moment(end) if "T" in end else _moment(end) + 86_399
    except ValueError:
        raise StoreError("times are written 2026-10-01 or 2026-10-01T08:30, in Beijing time") from None
    if last < max(first, now_utc_s):
        raise StoreError("the code would never be valid: its end is before its beginning, or past")
    return first, last


def _moment(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=texts.BEIJING).timestamp())


def read_list(path: Path, table: str) -> list[dict[str, Any]]:
    """Read many codes' particulars, one a row (CSV, UTF-8) or one a table ``[[task]]``, ``[[officer]]`` (TOML).

    In CSV a column is named like its field, people by their role; several in one field stand with ``;`` between.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        if path.stat().st_size > MAX_LIST_SIZE_BYTES:
            raise StoreError(f"{path} is larger than a list of codes can be")
        text = path.read_text(encoding="utf-8-sig")
        rows = tomllib.loads(text).get(table) if path.suffix == ".toml" else list(_rows(text))
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, csv.Error) as error:
        raise StoreError(f"{path} cannot be read as a list of codes: {error}") from error
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise StoreError(f"{path} has no {table}")
    return rows


def _rows(text: str) -> list[dict[str, Any]]:
    found = []
    for row in csv.DictReader(text.splitlines()):
        fields: dict[str, Any] = {}
        for name, cell in row.items():
            values = [one.strip() for one in (cell or "").split(";") if one.strip()]
            if not values or name is None:
                continue
            if name in PERSON_ROLES:
                fields.setdefault("people", []).extend({"role": name, "name": one} for one in values)
            else:
                fields[name] = values if name in _LISTS else (cell or "").strip()
        found.append(fields)
    return found


def sign(
    issuer: Issuer,
    form: type[TaskCode | OfficerCode],
    fields: Mapping[str, Any],
    valid: tuple[int, int],
    *,
    carries_certificate: bool,
) -> Printed:
    """Sign one code.

    Raises:
        StoreError: a field is missing or not known, or the code outlives the certificate of its issuer.
        LensCodeError: a field is out of bounds, or there is too much for one code.
    """
    if valid[1] * 10**9 > issuer.identity.not_after_utc_ns:
        raise StoreError("the code would outlive the certificate of the key that signs it: choose an earlier end")
    unknown = set(fields) - set(form.__struct_fields__)
    if unknown:
        raise StoreError(f"{', '.join(sorted(unknown))}: a code has no such field")
    given = dict(fields) | {
        "issuer": issuer.identity.id,
        "valid_from_utc_s": valid[0],
        "valid_until_utc_s": valid[1],
    }
    try:
        code = msgspec.convert(given, form, strict=True)
    except msgspec.ValidationError as error:
        raise StoreError(f"the code cannot be made: {error}") from error
    return Printed(code, lens_code.sign(code, issuer.signer, carries_certificate=carries_certificate))


def write(folder: Path, printed: Sequence[Printed], language: str) -> list[Path]:
    """Write each code as PNG and SVG, and all as one page to print; return the files.

    Raises:
        StoreError: the folder holds other things, or cannot be written; or segno is not installed.
    """
    try:
        import segno
    except ImportError as error:
        raise StoreError("segno is not installed: pip install 'liuhen[central]'") from error
    written, cards = [], []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise StoreError(f"{folder} is not empty; codes are never written over others")
        for one in printed:
            drawn = segno.make_qr(lens_code.to_text(one.message), error="m", boost_error=False)
            for path in (folder / f"{one.number}.png", folder / f"{one.number}.svg"):
                size = {"scale": MODULE_PX} if path.suffix == ".png" else {"scale": MODULE_MM, "unit": "mm"}
                drawn.save(str(path), border=4, **size)
                written.append(path)
            cards.append(card(one, drawn.svg_inline(scale=MODULE_MM, unit="mm", border=4), language))
        sheet = folder / SHEET
        sheet.write_text(page(cards, language), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{error.filename or folder}: {error.strerror}") from error
    return [*written, sheet]


def page(cards: Sequence[str], language: str) -> str:
    """Return the page to print."""
    title = escape(texts.text("card.title", language))
    return (
        f'<!DOCTYPE html><html lang="{language}"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(cards)}</body></html>\n"
    )


def card(printed: Printed, drawing: str, language: str) -> str:
    """Return one code with what it says in words: both languages, the site's own first."""
    languages = sorted(texts.LANGUAGES, key=lambda one: one != language)
    title = "card.officer" if isinstance(printed.code, OfficerCode) else "card.task"
    rows = "".join(
        f"<tr><td>{_both(label, languages)}</td><td>{value}</td></tr>" for label, value in _said(printed, languages)
    )
    notes = "".join(
        f"<p><small>{escape(texts.text(note, one))}</small></p>"
        for note in ("card.show", "card.limit")
        for one in languages
    )
    return f"<article>{drawing}<div><h1>{_both(title, languages)}</h1><table>{rows}</table>{notes}</div></article>"


def _both(text: str, languages: Sequence[str]) -> str:
    own, other = (escape(texts.text(text, one)) for one in languages)
    return f"{own} <small>{other}</small>"


def _said(printed: Printed, languages: Sequence[str]) -> list[tuple[str, str]]:
    code = printed.code
    if isinstance(code, OfficerCode):
        said = [("card.name", code.name), ("report.1.certificate", code.certificate), ("report.1.agency", code.agency)]
    else:
        said = [
            ("report.1.case", code.case or ""),
            ("report.1.unit", code.unit or ""),
            ("report.1.place", code.place or ""),
            *((f"role.person.{one.role}", one.name) for one in code.people),
            ("report.1.certificate", "、".join(code.officers)),
        ]
    rows = [(label, escape(value)) for label, value in said if value]
    if isinstance(code, TaskCode):
        note = f"：{escape(code.matter_note)}" if code.matter_note else ""
        rows.insert(0, ("report.1.matter", _both(f"matter.{code.matter}", languages) + note))
    start, end = (texts.moment(one * 10**9) for one in (code.valid_from_utc_s, code.valid_until_utc_s))
    return [*rows, ("card.valid", f"{start} – {end}"), ("card.number", printed.number)]
