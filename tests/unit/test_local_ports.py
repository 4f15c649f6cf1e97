import socket

import pytest

from deploy.local.errors import PortTakenError
from deploy.local.ports import BLOCK, HOST, PortBlock, find_base_port


def test_every_port_of_a_block_is_known_and_used_once() -> None:
    assert sorted(PortBlock.OFFSETS.values()) == list(range(BLOCK))


def test_a_found_block_is_free() -> None:
    assert PortBlock(find_base_port()).taken() == []


def test_a_taken_port_names_the_server_the_port_and_the_option() -> None:
    block = PortBlock(find_base_port())
    with socket.create_server((HOST, block.of("s3-filer"))):
        with pytest.raises(PortTakenError, match=rf"s3-filer \(port {block.base + 8}\).*--base-port"):
            block.check_free()
        assert block.taken("s3") == ["s3-filer"]
        assert block.taken("kafka") == []
