"""Values as people write them in settings: durations, sizes, lists, addresses.

A ``Kind`` reads one of them from text, writes it back, and says what is allowed. The converter (cattrs) picks the
kind by the type of a setting, so a new setting needs a type and nothing else.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NewType, get_args, get_origin
from urllib.parse import SplitResult, urlsplit

import cattrs
from attrs import frozen

from fwd_server.machine import count_cores
from fwd_server.values.secret import Secret

Seconds = NewType("Seconds", float)
Size = NewType("Size", int)  # bytes
Workers = NewType("Workers", int)
Host = NewType("Host", str)  # to listen on: a name or an address, without brackets
BaseUrl = NewType("BaseUrl", str)  # without a trailing slash
Model = NewType("Model", str)  # with or without its provider's prefix
HeaderText = NewType("HeaderText", str)
Name = NewType("Name", str)  # of a provider
HostName = NewType("HostName", str)  # in a Host header, lower case, without port
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Names = tuple[Name, ...]
Aliases = tuple[tuple[str, str], ...]  # a name and what it stands for
Origin = NewType("Origin", str)  # of a page, as a browser sends it
Origins = tuple[Origin, ...]
HostNames = tuple[HostName, ...]
Networks = tuple[Network, ...]


@frozen
class Address:
    """Where to listen: at a host and port, or at the path of a Unix socket."""

    host: str = ""
    port: int = 0
    path: Path | None = None

    def __str__(self) -> str:
        return str(self.path or f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}")


_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,20})?) ?(ms|s|m|h)?")
_SIZE: Final = re.compile(r"([0-9]{1,15}) ?(B|KB|MB|GB|KiB|MiB|GiB)?", re.IGNORECASE)
# [0-9] instead of \d, which also matches Arabic and other digits.
_WHOLE: Final = re.compile(r"[0-9]{1,15}")
_SECRET: Final = re.compile(r"[!#-&(-~]+")  # ASCII without spaces and quotes: it goes into a header
_MODEL: Final = re.compile(r"[A-Za-z0-9._:/@-]{1,128}(\?[!-~]{0,512})?")  # contract T17
_ALIAS: Final = re.compile(r"[A-Za-z0-9._:/@-]{1,128}|[A-Za-z0-9._:/@-]{0,127}\*")
_HEADER: Final = re.compile(r"[!-~]([ -~]{0,254}[!-~])?")
_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}")
_PROVIDER: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")

# Largest unit first: it is the one in which a whole number is written.
_LENGTHS: Final = {"h": 3600, "m": 60, "s": 1}
_WEIGHTS: Final = {"gib": 2**30, "mib": 2**20, "kib": 2**10, "gb": 10**9, "mb": 10**6, "kb": 10**3, "b": 1}
_SPELLED: Final = {"gib": "GiB", "mib": "MiB", "kib": "KiB"}
_YES: Final = frozenset({"true", "1", "yes", "on"})
_NO: Final = frozenset({"false", "0", "no", "off"})


@frozen
class ValueKind:
    """How one type of value is read (ValueError when it cannot be), written, and described."""

    read: Callable[[str], Any]
    write: Callable[[Any], str]
    allowed: str


def read_duration(text: str) -> Seconds:
    """``30``, ``30s``, ``500ms``, ``5m`` or ``1h`` as seconds."""
    number, unit = _match_whole(_DURATION, text).groups()
    return Seconds(float(number) / 1000 if unit == "ms" else float(number) * _LENGTHS[unit or "s"])


def write_duration(seconds: float) -> str:
    """Seconds in the form ``read_duration`` takes, in the largest unit that is exact."""
    if not seconds:
        return "0"
    for unit, length in _LENGTHS.items():
        if seconds % length == 0:
            return f"{int(seconds // length)}{unit}"
    whole = round(seconds * 1000)
    # Float division may lose digits; the long form reads back as the very same number.
    return f"{whole}ms" if whole / 1000 == seconds else f"{seconds:.20f}".rstrip("0") + "s"


def read_size(text: str) -> Size:
    """``10MiB``, ``500KB`` or plain bytes as bytes; KB is 1000 bytes, KiB is 1024."""
    number, unit = _match_whole(_SIZE, text).groups()
    return Size(int(number) * _WEIGHTS[(unit or "B").lower()])


def write_size(size: int) -> str:
    """Bytes in the form ``read_size`` takes, in the largest unit that is exact."""
    unit = next(unit for unit, weight in _WEIGHTS.items() if size >= weight and size % weight == 0) if size else "b"
    return f"{size // _WEIGHTS[unit]}{_SPELLED.get(unit, unit.upper()) if unit != 'b' else ''}"


def read_whole(text: str) -> int:
    """A whole number in plain ASCII digits."""
    return int(_match_whole(_WHOLE, text)[0])


def read_workers(text: str) -> Workers:
    """A whole number, or ``auto`` for one worker a core."""
    return Workers(count_cores() if text.lower() == "auto" else read_whole(text))


def read_flag(text: str) -> bool:
    """A boolean, in any of the usual spellings."""
    lowered = text.lower()
    if lowered not in _YES | _NO:
        raise ValueError(text)
    return lowered in _YES


def write_flag(value: bool) -> str:
    """``true`` or ``false``."""
    return "true" if value else "false"


def read_host(text: str) -> Host:
    """A name or an address to listen on; IPv6 with or without brackets."""
    return Host(str(_parse_address(text) or _match_whole(_HOST, text)[0]))


def read_address(text: str) -> Address:
    """``HOST:PORT`` (IPv6 in brackets), or the path of a Unix socket, which has a slash in it."""
    if "/" in text:
        return Address(path=Path(text))
    host, _, port = text.rpartition(":")
    number = read_whole(port)
    if number > 65_535 or (":" in host and not host.startswith("[")):
        raise ValueError(text)
    return Address(read_host(host), number)


def read_host_name(text: str) -> HostName:
    """A name or an address as it stands in a Host header, without port."""
    return HostName(read_host(text).lower())


def read_origin(text: str) -> Origin:
    """An origin as browsers send it: scheme, host and port without a path; or ``*`` for all."""
    # Spelled out by the operator: no default ever allows every origin.
    if text == "*":
        return Origin(text)
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or text != f"{parts.scheme}://{parts.netloc}":
        raise ValueError("not an origin")
    return Origin(text.lower())


def read_alias(text: str) -> tuple[str, str]:
    """``name=target``; both may end in ``*``."""
    name, found, target = (part.strip() for part in text.partition("="))
    # A target with a star needs a name with one: otherwise nothing says what it stands for.
    if not found or target.endswith("*") > name.endswith("*"):
        raise ValueError(text)
    return _match_whole(_ALIAS, name)[0], _match_whole(_ALIAS, target)[0]


def read_network(text: str) -> Network:
    """An address, or a network such as 10.0.0.0/8."""
    # Not strict: 10.0.0.5/8 is what people copy from their interface settings.
    return ipaddress.ip_network(text, strict=False)


def read_base_url(text: str) -> BaseUrl:
    """An http or https address with a host and nothing secret in it; trailing slashes are cut."""
    parts = urlsplit(text)
    _match_whole(_HEADER, text)
    if " " in text or parts.scheme not in ("http", "https") or not parts.hostname or port_of(parts) == 0:
        raise ValueError(text)
    # A base URL is shown in messages and pages, so no password or key may stand in it.
    if "@" in parts.netloc or "?" in text or "#" in text:
        raise ValueError(text)
    return BaseUrl(f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/"))


def port_of(parts: SplitResult) -> int:
    """The port of a URL, given or implied. Raises ValueError when it is no port."""
    return parts.port if parts.port is not None else {"http": 80, "https": 443}[parts.scheme]


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own (127.0.0.0/8, ::1, localhost)."""
    address = _parse_address(host)
    return address.is_loopback if address else host.lower() == "localhost" or host.lower().endswith(".localhost")


def is_everywhere(host: str) -> bool:
    """Whether an address stands for every address of this machine (0.0.0.0, ::)."""
    address = _parse_address(host)
    return address is not None and address.is_unspecified


def write_unchanged(text: Any) -> str:
    """Text that is written as it is."""
    return str(text)


def _parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _match_whole(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    found = pattern.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return found


def _text_reader(pattern: re.Pattern[str]) -> Callable[[str], str]:
    return lambda text: _match_whole(pattern, text)[0]


def _list_reader(read: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    return lambda text: tuple(read(item.strip()) for item in text.split(",") if item.strip())


def _write_list(values: tuple[Any, ...]) -> str:
    return ",".join(str(value) for value in values)


def _join_aliases(values: Aliases) -> str:
    return ",".join(f"{name}={target}" for name, target in values)


KINDS: Final[Mapping[Any, ValueKind]] = {
    Seconds: ValueKind(read_duration, write_duration, "a duration such as 30, 30s, 500ms or 5m"),
    Size: ValueKind(read_size, write_size, "a size such as 10MiB, 500KB or 1048576"),
    Workers: ValueKind(read_workers, write_unchanged, "a whole number, or auto"),
    int: ValueKind(read_whole, write_unchanged, "a whole number"),
    bool: ValueKind(read_flag, write_flag, "true or false"),
    Host: ValueKind(read_host, write_unchanged, "a host name or an IP address, without scheme and port"),
    Address: ValueKind(read_address, write_unchanged, "HOST:PORT (0.0.0.0:9000, [::1]:9000), or a path with a / in it"),
    BaseUrl: ValueKind(
        read_base_url, write_unchanged, "an http:// or https:// address without user, password, ? and #"
    ),
    Model: ValueKind(_text_reader(_MODEL), write_unchanged, "a model's name: 1 to 128 letters, digits and . _ : / @ -"),
    HeaderText: ValueKind(_text_reader(_HEADER), write_unchanged, "1 to 256 printable ASCII characters"),
    Path: ValueKind(Path, write_unchanged, "the path of a file"),
    Names: ValueKind(_list_reader(_text_reader(_PROVIDER)), _write_list, "a comma-separated list of provider names"),
    Aliases: ValueKind(_list_reader(read_alias), _join_aliases, "a comma-separated list of name=target"),
    HostNames: ValueKind(
        _list_reader(read_host_name), _write_list, "a comma-separated list of host names, without scheme and port"
    ),
    Origins: ValueKind(
        _list_reader(read_origin), _write_list, "a comma-separated list of origins (https://app.example), or *"
    ),
    Networks: ValueKind(
        _list_reader(read_network), _write_list, "a comma-separated list of addresses or networks (10.0.0.0/8)"
    ),
    Secret: ValueKind(_text_reader(_SECRET), write_unchanged, "printable ASCII characters without spaces and quotes"),
}


def build_converter() -> cattrs.Converter:
    """A converter that reads every kind from text and writes it back."""
    made = cattrs.Converter(detailed_validation=False)
    for type_, kind in KINDS.items():
        if type_ in (int, bool, Path, Secret, Address):  # cattrs asks for a class before it asks a function
            made.register_structure_hook(type_, _structure_hook(kind.read))
            made.register_unstructure_hook(type_, kind.write)
        else:
            made.register_structure_hook_func(_is_type(type_), _structure_hook(kind.read))
            made.register_unstructure_hook_func(_is_type(type_), kind.write)
    made.register_structure_hook_func(_is_choice, _read_choice)
    return made


def allowed_text(type_: Any) -> str:
    """The allowed values of a setting of this type."""
    bare = _without_none(type_)
    return f"one of {', '.join(get_args(bare))}" if _is_choice(bare) else KINDS[bare].allowed


def _without_none(type_: Any) -> Any:
    """The type without its ``| None``."""
    options = [option for option in get_args(type_) if option is not type(None)]
    return options[0] if type(None) in get_args(type_) and len(options) == 1 else type_


def _is_type(type_: Any) -> Callable[[Any], bool]:
    return lambda candidate: candidate == type_


def _structure_hook(read: Callable[[str], Any]) -> Callable[[Any, Any], Any]:
    return lambda text, _: read(text)


def _is_choice(type_: Any) -> bool:
    return get_origin(type_) is Literal


def _read_choice(text: str, type_: Any) -> str:
    lowered = text.lower()
    if lowered not in get_args(type_):
        raise ValueError(text)
    return lowered
