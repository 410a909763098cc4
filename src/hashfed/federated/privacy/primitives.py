"""What is taken from the package ``cryptography``: the only file that names it.

It is imported when it is first used, so that hashfed works without.
"""

import importlib
from collections.abc import Iterable
from functools import cache
from typing import Any

from hashfed.errors import HashfedError

KEY = 32
"""Bytes of a key: of X25519, private and public, of AES-256, and of every seed."""
NONCE = 12
"""Bytes of AES-GCM's."""
TAG = 16
"""Bytes by which AES-GCM's ciphertext is longer than its text."""


@cache
def library(module: str) -> Any:
    """A module of ``cryptography.hazmat.primitives``.

    Raises:
        HashfedError: where the package is not installed.

    """
    try:
        return importlib.import_module(f"cryptography.hazmat.primitives.{module}")
    except ImportError:
        raise HashfedError(
            "a sum under masks: needs the package cryptography (pip install 'hashfed[secure]')"
        ) from None


def public_key(private: bytes) -> bytes:
    """Of an X25519 key pair (RFC 7748), both 32 bytes."""
    key = library("asymmetric.x25519").X25519PrivateKey.from_private_bytes(private)
    return bytes(key.public_key().public_bytes_raw())


def agree(private: bytes, publics: Iterable[bytes]) -> list[bytes | None]:
    """The secret of 32 bytes that a key pair shares with each of others.

    None where the other's public key is of low order: its secret would be zero whoever agrees on it.
    """
    x25519 = library("asymmetric.x25519")
    own = x25519.X25519PrivateKey.from_private_bytes(private)

    def exchange(public: bytes) -> bytes | None:
        other = x25519.X25519PublicKey.from_public_bytes(public)
        try:
            return bytes(own.exchange(other))
        except ValueError:
            return None

    return [exchange(public) for public in publics]


def derive(secret: bytes, info: bytes, salt: bytes | None = None, length: int = KEY) -> bytes:
    """HKDF with SHA-256 (RFC 5869)."""
    hkdf = library("kdf.hkdf").HKDF(library("hashes").SHA256(), length, salt, info)
    return bytes(hkdf.derive(secret))


def keystream(key: bytes, start: bytes = bytes(16)) -> Any:
    """An encryptor of AES-256 in counter mode: zeros that it encrypts are the key's stream (SP 800-38A)."""
    ciphers = library("ciphers")
    return ciphers.Cipher(ciphers.algorithms.AES(key), ciphers.modes.CTR(start)).encryptor()


def seal(key: bytes, nonce: bytes, text: bytes, context: bytes) -> bytes:
    """The nonce, and the text encrypted by AES-256-GCM, which binds ``context`` to it."""
    return nonce + bytes(library("ciphers.aead").AESGCM(key).encrypt(nonce, text, context))


def unseal(key: bytes, sealed: bytes, context: bytes) -> bytes | None:
    """What was sealed; None where it is not what this key sealed in this context."""
    import cryptography.exceptions

    try:
        return bytes(library("ciphers.aead").AESGCM(key).decrypt(sealed[:NONCE], sealed[NONCE:], context))
    except cryptography.exceptions.InvalidTag:
        return None
