import os
import select
import sys
from pathlib import Path

import pytest

from hashfed.bench.programs import results
from hashfed.errors import HashfedError
from small import PATIENCE


def test_the_last_line_of_each_is_read() -> None:
    commands = [[sys.executable, "-c", f"print('half a line'); print({number})"] for number in (1, 2)]
    assert results("two", commands, PATIENCE) == [1, 2]


@pytest.mark.parametrize(("words", "last"), [("print('1\\nno\\n')", "no"), ("", "")])
def test_another_last_line_is_named(words: str, last: str) -> None:
    with pytest.raises(HashfedError, match=f"peer printed no JSON last: {last}$"):
        results("peer", [[sys.executable, "-c", words]])


def test_what_a_program_started_ends_with_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        words = f"exec 3> '{pipe}'; sleep 3600 > {os.devnull} 2>&1 & echo 1"
        assert results("shell", [["sh", "-c", words]], PATIENCE) == [1]
        # The other end is closed once nobody holds it any more.
        assert select.select([reader], [], [], PATIENCE)[0]
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)
