"""Known answers of the primitives, as hashfed calls them."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest

import hashfed.federated.privacy
from hashfed.errors import HashfedError
from hashfed.federated.privacy import client, primitives
from hashfed.federated.privacy.masks import CHUNK, add_mask, subtract_mask
from hashfed.federated.privacy.primitives import agree, derive, keystream, public_key, seal, unseal
from masked_sums import CONTEXT

ALICE = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
BOB = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")


def test_x25519_as_in_rfc_7748() -> None:
    """Section 6.1."""
    of_alice = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    of_bob = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    assert public_key(ALICE).hex() == of_alice
    assert public_key(BOB).hex() == of_bob
    assert agree(ALICE, [public_key(BOB)]) == agree(BOB, [public_key(ALICE)]) == [bytes.fromhex(shared)]


def test_keys_of_low_order_agree_on_nothing() -> None:
    """Zero, one, and p − 1; beside a key that does."""
    minus_one = (2**255 - 20).to_bytes(32, "little")
    low = [bytes(32), bytes([1]) + bytes(31), minus_one]
    found = agree(ALICE, [*low, public_key(BOB)])
    assert found[:3] == [None, None, None]
    assert found[3] == agree(ALICE, [public_key(BOB)])[0]


@pytest.mark.parametrize(
    ("salt", "info", "expected"),
    [
        (
            bytes(range(13)),
            bytes(range(0xF0, 0xFA)),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            b"",
            b"",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ],
)
def test_hkdf_as_in_rfc_5869(salt: bytes, info: bytes, expected: str) -> None:
    """Test cases 1 and 3."""
    assert derive(b"\x0b" * 22, info, salt, 42).hex() == expected


KEY = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")


def test_counter_mode_as_in_sp_800_38a() -> None:
    """F.5.5, CTR-AES256.Encrypt."""
    text = (
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )
    sealed = (
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
        "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
    )
    assert keystream(KEY, bytes(range(0xF0, 0x100))).update(bytes.fromhex(text)).hex() == sealed


def test_gcm_as_its_authors_give_it() -> None:
    """McGrew and Viega, test case 14; and what is bound to it."""
    sealed = seal(bytes(32), bytes(12), bytes(16), b"")
    assert sealed.hex() == "00" * 12 + "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"
    assert unseal(bytes(32), sealed, b"") == bytes(16)
    assert unseal(bytes(32), sealed, b"x") is None
    assert unseal(KEY, sealed, b"") is None
    for at in range(len(sealed)):
        assert unseal(bytes(32), sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], b"") is None


@pytest.mark.parametrize("length", [1, 5, CHUNK - 1, CHUNK, CHUNK + 3, 2 * CHUNK + 1])
def test_a_mask_is_the_stream_of_its_seed(length: int) -> None:
    """Little-endian words of 32 bits, however many are made at a time."""
    stream = np.frombuffer(keystream(KEY).update(bytes(4 * length)), "<u4")
    start = np.arange(length, dtype=np.uint32) * np.uint32(2654435761)
    numbers = start.copy()
    add_mask(numbers, KEY)
    np.testing.assert_array_equal(numbers, start + stream)
    subtract_mask(numbers, KEY)
    np.testing.assert_array_equal(numbers, start)


def test_seeds_whose_folds_to_32_bits_are_equal_give_other_masks() -> None:
    """A generator that is seeded with 32 bits, as Flower's, gives both the same mask."""
    words = np.frombuffer(KEY, np.uint32).copy()
    others = [words[::-1].copy(), words ^ np.uint32(77)]  # eight words: 77 cancels
    masks = []
    for seed in (words, *others):
        assert np.bitwise_xor.reduce(seed) == np.bitwise_xor.reduce(words)
        mask = np.zeros(4, np.uint32)
        add_mask(mask, seed.tobytes())
        masks.append(mask)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert not (masks[i] == masks[j]).any()


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    primitives.library.cache_clear()
    with pytest.raises(HashfedError, match=r"^a sum under masks: needs .*pip install 'hashfed\[secure\]'\)$"):
        client.advertise(CONTEXT)


def test_hashfed_imports_without_cryptography() -> None:
    """No module of the package names it where it is imported itself."""
    folder = Path(hashfed.federated.privacy.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert "cryptography" not in ast.unparse(node), path
