"""Names, addresses, proxies and TLS, each with the ways it fails."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from fwd_server.http1.client.dial import Address, connect, interleave, tls_context, within
from fwd_server.http1.client.pool import Origin, Pool, Proxies, Resolver, Timeouts, TransportError

Run = Callable[[Coroutine[Any, Any, Any]], Any]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
V4, V6 = socket.AF_INET, socket.AF_INET6


async def answers(line: Any) -> None:
    while await line.request():
        await line.say(OK)


async def silence(line: Any) -> None:
    await line.disconnected()


async def ask_all(pool: Pool, origin: Origin, **timeouts: float) -> bytes:
    """One exchange, and the pool is closed."""
    try:
        response = await pool.send(origin, "POST", "/", [], b"secret", Timeouts(**timeouts))
        return await response.read_all(100)
    finally:
        await pool.aclose()


async def failure(pool: Pool, origin: Origin, **timeouts: float) -> TransportError:
    """The error of an exchange that must not come to an answer."""
    with pytest.raises(TransportError) as caught:
        await ask_all(pool, origin, **timeouts)
    return caught.value


def resolver_to(*addresses: Address) -> Resolver:
    """A resolver that knows one answer."""

    async def lookup(host: str, port: int) -> Sequence[Address]:
        return addresses

    return Resolver(lookup)


@contextlib.contextmanager
def black_hole() -> Any:
    """An address that takes no more connections: its queue is full, and further SYNs are dropped."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# Names


def test_names_are_kept_for_a_while_and_asked_once(run: Run) -> None:
    """Any number who wait share a lookup, and its answer is used again until `keep_s` is over (F3)."""
    asked: list[str] = []

    async def lookup(host: str, port: int) -> Sequence[Address]:
        asked.append(host)
        await asyncio.sleep(0)
        return [(V4, ("192.0.2.1", port))]

    async def main() -> None:
        resolver, origin = Resolver(lookup, keep_s=0.5), Origin("http", "a.test", 80)
        found = await asyncio.gather(*(resolver.resolve(origin, 1) for _ in range(5)))
        assert found == [[(V4, ("192.0.2.1", 80))]] * 5
        await resolver.resolve(origin, 1)
        assert asked == ["a.test"]
        await asyncio.sleep(0.51)
        await resolver.resolve(origin, 1)
        assert asked == ["a.test", "a.test"]

    run(main())


@pytest.mark.parametrize("outcome", [OSError("no such host"), UnicodeError("label too long"), []])
def test_a_name_without_an_address(run: Run, outcome: Any) -> None:
    """No address is `dns_failed`, and is not kept (F3)."""
    asked = 0

    async def lookup(host: str, port: int) -> Sequence[Address]:
        nonlocal asked
        asked += 1
        if isinstance(outcome, Exception):
            raise outcome
        return list(outcome)

    async def main() -> None:
        resolver = Resolver(lookup)
        for _ in range(2):
            error = await failure(Pool(resolver=resolver), Origin("http", "a.test", 80))
            assert error.code == "dns_failed"
            assert "a.test" in str(error)
        assert asked == 2

    run(main())


def test_a_slow_lookup(run: Run) -> None:
    """A lookup that takes longer than `connect_s` fails; whoever left, it ends with the pool (F3)."""

    async def lookup(host: str, port: int) -> Sequence[Address]:
        await asyncio.Event().wait()
        raise AssertionError

    async def main() -> None:
        error = await failure(Pool(resolver=Resolver(lookup)), Origin("http", "a.test", 80), connect_s=0.02)
        assert error.code == "dns_failed"
        assert len(asyncio.all_tasks()) <= 2

    run(main())


def test_a_failed_lookup_nobody_waits_for(run: Run) -> None:
    """A lookup that fails after its last waiter left is not reported as a lost exception."""

    async def main() -> None:
        lookup_ends, reports = asyncio.Event(), list[Any]()
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))

        async def lookup(host: str, port: int) -> Sequence[Address]:
            await lookup_ends.wait()
            raise OSError("too late")

        resolver = Resolver(lookup)
        with pytest.raises(TransportError):
            await resolver.resolve(Origin("http", "a.test", 80), 0.01)
        lookup_ends.set()
        await asyncio.sleep(0.01)
        assert reports == []

    run(main())


def test_closing_during_a_lookup(run: Run) -> None:
    """Who waits for a name when the pool closes is told so, and not cancelled."""

    async def main() -> None:
        async def lookup(host: str, port: int) -> Sequence[Address]:
            await asyncio.Event().wait()
            raise AssertionError

        pool = Pool(resolver=Resolver(lookup))
        task = asyncio.create_task(pool.send(Origin("http", "a.test", 80), "GET", "/", [], b"", Timeouts()))
        await asyncio.sleep(0.01)
        await pool.aclose()
        with pytest.raises(TransportError):
            await task

    run(main())


def test_the_system_knows_localhost(run: Run, upstream: Any) -> None:
    """Without a resolver of our own the system is asked."""

    async def main() -> None:
        async with upstream(answers) as up:
            assert await ask_all(Pool(), Origin("http", "localhost", up.origin.port)) == b"hi"

    run(main())


# Addresses


def test_families_take_turns() -> None:
    """The preferred family begins, then they alternate (RFC 8305)."""
    a, b, c, d = ((V6, "a"), (V6, "b"), (V6, "c"), (V4, "d"))
    assert interleave([a, b, c, d]) == [a, d, b, c]
    assert interleave([d]) == [d]


def test_a_refused_connection(run: Run) -> None:
    """Nobody listens: `connect_failed`, at once (F1)."""

    async def main() -> None:
        error = await failure(Pool(), Origin("http", "127.0.0.1", free_port()))
        assert error.code == "connect_failed"
        assert "refused" in str(error)

    run(main())


def test_a_black_hole(run: Run) -> None:
    """Nobody answers: `connect_timeout` after `connect_s` (F2)."""

    async def main() -> None:
        with black_hole() as (host, port):
            error = await failure(Pool(), Origin("http", host, port), connect_s=0.05)
            assert error.code == "connect_timeout"
            assert "0.05 s" in str(error)

    run(main())


def test_the_next_address_after_a_refusal(run: Run, upstream: Any) -> None:
    """An address that refuses costs nothing but a round trip."""

    async def main() -> None:
        async with upstream(answers) as up:
            good = (V4, ("127.0.0.1", up.origin.port))
            resolver = resolver_to((V4, ("127.0.0.1", free_port())), good)
            assert await ask_all(Pool(resolver=resolver), Origin("http", "a.test", 80)) == b"hi"

    run(main())


def test_the_next_address_beside_a_black_hole(run: Run, upstream: Any) -> None:
    """An address that does not answer is overtaken by the next one (happy eyeballs)."""

    async def main() -> None:
        async with upstream(answers) as up:
            with black_hole() as dark:
                resolver = resolver_to((V4, dark), (V4, ("127.0.0.1", up.origin.port)))
                assert await ask_all(Pool(resolver=resolver), Origin("http", "a.test", 80)) == b"hi"

    run(main())


def test_all_addresses_fail(run: Run) -> None:
    """The last failure is the one that is reported."""

    async def main() -> None:
        closed = [(V4, ("127.0.0.1", free_port())) for _ in range(3)]
        with pytest.raises(ConnectionRefusedError):
            await connect(closed, 5)

    run(main())


def test_a_cancelled_connect_leaves_no_socket(run: Run) -> None:
    """Cancelled while several addresses are tried, every socket is closed (warnings are errors here)."""

    async def main() -> None:
        with black_hole() as dark:
            task = asyncio.create_task(connect([(V4, dark)] * 3, 5))
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0)
            assert len(asyncio.all_tasks()) <= 2

    run(main())


def test_two_addresses_that_both_connect(run: Run, upstream: Any) -> None:
    """When a second attempt succeeds as well, its socket is closed."""

    async def main() -> None:
        async with upstream(silence) as up:
            address = (V4, ("127.0.0.1", up.origin.port))
            for delay in range(40):
                task = asyncio.create_task(connect([address, address], 5))
                asyncio.get_running_loop().call_later(delay / 20_000, task.cancel)
                outcome = (await asyncio.gather(task, return_exceptions=True))[0]
                if isinstance(outcome, socket.socket):
                    outcome.close()
            await asyncio.sleep(0.01)
            assert all(task.done() for task in up.tasks)

    run(main())


def test_within_stops_what_it_waits_for(run: Run) -> None:
    """Work that takes too long has stopped when the error is raised; a result or an error goes through."""

    async def main() -> None:
        stopped: list[bool] = []

        async def forever() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                stopped.append(True)

        async def broken() -> None:
            raise KeyError

        with pytest.raises(TimeoutError):
            await within(0.01, forever())
        assert stopped == [True]
        with pytest.raises(KeyError):
            await within(1, broken())
        await within(1, asyncio.sleep(0))

    run(main())


# TLS

LEAF = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def issue(folder: Path, name: str, san: str, days: int) -> None:
    """Write `name`.pem, certificate and key, signed by our authority; its days may be over."""
    key, request, certificate = (folder / f"{name}.{end}" for end in ("key", "csr", "crt"))
    openssl("req", *LEAF, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
    (folder / f"{name}.ext").write_text(f"subjectAltName={san}\nauthorityKeyIdentifier=keyid\n")
    signing = ["-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-CAcreateserial"]
    openssl(
        "x509",
        "-req",
        "-in",
        request,
        *signing,
        "-days",
        str(days),
        "-extfile",
        folder / f"{name}.ext",
        "-out",
        certificate,
    )
    (folder / f"{name}.pem").write_text(certificate.read_text() + key.read_text())


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority of our own (ca.crt) and good, expired, foreign and self-signed certificates."""
    folder = tmp_path_factory.mktemp("certificates")
    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    names = ["-keyout", folder / "ca.key", "-out", folder / "ca.crt", "-subj", "/CN=ca", "-days", "2"]
    openssl("req", "-x509", *LEAF, *usage, *names)
    issue(folder, "good", "DNS:localhost,IP:127.0.0.1", 2)
    issue(folder, "expired", "DNS:localhost,IP:127.0.0.1", -1)
    issue(folder, "foreign", "DNS:example.com", 2)
    alone = folder / "alone.pem"
    openssl(
        "req", "-x509", *LEAF, "-keyout", alone, "-out", folder / "alone.crt", "-subj", "/CN=localhost", "-days", "2"
    )
    alone.write_text(alone.read_text() + (folder / "alone.crt").read_text())
    return folder


def trusting(folder: Path) -> ssl.SSLContext:
    """The client's own context, which trusts our authority as well."""
    context = tls_context()
    context.load_verify_locations(folder / "ca.crt")
    return context


@contextlib.asynccontextmanager
async def tls_server(pem: Path, seen: list[bytes], old: bool = False) -> AsyncIterator[Origin]:
    """Answers each request over TLS and notes what it read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    if old:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version, context.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_1

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            seen.append(data)
            writer.write(OK)
        writer.close()

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)  # refused handshakes are meant
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield Origin("https", "localhost", server.sockets[0].getsockname()[1])


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_tls(run: Run, certificates: Path, host: str) -> None:
    """A certificate that fits is accepted, for a name and for an address."""

    async def main() -> None:
        seen: list[bytes] = []
        async with tls_server(certificates / "good.pem", seen) as origin:
            pool = Pool(ssl_context=trusting(certificates))
            assert await ask_all(pool, Origin("https", host, origin.port)) == b"hi"
            assert b"".join(seen).endswith(b"secret")

    run(main())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("expired", "certificate has expired"),
        ("foreign", "Hostname mismatch"),
        ("alone", "self.signed certificate"),
    ],
)
def test_a_bad_certificate(run: Run, certificates: Path, name: str, message: str) -> None:
    """A certificate that does not fit ends the connection before anything was sent (F4, T39)."""

    async def main() -> None:
        seen: list[bytes] = []
        async with tls_server(certificates / f"{name}.pem", seen) as origin:
            error = await failure(Pool(ssl_context=trusting(certificates)), origin)
            assert error.code == "tls_failed"
            assert re.search(message, str(error))
            assert seen == []

    run(main())


def test_an_authority_the_system_does_not_trust(run: Run, certificates: Path) -> None:
    """Only what the system trusts is trusted (T39)."""

    async def main() -> None:
        seen: list[bytes] = []
        async with tls_server(certificates / "good.pem", seen) as origin:
            assert (await failure(Pool(), origin)).code == "tls_failed"
            assert seen == []

    run(main())


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_that_is_too_old(run: Run, certificates: Path) -> None:
    """An upstream that speaks no TLS 1.2 is not spoken to (T39)."""

    async def main() -> None:
        seen: list[bytes] = []
        async with tls_server(certificates / "good.pem", seen, old=True) as origin:
            assert (await failure(Pool(ssl_context=trusting(certificates)), origin)).code == "tls_failed"
            assert seen == []

    run(main())


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_no_tls_at_all(run: Run, upstream: Any, said: bytes) -> None:
    """A plain answer, or none, to a handshake is `tls_failed` (F4)."""

    async def script(line: Any) -> None:
        await line.loop.sock_recv(line.sock, 10)
        await line.say(said)

    async def main() -> None:
        async with upstream(script) as up:
            assert (await failure(Pool(), Origin("https", "localhost", up.origin.port))).code == "tls_failed"

    run(main())


def test_a_handshake_that_hangs(run: Run, upstream: Any) -> None:
    """A handshake is given `connect_s` of its own."""

    async def main() -> None:
        async with upstream(silence) as up:
            error = await failure(Pool(), Origin("https", "localhost", up.origin.port), connect_s=0.05)
            assert error.code == "connect_timeout"
            await asyncio.gather(*up.tasks)

    run(main())


def test_a_cancelled_handshake(run: Run, upstream: Any) -> None:
    """Cancelled in its handshake, a connection is closed at once."""

    async def main() -> None:
        async with upstream(silence) as up:
            task = asyncio.create_task(ask_all(Pool(), Origin("https", "localhost", up.origin.port)))
            while not up.tasks:
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.gather(*up.tasks)

    run(main())


# Proxies


async def proxy_script(line: Any, seen: list[bytes], reply: bytes, target: int) -> None:
    """Answer CONNECT with `reply`, then carry bytes both ways."""
    seen.append(await line.request())
    await line.say(reply)
    reader, writer = await asyncio.open_connection("127.0.0.1", target)

    async def back() -> None:
        while data := await reader.read(65536):
            await line.say(data)

    backwards = asyncio.create_task(back())
    with contextlib.suppress(ConnectionError):
        while data := await line.loop.sock_recv(line.sock, 65536):
            writer.write(data)
    backwards.cancel()
    writer.close()


def test_through_a_proxy(run: Run, upstream: Any, certificates: Path) -> None:
    """HTTPS goes through the tunnel the proxy opens; the proxy's password goes to the proxy only."""

    async def main() -> None:
        inside: list[bytes] = []
        outside: list[bytes] = []
        async with tls_server(certificates / "good.pem", inside) as origin:

            async def script(line: Any) -> None:
                await proxy_script(line, outside, b"HTTP/1.1 200 Connection established\r\n\r\n", origin.port)

            async with upstream(script) as up:
                proxies = Proxies.from_env({"HTTPS_PROXY": f"http://me:p%40ss@127.0.0.1:{up.origin.port}"})
                pool = Pool(ssl_context=trusting(certificates), proxies=proxies)
                assert await ask_all(pool, origin) == b"hi"
        target = origin.authority.encode()
        assert outside == [
            b"CONNECT " + target + b" HTTP/1.1\r\nHost: " + target + b"\r\n"
            b"Proxy-Authorization: Basic bWU6cEBzcw==\r\n\r\n"
        ]
        assert b"Proxy-Authorization" not in b"".join(inside)

    run(main())


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "connect_failed"),
        (b"HTTP/1.1 200", "connect_failed"),
        (b"SSH-2.0-x\r\n\r\n", "bad_response"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 40_000, "connect_failed"),
        (None, "connect_timeout"),
    ],
)
def test_a_proxy_that_does_not_help(run: Run, upstream: Any, reply: bytes | None, code: str) -> None:
    """A refusal, junk, an end or silence of the proxy is an error, and nothing is sent to the upstream."""

    async def script(line: Any) -> None:
        await line.request()
        if reply is None:
            await line.disconnected()
        else:
            await line.say(reply)

    async def main() -> None:
        async with upstream(script) as up:
            pool = Pool(proxies=Proxies(https=up.origin))
            timeouts = {"connect_s": 0.05 if reply is None else 5.0}
            assert (await failure(pool, Origin("https", "a.test", 443), **timeouts)).code == code
            await asyncio.gather(*up.tasks, return_exceptions=True)

    run(main())


def test_proxies_from_the_environment() -> None:
    """Lower case wins, a scheme may be missing, and a password is not shown."""
    proxies = Proxies.from_env({"HTTPS_PROXY": "http://upper", "https_proxy": "u:hunter2@lower:3128"})
    assert proxies.https == Origin("http", "lower", 3128)
    assert proxies.authorization is not None
    assert proxies.authorization not in repr(proxies)
    assert Proxies.from_env({"NO_PROXY": "*"}) == Proxies()


@pytest.mark.parametrize("url", ["https://u:hunter2@x", "socks5://x", "http://"])
def test_a_proxy_that_is_not_supported(url: str) -> None:
    """What cannot work is said at start, without quoting the URL."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the message varies
        Proxies.from_env({"HTTPS_PROXY": url})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "url", "direct"),
    [
        ("*", "https://api.openai.com", True),
        ("openai.com", "https://api.openai.com", True),
        ("openai.com", "https://openai.com", True),
        (".openai.com", "https://api.openai.com", True),
        ("*.openai.com", "https://api.openai.com", True),
        (" X.test , OpenAI.com ", "https://api.openai.com", True),
        ("penai.com", "https://api.openai.com", False),
        ("api.openai.com:8443", "https://api.openai.com", False),
        ("api.openai.com:443", "https://api.openai.com", True),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("10.0.0.0/8", "https://api.openai.com", False),
        ("::1", "https://[::1]", True),
        ("[::1]:443", "https://[::1]", True),
        ("[::1]:8443", "https://[::1]", False),
        ("fd00::/8", "https://[fd00::5]", True),
        ("", "https://api.openai.com", False),
        ("", "http://api.openai.com", True),
    ],
)
def test_no_proxy(entry: str, url: str, direct: bool) -> None:
    """NO_PROXY names domains with all below them, addresses and networks, with a port or without."""
    proxies = Proxies.from_env({"HTTPS_PROXY": "http://proxy", "NO_PROXY": entry})
    assert (proxies.to(Origin.parse(url)) is None) == direct
