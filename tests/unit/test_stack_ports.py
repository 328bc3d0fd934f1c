"""Ports that are taken are all named at once, with the settings that change them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.errors import PortTaken
from millrace.stack.part import Part, Port
from millrace.stack.ports import free_ports, require_free


def _part(home: Path, name: str, number: int) -> Part:
    port = Port(number, f"MILLRACE_{name.upper()}_PORT")
    return Part(name, ("true",), dict, home, home, lambda record: True, port=port)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_every_taken_port_is_named_with_its_setting_in_one_message(
    tmp_path: Path, taken: int
) -> None:
    (free,) = free_ports(1)
    parts = [_part(tmp_path, "gateway", taken), _part(tmp_path, "airflow", taken)]
    with pytest.raises(PortTaken) as caught:
        require_free([*parts, _part(tmp_path, "postgres", free)])
    message = str(caught.value)
    assert f"port {taken} for gateway is taken" in message
    assert "set MILLRACE_GATEWAY_PORT" in message
    assert f"port {taken} for airflow is taken" in message
    assert "set MILLRACE_AIRFLOW_PORT" in message
    assert "postgres" not in message


def test_a_listener_on_every_interface_takes_the_port_too(tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as server:
        number = server.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {number} for gateway is taken"):
            require_free([_part(tmp_path, "gateway", number)])


def test_one_port_given_to_two_parts_is_refused(tmp_path: Path) -> None:
    (free,) = free_ports(1)
    parts = [_part(tmp_path, "gateway", free), _part(tmp_path, "airflow", free)]
    with pytest.raises(PortTaken, match="given to another part too"):
        require_free(parts)


def test_free_ports_are_different_and_usable(tmp_path: Path) -> None:
    numbers = free_ports(4)
    assert len(set(numbers)) == 4
    require_free([_part(tmp_path, f"part{n}", n) for n in numbers])
