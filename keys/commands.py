"""``liuhen keys``: make the keys of a trial site, and show whose a certificate is."""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path
from typing import Final

import click
from cryptography import x509
from cryptography.x509.oid import NameOID

from keys.authority import write_site
from keys.certificates import ID_PATTERN, Anchors, fingerprint, load_der, read_identity
from keys.errors import CertificateError, KeysError

# The words stand here and not in the catalogue of the evidence package: this package imports none of the others.
TEXTS: Final = {
    "zh": {
        "trial": "注意：以下密钥仅供试用。机关根密钥未保存，所以不能再为该站点增发或者更换证书；请勿用于正式执法记录。",
        "made": "已生成：{path}",
        "anchor": "核验所用的机关证书：{path}\n其指纹应当另行告知核验人：{fingerprint}",
        "private": "*.key 为私钥，不得离开所属的设备或者服务器。",
        "subject": "主体",
        "role": "用途",
        "valid": "有效期",
        "fingerprint": "指纹（SHA-256）",
        "claim": "以上为证书自称。核验时只信任另行给定的机关证书。",
        "AUTHORITY": "机关（签发证书）",
        "SIGNING": "设备签名（记录链）",
        "TRANSPORT": "设备传输（登录消息服务器）",
        "RECEIPT": "中心端签名（回执、证明）",
        "OPENING": "中心端启封",
        "CODES": "中心端二维码签发（任务、执法人员）",
        "CENTRAL": "中心端传输（登录消息服务器）",
        "BROKER": "消息服务器",
    },
    "en": {
        "trial": "Note: these keys are for trials only. The authority's own key is not kept, so this site can never "
        "get another or a new certificate. Do not use them for real enforcement recordings.",
        "made": "made: {path}",
        "anchor": "the authority's certificate, for verifying: {path}\n"
        "give its fingerprint to those who verify by another way: {fingerprint}",
        "private": "*.key are private keys; they must not leave the device or server that they are for.",
        "subject": "subject",
        "role": "for",
        "valid": "valid",
        "fingerprint": "fingerprint (SHA-256)",
        "claim": "This is what the certificate says of itself. Verifying trusts only authorities given from outside.",
        "AUTHORITY": "authority (issues certificates)",
        "SIGNING": "signing the records of a device",
        "TRANSPORT": "logging a device in at the broker",
        "RECEIPT": "signing receipts and attestations of a store",
        "OPENING": "opening sealed media at a store",
        "CODES": "signing the codes of a store for tasks and officers",
        "CENTRAL": "logging a store in at the broker",
        "BROKER": "the broker",
    },
}

language = click.option(
    "--lang", type=click.Choice(["zh", "en"]), default="zh", help="输出语言  Language of the output."
)


@click.group()
def keys() -> None:
    """证书与密钥  Keys and certificates."""


@keys.command()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="目录，须不存在或者为空  A new folder.")
@click.option("--name", required=True, help="机关名称  Name of the agency.")
@click.option("--device", "devices", required=True, multiple=True, help="设备编号，可重复  Device number; repeatable.")
@click.option("--store", default="store-1", show_default=True, help="中心端编号  Id of the store.")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    default=["localhost"],
    show_default=True,
    help="消息服务器的主机名或者地址，可重复  Host name or address of the broker; repeatable.",
)
@language
def site(out: Path, name: str, devices: tuple[str, ...], store: str, hosts: tuple[str, ...], lang: str) -> None:
    """生成试用站点的全部密钥  Make all keys of a small site, for trials."""
    _check(out, devices, store)
    authority = write_site(out, name, devices, store, [_host(host) for host in hosts])
    text = TEXTS[lang]
    click.echo(text["trial"])
    for path in sorted(out.rglob("*.*")):
        click.echo(text["made"].format(path=path))
    click.echo(text["private"])
    click.echo(text["anchor"].format(path=out / "authority.crt", fingerprint=fingerprint(authority.der)))


@keys.command()
@click.argument("certificate", type=click.Path(path_type=Path))
@language
def show(certificate: Path, lang: str) -> None:
    """显示证书内容  Show whose a certificate is, what for, and its fingerprint."""
    der = load_der(certificate)
    parsed = x509.load_der_x509_certificate(der)
    text = TEXTS[lang]
    subject, role = _subject(der, parsed)
    validity = f"{_day(parsed.not_valid_before_utc)} – {_day(parsed.not_valid_after_utc)} UTC"
    for label, value in (("subject", subject), ("role", text[role]), ("valid", validity)):
        click.echo(f"{text[label]}: {value}")
    click.echo(f"{text['fingerprint']}: {fingerprint(der)}")
    click.echo(text["claim"])


def _check(out: Path, devices: tuple[str, ...], store: str) -> None:
    """Refuse what would leave a half-made site behind."""
    for identifier in (*devices, store):
        if not ID_PATTERN.fullmatch(identifier):
            raise CertificateError(f"{identifier!r} is not an id: 3 to 32 of a-z, 0-9 and -")
    if len(set(devices)) != len(devices):
        raise CertificateError("a device is named twice; each has keys of its own")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise KeysError(f"{out} is not an empty folder; keys are never written over others")


def _host(host: str) -> str | ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return host


def _subject(der: bytes, parsed: x509.Certificate) -> tuple[str, str]:
    """Return the name that a certificate bears and the id of its role's text."""
    try:
        Anchors([der])
    except CertificateError:
        identity = read_identity(der)
        return identity.subject, identity.role.name
    names = parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else parsed.subject.rfc4514_string(), "AUTHORITY"


def _day(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M")
