import re
import sys
import unicodedata

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from hashfed.data.tokenizer import Tokenizer, ascii_words, unicode_words
from hashfed.data.unicode_patterns import APOSTROPHE, TOKEN, UNDRAWN

CHARACTERS = "".join(map(chr, range(sys.maxunicode + 1)))
# What meets in texts: letters and marks, apostrophes, emoji and what joins them, white space.
PARTS = (
    "aZé1İΣßǰ'’`´-,. \n\t\0e\u0301\u0308я漢かカーㇰก็ำខ្ក한ᄒ\u3099👩🏽❤🇩🏴\U000e0067\U000e007f\u20e3#\ud83d"
)
PARTS += "\u00ad\u200b\u200c\u200d\ufeff\ufe0f"
MIXED = st.one_of(st.text(), st.text(st.sampled_from(PARTS)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hi, you!", "hi , you !"),
        ("It's 5:30pm", "it's 5 : 30pm"),
        ("wait...", "wait . . ."),
        ("a-b_c <email>", "a - b _ c < email >"),
        ("  tabs\tand\nlines\u00a0\u2028 ", "tabs and lines"),
        ("", ""),
        (" \n\t\u3000", ""),
    ],
)
@pytest.mark.parametrize("words_of", [unicode_words, ascii_words])
def test_plain_words_and_single_characters(words_of: Tokenizer, text: str, words: str) -> None:
    assert words_of(text) == words.split()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("caf\u00e9 CAFE\u0301 na\u00efve nai\u0308ve", "café café naïve naïve"),
        ("Zoë Ångström ÉTÉ", "zoë ångström été"),
        ("Привет, МИР! Ёлка", "привет , мир ! ёлка"),
        ("Οδυσσεύς ΟΔΟΣ", "οδυσσεύς οδος"),
        ("नमस्ते दुनिया", "नमस्ते दुनिया"),
        ("مرحبا، بالعالم", "مرحبا ، بالعالم"),
        ("שָׁלוֹם עולם", "שָׁלוֹם עולם".replace("שָׁ", unicodedata.normalize("NFC", "שָׁ"))),
        ("안녕하세요 세계", "안녕하세요 세계"),
        (unicodedata.normalize("NFD", "안녕"), "안녕"),
        ("x²+½ ٣٤ ๑๒ V8", "x² + ½ ٣٤ ๑๒ v8"),
        ("Straße STRASSE", "straße strasse"),
        ("İstanbul I\u0307stanbul istanbul", "istanbul istanbul istanbul"),
    ],
)
def test_words_of_any_script(text: str, words: str) -> None:
    assert unicode_words(text) == words.split()


@pytest.mark.parametrize("apostrophe", ["'", "’", "‘", "‛", "ʼ", "ʻ", "＇", "`", "´", "′"])
@pytest.mark.parametrize("word", ["don{}t", "l{}été", "п{}ять", "rock{}n{}roll", "DON{}T"])
def test_an_apostrophe_within_a_word_is_one_however_it_is_typed(apostrophe: str, word: str) -> None:
    assert unicode_words(word.replace("{}", apostrophe)) == [word.replace("{}", "'").lower()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("'hello' ‘hello’", "' hello ' ' hello '"),
        ("the dogs' and the dogs’", "the dogs ' and the dogs '"),
        ("rock 'n' roll", "rock ' n ' roll"),
        ("it''s", "it ' ' s"),
        ("“hello” «oui»", "“ hello ” « oui »"),
        ("`code` 5′6″", "` code ` 5 ′ 6 ″"),
    ],
)
def test_quotation_marks_are_no_part_of_words(text: str, words: str) -> None:
    assert unicode_words(text) == words.split()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("你好，世界", "你 好 ， 世 界"),
        ("コーヒーを飲む", "コーヒー を 飲 む"),
        (unicodedata.normalize("NFD", "ガが"), "ガ が"),
        ("ｶﾞｷﾞ", "ｶﾞｷﾞ"),
        ("สวัสดีน้ำ", "ส วั ส ดี น้ำ"),
        ("ສະບາຍດີ", "ສ ະ ບ າ ຍ ດີ"),
        ("ភាសាខ្មែរ", "ភា សា ខ្មែ រ"),
        ("မြန်မာ သတ္တဝါ", "မြ န် မာ သ တ္တ ဝါ"),
        ("iPhone手机", "iphone 手 机"),
    ],
)
def test_where_no_sign_parts_words_each_character_with_its_marks_is_one(text: str, words: str) -> None:
    assert unicode_words(text) == words.split()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ok😀😀", ["ok", "😀", "😀"]),
        ("👍🏽👍", ["👍🏽", "👍"]),
        ("👨‍👩‍👧‍👦👩🏽‍🦰", ["👨‍👩‍👧‍👦", "👩🏽‍🦰"]),
        ("🇩🇪🇫🇷🇩", ["🇩🇪", "🇫🇷", "🇩"]),
        ("1️⃣2⃣#️⃣ a1️⃣", ["1⃣", "2⃣", "#⃣", "a", "1⃣"]),
        ("❤️❤ ©️©", ["❤", "❤", "©", "©"]),
        ("🏳️‍🌈🏳‍🌈", ["🏳‍🌈", "🏳‍🌈"]),
        ("🏴󠁧󠁢󠁥󠁮󠁧󠁿🏴", ["🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🏴"]),
    ],
)
def test_an_emoji_is_one_word_whatever_it_is_made_of(text: str, words: list[str]) -> None:
    assert unicode_words(text) == words


@pytest.mark.parametrize("code", ["00ad", "034f", "200c", "200d", "200e", "2060", "fe0f", "feff", "e0041"])
def test_what_is_not_drawn_neither_splits_nor_doubles_a_word(code: str) -> None:
    assert unicode_words(f"so{chr(int(code, 16))}ft é") == ["soft", "é"]
    assert unicode_words(f"don{chr(int(code, 16))}’t") == ["don't"]


@pytest.mark.parametrize("code", ["00", "07", "1b", "1f", "7f", "85", "a0", "200b", "2028", "3000", "d83d"])
def test_spaces_and_control_characters_part_words_and_are_none(code: str) -> None:
    assert unicode_words(f"{chr(int(code, 16))}so{chr(int(code, 16))}ft ") == ["so", "ft"]


def test_the_undrawn_are_those_of_unicode() -> None:
    stated = set(re.findall(rf"[{UNDRAWN}\u200b\u200d\U000e0020-\U000e007f]", CHARACTERS))
    assert stated == set(regex.findall(r"[\p{Default_Ignorable_Code_Point}\ufff9-\ufffb]", CHARACTERS))


@given(MIXED)
def test_composed_and_decomposed_texts_have_the_same_words(text: str) -> None:
    words = unicode_words(text)
    assert unicode_words(unicodedata.normalize("NFD", text)) == words
    assert unicode_words(unicodedata.normalize("NFC", text)) == words


@given(MIXED)
def test_words_are_composed_and_hold_no_white_space(text: str) -> None:
    for word in unicode_words(text):
        assert word
        assert word == unicodedata.normalize("NFC", word)
        assert not re.search(r"[\s\0\ud83d]", word)


@given(MIXED)
def test_tokenizing_its_own_words_changes_nothing(text: str) -> None:
    words = unicode_words(text)
    assert unicode_words(" ".join(words)) == words


@given(st.text(st.sampled_from("abcXYZ019 .,'-_!\n\t\0`")))
def test_what_is_quick_for_ascii_is_what_the_rule_for_all_says(text: str) -> None:
    lower = APOSTROPHE.sub("'", text).lower()
    assert unicode_words(text) == TOKEN.findall(lower)


@given(st.text(st.sampled_from("abcXYZ019 .,-_!\n\t")))
def test_the_tokenizers_agree_on_ascii_without_quotation_marks(text: str) -> None:
    assert unicode_words(text) == ascii_words(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("'quoted' don't", ["'quoted'", "don't"]),
        ("don’t", ["don", "’", "t"]),
        ("café", ["caf", "é"]),
        ("ÉTÉ", ["é", "t", "é"]),
        ("你好 ок", ["你", "好", "о", "к"]),
        ("1️⃣", ["1", "\ufe0f", "⃣"]),
    ],
)
def test_ascii_words_are_as_they_always_were(text: str, words: list[str]) -> None:
    assert ascii_words(text) == words


@given(st.text())
def test_ascii_words_keep_every_visible_character_in_order(text: str) -> None:
    words = ascii_words(text)
    assert "".join(words) == "".join(text.lower().split())
    assert ascii_words(" ".join(words)) == words
