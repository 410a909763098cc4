import codecs
import gzip
import json
from pathlib import Path

import pytest

from hashfed.data import ClientTexts, read_texts
from hashfed.errors import HashfedError

TEXTS = ["I know", "naïve café", "привет мир", "你好", "and more of it"]
ENCODINGS = ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]
MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


def problem(source: Path) -> str:
    with pytest.raises(HashfedError) as caught:
        read_texts(str(source))
    message = str(caught.value)
    assert message.isprintable()
    return message


def lines(*texts: str, end: str = "\n") -> str:
    return "".join(text + end for text in texts)


def json_line(text: str) -> str:
    return json.dumps({"client": "a", "texts": [text]}, ensure_ascii=False)


@pytest.mark.parametrize("mark", MARKS)
def test_a_byte_order_mark_says_how_to_read(mark: str, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_bytes(MARKS[mark] + lines(*TEXTS, end="\r\n").encode(mark))
    data = MARKS[mark] + lines(*map(json_line, TEXTS)).encode(mark)
    (tmp_path / "a.jsonl").write_bytes(data)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(data))
    for source in ("texts", "a.jsonl", "a.jsonl.gz"):
        assert read_texts(str(tmp_path / source)) == [ClientTexts("a", TEXTS)]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("texts", [["a line", "x"], ["привет мир, как дела?", "что это"], ["naïve café"]])
@pytest.mark.parametrize("kind", ["a.txt", "a.jsonl", "a.jsonl.gz"])
def test_wide_text_without_a_mark_is_refused_with_what_converts_it(
    encoding: str, texts: list[str], kind: str, tmp_path: Path
) -> None:
    text = lines(*texts) if kind == "a.txt" else lines(*map(json_line, texts))
    data = text.encode(encoding)
    (tmp_path / kind).write_bytes(gzip.compress(data) if kind.endswith("gz") else data)
    name = encoding.upper().replace("-LE", "LE").replace("-BE", "BE")
    assert f"iconv -f {name} -t UTF-8" in problem(tmp_path)
    assert str(tmp_path / kind) in problem(tmp_path)


def test_text_that_is_cut_within_a_character_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(codecs.BOM_UTF16_LE + "ab".encode("utf-16-le")[:-1])
    assert problem(tmp_path) == f"{tmp_path / 'a.txt'}: not UTF-16 text (byte 4)"
    data = codecs.BOM_UTF16_LE + lines(json_line("x")).encode("utf-16-le")
    (tmp_path / "a.jsonl").write_bytes(data + "{".encode("utf-16-le")[:-1])
    assert problem(tmp_path / "a.jsonl").startswith(f"{tmp_path / 'a.jsonl'}, line 2: not UTF-16 text (")


@pytest.mark.parametrize("code", [0, 1, 6, 0x0E, 0x1A, 0x1F])
def test_characters_that_are_in_no_text_are_refused_by_file_and_line(code: int, tmp_path: Path) -> None:
    said = f"holds the control character U+{code:04X}, which is in no text"
    path = tmp_path / "a.txt"
    path.write_text(f"first\nsec{chr(code)}ond\n")
    remedy = "remove it, or leave the file out if it is no text"
    assert problem(tmp_path) == f"{path}: line 2 {said}; {remedy}"
    path = tmp_path / "a.jsonl"
    item = {"client": "ann", "texts": ["x", f"sec{chr(code)}ond"]}
    path.write_text("\n" + json.dumps(item))
    if code == 0:
        assert problem(path) == f"{path}, line 2: client 'ann': a text {said}; remove it"
    else:  # one message of thousands, as a terminal left it
        assert read_texts(str(path)) == [ClientTexts("ann", ["x", f"sec{chr(code)}ond"])]
    path.write_text(json.dumps({"client": f"a{chr(code)}", "texts": ["x"]}))
    assert problem(path).endswith(f"its name {said}; remove it")


def test_a_nul_between_lines_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(json_line("x").encode() + b"\n" + bytes(100) + b"\n")
    assert problem(path).startswith(f"{path}, line 2: ")


@pytest.mark.parametrize("code", ["0b", "0c", "1c", "1d", "1e", "85", "2028", "2029", "07", "1b"])
def test_only_line_ends_part_texts(code: str, tmp_path: Path) -> None:
    """What ``str.splitlines`` takes for more of them, and what terminals and pages are steered with."""
    text = f"one{chr(int(code, 16))}two"
    (tmp_path / "texts").mkdir()
    for end in ("\n", "\r\n", "\r"):
        (tmp_path / "texts" / "a.txt").write_bytes(lines(text, "three", end=end).encode())
        assert read_texts(str(tmp_path / "texts")) == [ClientTexts("a", [text, "three"])]
        # In JSON only escapes may be control characters.
        raw = json.dumps(text) if int(code, 16) < 32 else f'"{text}"'
        item = f'{{"client": "a", "texts": [{raw}, "three"]}}'
        (tmp_path / "b.jsonl").write_bytes(lines(item, item, end=end).encode())
        assert read_texts(str(tmp_path / "b.jsonl")) == [ClientTexts("a", [text, "three"] * 2)]


def test_marks_at_lines_of_files_that_were_joined_are_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes((lines(json_line("x"), json_line("y"))).encode("utf-8-sig") * 2)
    assert read_texts(str(tmp_path)) == [ClientTexts("a", ["x", "y"] * 2)]
