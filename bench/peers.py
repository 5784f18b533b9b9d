"""Other gateways, measured beside ours: LiteLLM and Portkey, newly installed, with their own defaults."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from bench.environments import make_environment, make_node_environment
from bench.processes import GATEWAY_CORE, GatewayPlace, System, free_port, pin_command, run_process, wait_until_answers

LITELLM: Final = "litellm[proxy]"
PORTKEY: Final = "@portkey-ai/gateway"
_START_S: Final = 300.0  # LiteLLM imports for 7 s on an idle core, and for a minute on a busy one
_Start = Callable[[], AbstractContextManager[System]]


@frozen
class Peer:
    """Another gateway that is installed: its name, its version, and what starts it."""

    name: str
    version: str
    start: _Start


def install_peers(place: GatewayPlace) -> Iterator[Peer]:
    """Install each in an environment of its own below the run's folder. A failure is printed, and that peer skipped."""
    for install in (install_litellm, install_portkey):
        peer = _try_install(install, place)
        if peer is not None:
            yield peer


def _try_install(install: Callable[[GatewayPlace], Peer], place: GatewayPlace) -> Peer | None:
    try:
        return install(place)
    except RuntimeError as error:
        print(f"{install.__name__} failed: {error}", flush=True)
        return None


@contextmanager
def running_peers(peers: Sequence[Peer]) -> Iterator[list[System]]:
    """All of them, for the duration of the block."""
    with ExitStack() as stack:
        yield [stack.enter_context(peer.start()) for peer in peers]


def install_litellm(place: GatewayPlace) -> Peer:
    """LiteLLM's proxy from the package index, on the Python the gateway runs on."""
    python = make_environment(place.python, place.folder / "litellm", [LITELLM])
    library = next(Path(python).parent.parent.glob("lib/*/site-packages"))
    version = next(found.version for found in distributions(name="litellm", path=[str(library)]))
    return Peer("LiteLLM", version, lambda: _run_litellm(place, python))


@contextmanager
def _run_litellm(place: GatewayPlace, python: str) -> Iterator[System]:
    """One worker. It does not start without a key."""
    config = place.folder / "litellm.json"  # which is YAML, too
    model = {"model": "openai/*", "api_base": f"http://127.0.0.1:{place.upstream_port}/v1", "api_key": "sk-bench"}
    config.write_text(json.dumps({"model_list": [{"model_name": "*", "litellm_params": model}]}))
    port, key = free_port(), f"sk-{secrets.token_hex(32)}"
    program = str(Path(python).with_name("litellm"))
    command = [program, "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]
    env = {"LITELLM_MASTER_KEY": key, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # it would fetch its prices
    with _run_peer(place, "LiteLLM", port, "/health/liveliness", command, env) as system:
        system.headers = {"Authorization": f"Bearer {key}"}
        yield system


def install_portkey(place: GatewayPlace) -> Peer:
    """Portkey's gateway from the npm registry."""
    programs = make_node_environment(place.folder / "portkey", PORTKEY)
    facts: dict[str, Any] = json.loads((Path(programs).parent / PORTKEY / "package.json").read_text())
    return Peer("Portkey", facts["version"], lambda: _run_portkey(place, f"{programs}/gateway"))


@contextmanager
def _run_portkey(place: GatewayPlace, program: str) -> Iterator[System]:
    """It takes the provider from headers, and must be told to trust a loopback address.

    Version 1.15.2 answers every stream with a 500 on Node 20 ("TypeError: immutable"), whatever the provider sends:
    https://github.com/Portkey-AI/gateway/issues/1550. An older @hono/node-server, as issue 1389 advises, was tried and
    did not help, so its streams are not measured.
    """
    port = free_port()
    command = [program, f"--port={port}", "--headless"]
    with _run_peer(place, "Portkey", port, "/", command, {"TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}) as system:
        custom_host = f"http://127.0.0.1:{place.upstream_port}/v1"
        system.headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": custom_host}
        yield system


@contextmanager
def _run_peer(
    place: GatewayPlace, name: str, port: int, path: str, command: Sequence[str], env: Mapping[str, str]
) -> Iterator[System]:
    """A peer on the gateway's core; ready when ``path`` answers."""
    log, started = place.folder / f"{name}-{port}.log", time.monotonic()
    words = pin_command(GATEWAY_CORE, command)
    with (
        log.open("wb") as out,
        run_process(words, env=os.environ | env, stdout=out, stderr=subprocess.STDOUT) as process,
    ):
        try:
            wait_until_answers(port, path, process, _START_S)
        except RuntimeError as error:
            raise RuntimeError(f"{name}: {error}\n{log.read_text()[-2000:]}") from error
        yield System(name, port, process, prefix="", ready_s=time.monotonic() - started, log=log)
