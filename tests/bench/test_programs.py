import sys

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
