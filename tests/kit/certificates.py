"""Certificates of every kind, made with openssl: good ones, and those nobody should trust."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path
from typing import Final

_LEAF: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@functools.cache
def folder(parent: Path) -> Path:
    """A folder with an authority of our own (ca.crt), and good, expired, foreign and alone (self-signed) .pem."""
    made = parent / "certificates"
    made.mkdir()
    _openssl(
        made,
        *("req", "-x509", *_LEAF, "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        *("-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ca", "-days", "2"),
    )
    _issue(made, "good", "DNS:localhost,IP:127.0.0.1", 2)
    _issue(made, "expired", "DNS:localhost,IP:127.0.0.1", -1)
    _issue(made, "foreign", "DNS:example.com", 2)
    _openssl(
        made,
        "req",
        "-x509",
        *_LEAF,
        "-keyout",
        "alone.key",
        "-out",
        "alone.crt",
        "-subj",
        "/CN=localhost",
        "-days",
        "2",
    )
    _join(made, "alone")
    return made


def _issue(made: Path, name: str, names: str, days: int) -> None:
    """A certificate for ``names``, signed by our authority; its days may be over."""
    (made / f"{name}.ext").write_text(f"subjectAltName={names}\nauthorityKeyIdentifier=keyid\n")
    _openssl(made, "req", *_LEAF, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    _openssl(
        made,
        *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"),
        *("-days", str(days), "-extfile", f"{name}.ext", "-out", f"{name}.crt"),
    )
    _join(made, name)


def _join(made: Path, name: str) -> None:
    (made / f"{name}.pem").write_text((made / f"{name}.crt").read_text() + (made / f"{name}.key").read_text())


def _openssl(made: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=made, check=True, capture_output=True)
