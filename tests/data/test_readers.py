import gzip
import importlib.resources
import importlib.util
import json
import os
from pathlib import Path

import pytest

from hashfed.data import ClientTexts, read_texts
from hashfed.data.named import NAMED
from hashfed.errors import HashfedError, HashfedWarning

GOOD = b'{"client": "a", "texts": ["Hi there", "bye"]}\n{"client": "b", "texts": ["caf\xc3\xa9"]}\n'
PEOPLE = [ClientTexts("a", ["Hi there", "bye"]), ClientTexts("b", ["café"])]

needs_chitchat = pytest.mark.skipif(
    importlib.util.find_spec("chitchat_dataset") is None, reason="needs the package chitchat-dataset"
)


def problem(source: Path | str) -> str:
    """The one line with which a source is refused."""
    with pytest.raises(HashfedError) as caught:
        read_texts(str(source))
    message = str(caught.value)
    assert "\n" not in message
    return message


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["people.jsonl", "people.jsonl.gz"])
def test_json_lines(name: str, tmp_path: Path) -> None:
    assert read_texts(str(write(tmp_path / name, GOOD))) == PEOPLE


@pytest.mark.parametrize("content", [GOOD.rstrip(b"\n"), GOOD.replace(b"\n", b"\r\n"), b"\n" + GOOD + b" \n"])
def test_line_ends_and_blank_lines_do_not_matter(content: bytes, tmp_path: Path) -> None:
    assert read_texts(str(write(tmp_path / "people.jsonl", content))) == PEOPLE


def test_other_fields_of_a_line_are_ignored_and_counted(tmp_path: Path) -> None:
    line = b'{"id": 7, "client": "a", "texts": ["x"], "more": {"deep": [1]}}\n'
    path = write(tmp_path / "p.jsonl", line + b'{"client_id": 1, "client": "a", "texts": ["y"], "id": 8}\n')
    with pytest.warns(HashfedWarning) as caught:
        assert read_texts(str(path)) == [ClientTexts("a", ["x", "y"])]
    (warning,) = caught
    expected = "fields not read: id in 2 lines, client_id in 1 line, more in 1 line"
    assert str(warning.message) == f"data.source = {path}: {expected}"


def test_other_fields_without_end_are_one_line(tmp_path: Path) -> None:
    lines = [json.dumps({"client": "a", "texts": ["x"], f"id {number}": 1}) for number in range(3000)]
    path = write(tmp_path / "p.jsonl", "\n".join(lines).encode())
    with pytest.warns(HashfedWarning) as caught:
        read_texts(str(path))
    first = ", ".join(f"id {number} in 1 line" for number in (0, 1, 10, 100, 101))
    said = f"data.source = {path}: fields not read: {first}, others in 2,995 lines"
    assert [str(warning.message) for warning in caught] == [said]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("text", "texts"),
        ("Texts", "texts"),
        (" texts", "texts"),
        ("txts", "texts"),
        ("texst", "texts"),
        ("clinet", "client"),
        ("CLIENT", "client"),
        ("clients", "client"),
    ],
)
@pytest.mark.parametrize("beside", [True, False])
def test_a_misspelt_field_is_refused_with_the_one_that_is_meant(
    name: str, meant: str, beside: bool, tmp_path: Path
) -> None:
    item = {"client": "a", "texts": ["x"]} | {name: ["lost"]}
    if not beside:
        del item[meant]
    path = write(tmp_path / "p.jsonl", GOOD + json.dumps(item).encode())
    assert problem(path) == f'{path}, line 3: "{name}": no such field; did you mean "{meant}"?'


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (b'{"client": "a", "texts": ["x"], "texts": ["y"]}', "texts"),
        (b'{"client": "a", "te\\u0078ts": ["x"], "texts": ["y"]}', "texts"),
        (b'{"client": "a", "client": "a", "texts": ["x"]}', "client"),
        (b'{"client": "a", "texts": ["x"], "more": {"b": 1, "b": 1}}', "b"),
    ],
)
def test_a_field_that_is_there_twice_is_refused(line: bytes, name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", GOOD + line)
    assert problem(path) == f'{path}, line 3: "{name}" is there twice in one object'


def test_a_client_on_several_lines_is_one_client(tmp_path: Path) -> None:
    lines = [("a", ["1"]), ("b", ["2"]), ("a", ["3", "4"]), ("none", [])]
    content = "".join(json.dumps({"client": client, "texts": texts}) + "\n" for client, texts in lines)
    with pytest.warns(HashfedWarning, match="1 line without a text"):
        found = read_texts(str(write(tmp_path / "p.jsonl", content.encode())))
    assert found == [ClientTexts("a", ["1", "3", "4"]), ClientTexts("b", ["2"])]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"{", "not JSON"),
        (b"nonsense", "not JSON"),
        (b'{"client": "c", "texts": ["\xe9"]}', "not JSON ('utf-8' codec can't decode byte 0xe9"),
        (b"[]", 'needs an object with "client", a string, and "texts", a list'),
        (b'"text"', 'needs an object with "client", a string, and "texts", a list'),
        (
            b'{"user": "c", "texts": ["x"]}',
            'needs an object with "client", a string, and "texts", a list; it has "user"',
        ),
        (b'{"texts": ["x"]}', 'needs an object with "client", a string, and "texts", a list'),
        (b'{"client": 3, "texts": []}', 'needs an object with "client", a string, and "texts", a list'),
        (b'{"client": "c"}', "\"texts\" of client 'c' must be a list of strings"),
        (b'{"client": "c", "texts": "x"}', "\"texts\" of client 'c' must be a list of strings"),
        (b'{"client": "c", "texts": ["x", 1]}', "\"texts\" of client 'c' must be a list of strings"),
        (b'{"client": "c", "texts": [null]}', "\"texts\" of client 'c' must be a list of strings"),
    ],
)
@pytest.mark.parametrize("name", ["p.jsonl", "p.jsonl.gz"])
def test_a_wrong_line_is_named(name: str, line: bytes, expected: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, GOOD + b"\n" + line + b"\n" + GOOD)
    assert problem(path).startswith(f"{path}, line 4: {expected}")


def test_a_truncated_gzip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl.gz"
    whole = gzip.compress(GOOD * 500)
    path.write_bytes(whole[:-4])
    assert problem(path).startswith(f"{path}: damaged after line 1000 (")
    path.write_bytes(whole[:12])
    assert problem(path).startswith(f"{path}: damaged after line 0 (")


def test_a_gzip_file_with_changed_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl.gz"
    whole = bytearray(gzip.compress(GOOD * 500))
    whole[-6] ^= 255
    path.write_bytes(whole)
    assert problem(path).startswith(f"{path}: damaged after line 1000 (")
    whole[20:28] = b"\xff" * 8
    path.write_bytes(whole)
    assert problem(path).startswith(f"{path}: damaged after line 0 (")


def test_a_file_that_only_claims_to_be_gzip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl.gz"
    path.write_bytes(GOOD)
    assert problem(path).startswith(f"{path}: damaged after line 0 (Not a gzipped file")


def test_a_missing_source_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.jsonl"
    assert problem(path) == f"data.source = {path}: no such file or folder, nor one of: chitchat"


@pytest.mark.parametrize("content", [b"", b"\n\n", b'{"client": "a", "texts": []}\n'])
@pytest.mark.parametrize("name", ["p.jsonl", "p.jsonl.gz"])
def test_a_source_without_a_text_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    path = write(tmp_path / name, content)
    counted = " (1 line without a text)" if content.strip() else ""
    assert problem(path) == f"data.source = {path}: holds no client with a text{counted}"


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "readme.md", b"no data")
    said = f"data.source = {tmp_path}: holds no client with a text"
    assert problem(tmp_path) == f"{said} (1 file not read: 1 .md)"


def test_a_folder_of_texts(tmp_path: Path) -> None:
    write(tmp_path / "zoe.txt", b"first\n\n  \nsecond caf\xc3\xa9\n")
    write(tmp_path / "team" / "ann.txt", b"one")
    write(tmp_path / "team" / "deep" / "ann.b.txt", b"two\r\nthree\r\n")
    write(tmp_path / "blank.txt", b" \n")
    write(tmp_path / "notes.md", b"ignored\n")
    write(tmp_path / "team" / "more.jsonl", GOOD)
    write(tmp_path / "zipped.jsonl.gz", b'{"client": "a", "texts": ["again"]}\n')
    with pytest.warns(HashfedWarning, match="2 files not read: 1 .md, 1 without a text$"):
        found = {item.client: item.texts for item in read_texts(str(tmp_path))}
    assert found == {
        "zoe": ["first", "second café"],
        "team/ann": ["one"],
        "team/deep/ann.b": ["two", "three"],
        "a": ["Hi there", "bye", "again"],
        "b": ["café"],
    }


def test_a_folder_is_read_in_the_same_order_every_time(tmp_path: Path) -> None:
    for name in ("m", "z", "a"):
        write(tmp_path / f"{name}.txt", b"text\n")
    assert [item.client for item in read_texts(str(tmp_path))] == ["a", "m", "z"]


def test_a_text_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "team" / "ann.txt", b"caf\xe9\n")
    remedy = "if it is text, convert it from its encoding: iconv -f ENCODING -t UTF-8 FILE > NEW"
    assert problem(tmp_path) == f"{path}: not UTF-8 text (byte 3); {remedy}"


def test_a_wrong_line_in_a_folder_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "team" / "p.jsonl", GOOD + b"{}\n")
    assert problem(tmp_path).startswith(f"{path}, line 3: ")


def test_a_new_data_set_is_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NAMED, "mine", lambda: [ClientTexts("a", ["x"]), ClientTexts("b", [])])
    assert read_texts("mine") == [ClientTexts("a", ["x"])]


def test_without_the_package_chitchat_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib.resources, "files", missing)
    assert problem("chitchat") == (
        "data.source = chitchat: needs the package chitchat-dataset (pip install 'hashfed[chitchat]')"
    )


@needs_chitchat
def test_chitchat() -> None:
    clients = read_texts("chitchat")
    assert len(clients) == len({item.client for item in clients}) == 1315
    assert sum(len(item.texts) for item in clients) == 258_112
    assert all(text.strip() for item in clients for text in item.texts)
    raw = json.loads((importlib.resources.files("chitchat_dataset") / "dataset.json").read_text("utf-8"))
    messages = [m for talk in raw.values() for turn in talk["messages"] for m in turn if m["text"].strip()]
    assert len(messages) == 258_112
    sent: dict[str, list[tuple[str, str]]] = {}
    for message in messages:
        sent.setdefault(message["sender"], []).append((message["timestamp"], message["text"]))
    changed = 0
    for item in clients:
        expected = [text for _, text in sorted(sent[item.client], key=lambda pair: pair[0])]
        assert len(item.texts) == len(expected)
        for text, original in zip(item.texts, expected, strict=True):
            if text != original:
                assert "@" in original
                assert "<email>" in text
                assert "@" not in text
                changed += 1
    assert changed == 2


def test_half_an_emoji_becomes_a_question_mark(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl"
    path.write_text('{"client": "c\\ud83d", "texts": ["hi \\ud83d", "\\ud83d\\ude00"]}\n')
    assert read_texts(str(path)) == [ClientTexts("c?", ["hi ?", "😀"])]


@pytest.mark.parametrize("line", ["[" * 100_000, "9" * 5000])
def test_json_beyond_the_parser_is_a_clear_error(tmp_path: Path, line: str) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_text(line)
    with pytest.raises(HashfedError, match=r"odd.jsonl, line 1: not JSON"):
        read_texts(str(path))


def test_a_byte_order_mark_is_no_word(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffhi".encode())
    assert read_texts(str(tmp_path)) == [ClientTexts("a", ["hi"])]


@pytest.mark.parametrize("source", ["", "x" * 5000])
def test_a_path_that_cannot_be_is_a_clear_error(source: str) -> None:
    with pytest.raises(HashfedError, match=r"data.source = "):
        read_texts(source)


LONG = "c" * 10_000


@pytest.mark.parametrize(
    "item",
    [
        {"client": LONG, "texts": 1},
        {"client": LONG, "texts": ["\0"]},
        {"client": "a", "texts": ["x"], LONG + "\x1b": {LONG: "x"}, "texst": 1},
        {"client": "a", "texts": [], "m" + LONG: 1},
    ],
)
def test_lines_about_long_names_are_short(item: dict[str, object], tmp_path: Path) -> None:
    message = problem(write(tmp_path / "p.jsonl", json.dumps(item).encode()))
    assert len(message) < len(str(tmp_path)) + 400
    assert message.isprintable()


def test_a_file_name_in_nfd_is_the_client_of_the_name_in_nfc(tmp_path: Path) -> None:
    for name in ("zo\u00eb", "zoe\u0308"):
        write(tmp_path / f"{name}.txt", f"of {len(name)}\n".encode())
    assert read_texts(str(tmp_path)) == [ClientTexts("zo\u00eb", ["of 4", "of 3"])]


def test_two_files_of_one_name_and_lines_of_that_name_are_one_client(tmp_path: Path) -> None:
    write(tmp_path / "a.TXT", b"1\n")
    write(tmp_path / "a.txt", b"2\n")
    write(tmp_path / "b.JSONL.gz", b'{"client": "a", "texts": ["3"]}\n')
    assert read_texts(str(tmp_path)) == [ClientTexts("a", ["1", "2", "3"])]


def test_names_that_are_not_utf_8_stay_two_clients(tmp_path: Path) -> None:
    for byte in (b"\xe8", b"\xe9"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf" + byte + b".txt")).write_bytes(byte[:0] + b"x")
    assert [item.client for item in read_texts(str(tmp_path))] == ["caf\\xe8", "caf\\xe9"]


def test_a_single_text_file_is_told_from_json_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "ann.TXT", b"hello\n")
    assert (
        problem(path) == f"data.source = {path}: a single text file; give the folder it is in, or JSON Lines"
    )


def test_lines_without_a_text_are_counted(tmp_path: Path) -> None:
    empty = b'{"client": "b", "texts": []}\n{"client": "c", "texts": ["", " "]}\n'
    path = write(tmp_path / "p.jsonl", b'{"client": "a", "texts": ["x"]}\n' + empty)
    with pytest.warns(HashfedWarning, match=r": 2 lines without a text$"):
        read_texts(str(path))


def test_japanese_that_is_no_unicode_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "日本語のテキスト\n".encode("iso2022_jp"))
    assert problem(tmp_path).startswith(f"{path}: line 1 holds the control character U+001B")


def test_a_compressed_file_under_another_name_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", gzip.compress(b"hello\n"))
    assert problem(tmp_path).startswith(f"{path}: is compressed by gzip")
