"""Requests that must be refused, in twelve classes, made from tables (contract T1).

``CASES`` maps "class/what is wrong" to the bytes. ``SECOND`` is appended to each by the tests: a request that no
reader may ever find behind a malformed one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

SECOND: Final = b"GET /second HTTP/1.1\r\nHost: gateway\r\n\r\n"
HOST: Final = b"Host: gateway\r\n"
LINE: Final = b"POST /first HTTP/1.1\r\n"
CHUNKED: Final = LINE + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
CONTROLS: Final = [bytes([code]) for code in (*range(9), 11, 12, *range(14, 32), 127)]


def shown(data: bytes) -> str:
    return repr(data)[2:-1][:40]


def request_lines() -> Iterator[tuple[str, bytes]]:
    lines = [
        b"", b" ", b"GET", b"GET ", b"GET /", b"GET / ", b" GET / HTTP/1.1", b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1", b"GET / HTTP/1.1 ", b"GET\t/ HTTP/1.1", b"GET /\tHTTP/1.1", b"GET / HTTP/1.1\t",
        b"GET / / HTTP/1.1", b"GET / HTTP/1.1 HTTP/1.1", b"GET/ HTTP/1.1", b"GET /HTTP/1.1", b"GET /a b HTTP/1.1",
        b"/ HTTP/1.1", b"HTTP/1.1 200 OK", b"GET\x0b/ HTTP/1.1", b"GET\xa0/ HTTP/1.1", b"GET\r/ HTTP/1.1",
        b"GET / HTTP/1.1\r",
    ]  # fmt: skip
    yield from ((shown(line), line + b"\r\n" + HOST + b"\r\n") for line in lines)


def methods() -> Iterator[tuple[str, bytes]]:
    names = [b"get", b"Get", b"GeT", b"G@T", b"G,T", b"GET,POST", b"(GET)", b"G\xc3\x89T", b"GET\x00", b"\x00GET"]
    names += [
        b'"GET"',
        b"GET:",
        b"G=T",
        b"G/T",
        b"[GET]",
        b"{GET}",
        b"GET;",
        b"1",
        b"GET1",
        b"_GET",
        b"A" * 21,
        b"CONNECT",
    ]
    yield from ((shown(name), name + b" / HTTP/1.1\r\n" + HOST + b"\r\n") for name in names)


def targets() -> Iterator[tuple[str, bytes]]:
    found = [
        b"*", b"first", b"?a=b", b"http://gateway/", b"https://gateway/", b"HTTP://gateway/", b"gateway:80",
        b"gateway", b"/#", b"/a#b", b"/?a#b", b"#", b"\\", b".", b"..", b"%2f", b"ftp://x/", b"javascript:1",
        b"@/", b":80/", b"/\xc3\xa9", b"/\xff", b"/\x80", b"/\x7f", b"/\x00", b"/a\x00b", b"/a\x0bb",
        b"/a\x0cb", b"/\x1b[2J", b"/a\x01",
    ]  # fmt: skip
    yield from ((shown(target), b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n") for target in found)


def versions() -> Iterator[tuple[str, bytes]]:
    found = [
        b"HTTP/0.9", b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/2", b"HTTP/3", b"HTTP/1", b"HTTP/1.",
        b"HTTP/.1", b"HTTP/", b"HTTP", b"HTTP/1.10", b"HTTP/1.01", b"HTTP/01.1", b"HTTP/11", b"HTTP/1,1",
        b"HTTP/1.1.1", b"HTTP/-1.1", b"HTTP/+1.1", b"http/1.1", b"Http/1.1", b"HTTPS/1.1", b"RTSP/1.0", b"ICE/1.0",
        b"HTTP /1.1", b"HTTP/ 1.1", b"HTTP/1 .1", b"HTTP/1.1x", b"XHTTP/1.1", b"HTTP\\1.1", b"HTTP/1.\xb9",
        b"HTTP/A.B",
    ]  # fmt: skip
    yield from ((shown(version), b"GET / " + version + b"\r\n" + HOST + b"\r\n") for version in found)


def line_ends() -> Iterator[tuple[str, bytes]]:
    good = b"GET / HTTP/1.1\r\nHost: gateway\r\nA: b\r\n\r\n"
    for name, end in (("LF", b"\n"), ("CR", b"\r"), ("CR CR LF", b"\r\r\n"), ("LF CR", b"\n\r"), ("NUL", b"\0\r\n")):
        yield f"{name} everywhere", good.replace(b"\r\n", end)
        yield f"{name} after the line", good.replace(b"\r\n", end, 1)
        yield f"{name} after Host", good.replace(b"gateway\r\n", b"gateway" + end)
        yield f"{name} after the last header", good.replace(b"b\r\n", b"b" + end)
    yield "empty line first", b"\r\n" + good
    yield "two empty lines first", b"\r\n\r\n" + good
    yield "LF first", b"\n" + good
    yield "space first", b" " + good
    yield "BOM first", b"\xef\xbb\xbf" + good
    yield "LF LF at the end", good[:-4] + b"\n\n"
    yield "LF and CRLF at the end", good[:-4] + b"\n\r\n"
    yield "CRLF and LF at the end", good[:-4] + b"\r\n\n"


def header_names() -> Iterator[tuple[str, bytes]]:
    for character in (*CONTROLS, *(bytes([code]) for code in b' "(),/;<=>?@[\\]{}\xe9\x80\xff')):
        yield shown(character), LINE + HOST + b"X" + character + b"Y: 1\r\nContent-Length: 0\r\n\r\n"
    lines = [b": 1", b" : 1", b":", b"X", b"X 1", b"X : 1", b"X\t: 1", b"\tX: 1", b" X: 1", b"", b"Content-Length : 5"]
    for line in lines[:-2] + lines[-1:]:
        yield f"line {shown(line)}", LINE + HOST + line + b"\r\nContent-Length: 0\r\n\r\n"


def header_values() -> Iterator[tuple[str, bytes]]:
    for character in CONTROLS:
        yield shown(character), LINE + HOST + b"Content-Length: 0\r\nX: a" + character + b"b\r\n\r\n"
    for fold in (b"\r\n b", b"\r\n\tb", b"\r\n ", b"\n b", b"\r b"):
        yield f"folded {shown(fold)}", LINE + HOST + b"Content-Length: 0\r\nX: a" + fold + b"\r\n\r\n"
    yield "folded length", LINE + HOST + b"Content-Length:\r\n 0\r\n\r\n"
    yield "folded coding", LINE + HOST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"


def hosts() -> Iterator[tuple[str, bytes]]:
    values = [
        b"", b" ", b"a b", b"a,b", b"gateway,", b",gateway", b"user@gateway", b"gateway/", b"/", b"gateway:",
        b"gateway:x", b":80", b"gateway:65536", b"gateway:99999", b"gateway:123456", b"gateway:-1", b"gateway:+1",
        b"gateway:8 0", b"gateway:80:80", b"[::1", b"::1]", b"[]", b"[g::1]", b"[::1]x", b"[::1]:x",
        b"http://gateway", b"gate\xc3\xa9way", b"gate%77ay", b"*", b"?", b"#", b"a" * 254, b"gateway\\x",
        b"<gateway>", b'"gateway"', b"[::1%25eth0]",
    ]  # fmt: skip
    yield from ((shown(value), b"GET / HTTP/1.1\r\nHost: " + value + b"\r\n\r\n") for value in values)
    yield "none", b"GET / HTTP/1.1\r\nA: b\r\n\r\n"
    yield "none, no header at all", b"GET / HTTP/1.1\r\n\r\n"
    yield "the same twice", b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n"
    yield "two", b"GET / HTTP/1.1\r\n" + HOST + b"Host: other\r\n\r\n"
    yield "two in 1.0", b"GET / HTTP/1.0\r\n" + HOST + b"Host: other\r\n\r\n"


def lengths() -> Iterator[tuple[str, bytes]]:
    values = [
        b"", b"+5", b"-5", b"-0", b"5,5", b"5, 5", b"5,6", b"5 5", b"5;", b"5.0", b"5e0", b"0x5", b"5x", b"x",
        b"five", b"1_0", b"0b1", b'"5"', b"5\xa0", b"\xb2", b"\xd9\xa5", b"5\x0b", b"\x0c5", b"9" * 16, b"9" * 40,
        b"18446744073709551616", b"--5", b"'5'", b",5", b"5,",
    ]  # fmt: skip
    for value in values:
        yield shown(value), LINE + HOST + b"Content-Length: " + value + b"\r\n\r\nhello"
    for one, two in ((b"5", b"5"), (b"5", b"6"), (b"6", b"5"), (b"0", b"5"), (b"5", b""), (b"", b"5")):
        lines = b"Content-Length: " + one + b"\r\ncontent-length: " + two + b"\r\n\r\nhello"
        yield f"twice {shown(one)} {shown(two)}", LINE + HOST + lines
    for method in (b"POST", b"PUT", b"PATCH"):
        yield f"none for {method.decode()}", method + b" /first HTTP/1.1\r\n" + HOST + b"\r\n"
        yield f"none for {method.decode()} in 1.0", method + b" /first HTTP/1.0\r\n" + HOST + b"\r\n"


def codings() -> Iterator[tuple[str, bytes]]:
    values = [
        b"", b"gzip", b"identity", b"xchunked", b"chunkedx", b"chunked, chunked", b"chunked,chunked",
        b"gzip, chunked", b"chunked, gzip", b"identity, chunked", b"chunked, identity", b"chunked;q=1",
        b"chunked,", b",chunked", b'"chunked"', b"chunk", b"chunked chunked", b"chunked\x0b", b"\x0bchunked",
        b"chunked\x00", b"\xa0chunked", b"ch\xc3\xbcnked", b"cow", b"deflate", b"chunke\xe4", b"compress",
    ]  # fmt: skip
    for value in values:
        yield shown(value), LINE + HOST + b"Transfer-Encoding: " + value + b"\r\n\r\n0\r\n\r\n"
    coding = b"Transfer-Encoding: chunked\r\n"
    yield "twice", LINE + HOST + coding + coding + b"\r\n0\r\n\r\n"
    yield "and identity", LINE + HOST + coding + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n"
    yield "after identity", LINE + HOST + b"Transfer-Encoding: identity\r\n" + coding + b"\r\n0\r\n\r\n"
    for length in (b"0", b"3", b"5", b"30"):
        line = b"Content-Length: " + length + b"\r\n"
        yield f"and length {length.decode()}", LINE + HOST + coding + line + b"\r\n0\r\n\r\n"
        yield f"after length {length.decode()}", LINE + HOST + line + coding + b"\r\n0\r\n\r\n"
    for method in (b"GET", b"POST", b"HEAD", b"DELETE"):
        yield f"in 1.0, {method.decode()}", method + b" /first HTTP/1.0\r\n" + HOST + coding + b"\r\n0\r\n\r\n"


def chunks() -> Iterator[tuple[str, bytes]]:
    sizes = [
        b"", b" 3", b"3 ", b"3\t", b"+3", b"-3", b"0x3", b"3x", b"g", b"3;a", b"3;a=b", b"3;", b"3 ;a", b"3,3",
        b"03", b"003", b"00", b"000", b"123456789", b"ffffffffffffffff", b"3\x00", b"\x003", b"3\xa0", b"3.0",
        b"3\r", b"\xef\xbc\x93", b"#3", b'"3"',
    ]  # fmt: skip
    for size in sizes:
        yield f"size {shown(size)}", CHUNKED + size + b"\r\nabc\r\n0\r\n\r\n"
        yield f"second size {shown(size)}", CHUNKED + b"1\r\nz\r\n" + size + b"\r\nabc\r\n0\r\n\r\n"
    bodies = {
        "LF after size": b"3\nabc\r\n0\r\n\r\n", "CR after size": b"3\rabc\r\n0\r\n\r\n",
        "LF after data": b"3\r\nabc\n0\r\n\r\n", "nothing after data": b"3\r\nabc0\r\n\r\n",
        "too long data": b"3\r\nabcd\r\n0\r\n\r\n", "LF at the end": b"3\r\nabc\r\n0\r\n\n",
        "LF after last size": b"3\r\nabc\r\n0\n\r\n", "trailer": b"3\r\nabc\r\n0\r\nX: y\r\n\r\n",
        "extension at the end": b"0;a=b\r\n\r\n", "trailer with length": b"0\r\nContent-Length: 5\r\n\r\n",
        "data after last size": b"0\r\nabc\r\n\r\n", "two bytes for CRLF": b"3\r\nabcXX0\r\n\r\n",
        "empty line first": b"\r\n3\r\nabc\r\n0\r\n\r\n", "many tiny": b"1\r\nz\r\n" * 5000 + b"0\r\n\r\n",
        "space at the end": b"0 \r\n\r\n",
    }  # fmt: skip
    yield from ((name, CHUNKED + body) for name, body in bodies.items())


def strangers() -> Iterator[tuple[str, bytes]]:
    """Other protocols, wishes that cannot be met, and heads that are too much."""
    good = b"GET / HTTP/1.1\r\n" + HOST
    found = {
        "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "SSLv2 hello": b"\x80\x2e\x01\x00\x02",
        "SSH": b"SSH-2.0-OpenSSH_9.2\r\n", "SOCKS4": b"\x04\x01\x00\x50", "SOCKS5": b"\x05\x01\x00",
        "PROXY v1": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + good + b"\r\n", "PROXY v2": b"\r\n\r\n\x00\r\nQUIT\n",
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "SMTP": b"EHLO gateway\r\n\r\n", "JSON": b'{"a": 1}\r\n',
        "HTTP/0.9": b"GET /\r\n\r\n", "an answer": b"HTTP/1.1 200 OK\r\n\r\n", "memcached": b"stats\r\n",
        "redis": b"*1\r\n$4\r\nPING\r\n", "expects more": good + b"Expect: 200-ok\r\n\r\n",
        "expects two": good + b"Expect: 100-continue, x\r\n\r\n",
        "expects twice": good + b"Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n",
        "expects nothing": good + b"Expect:\r\n\r\n", "65 headers": good + b"A: b\r\n" * 64 + b"\r\n",
        "10,000 headers": good + b"A: b\r\n" * 10_000 + b"\r\n",
        "long header": good + b"A: " + b"b" * 17_000 + b"\r\n\r\n",
        "long name": good + b"A" * 17_000 + b": b\r\n\r\n",
        "long target": b"GET /" + b"a" * 4_096 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        "endless line": b"GET /" + b"a" * 20_000, "endless method": b"A" * 20_000,
        "long query": b"GET /?" + b"a=b&" * 2_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    }  # fmt: skip
    yield from found.items()


CLASSES: Final = {
    "request line": request_lines,
    "method": methods,
    "target": targets,
    "version": versions,
    "line ends": line_ends,
    "header name": header_names,
    "header value": header_values,
    "host": hosts,
    "content length": lengths,
    "transfer coding": codings,
    "chunks": chunks,
    "stranger": strangers,
}
CASES: Final = {f"{name}/{what}": data for name, make in CLASSES.items() for what, data in make()}


def mutate(random: random.Random) -> bytes:
    """A case with harmless company: more headers, other cases, another path. What was wrong with it stays wrong."""
    data = random.choice(list(CASES.values()))
    for _ in range(random.randrange(1, 4)):
        name, value = (
            random.choice([b"Accept", b"User-Agent", b"X-A", b"Cookie"]),
            random.choice([b"", b"*/*", b"a=b; c=d"]),
        )
        line = (
            random.choice([name, name.lower(), name.upper()]) + random.choice([b": ", b":", b":\t"]) + value + b"\r\n"
        )
        data = data.replace(HOST, random.choice([HOST + line, line + HOST]), 1)
    return data.replace(b"/first", random.choice([b"/first", b"/a/b?c=d", b"/%41"]), 1) + random.choice(
        [b"", SECOND, b"x"]
    )
