"""What counts as piped in."""

from __future__ import annotations

import io
import os
import socket

from fwd_cli.prompts import is_piped


def test_a_pipe_and_a_socket_are_piped_but_no_null_device_and_no_terminal() -> None:
    """What somebody gave us is read; what would wait for a person is not."""
    receiving, sending = os.pipe()
    os.close(sending)
    left, right = socket.socketpair()
    with open(receiving) as pipe, open(os.devnull) as null, left, right, left.makefile() as channel:
        assert is_piped(pipe)
        assert is_piped(channel)
        assert not is_piped(null)
    assert not is_piped(io.StringIO())
