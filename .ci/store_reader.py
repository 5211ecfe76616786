"""Opens a credential store after SECURITY.md's "Format 1, to the byte", twice: with Python's
`cryptography`, and with the `openssl` command line.

Usage: store_reader.py FOLDER (--secret-file PATH | --secret-env NAME) [--token-env NAME]

The secret is the password, or the text of `device.key`; a line end after it does not count. With
--token-env, the stored token must be the one in that variable. Says `ok python` and `ok openssl`
and exits with 0, or says what is wrong, without showing anything secret, and exits with 1.

For stores made for a test only: `openssl` takes keys on its command line, where other programs of
the same machine can see them.
"""

import argparse
import hashlib
import hmac
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC


class Wrong(Exception):
    """Something that is not as the format says."""


def check(true, what):
    if not true:
        raise Wrong(what)


class ByPython:
    name = "python"

    @staticmethod
    def pbkdf2(secret, salt, iterations):
        return PBKDF2HMAC(hashes.SHA256(), 32, salt, iterations).derive(secret)

    @staticmethod
    def expand(key, label):
        return HKDFExpand(hashes.SHA256(), 32, label).derive(key)

    @staticmethod
    def verify(key, covered, tag):
        mac = HMAC(key, hashes.SHA256())
        mac.update(covered)
        try:
            mac.verify(tag)
        except InvalidSignature:
            return False
        return True

    @staticmethod
    def decrypt(key, iv, ciphertext):
        decryptor = Cipher(algorithms.AES256(key), modes.CBC(iv)).decryptor()
        unpadder = padding.PKCS7(128).unpadder()
        padded = decryptor.update(ciphertext) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()


def openssl(*arguments, data=b""):
    done = subprocess.run(["openssl", *arguments], input=data, capture_output=True)
    # Its messages could quote a key.
    check(done.returncode == 0, f"`openssl {arguments[0]}` failed")
    return done.stdout


class ByOpenssl:
    name = "openssl"

    @staticmethod
    def kdf(name, *options):
        pairs = [word for option in options for word in ("-kdfopt", option)]
        key = openssl("kdf", "-keylen", "32", *pairs, "-binary", name)
        check(len(key) == 32, f"`openssl kdf {name}` gave {len(key)} bytes")
        return key

    @classmethod
    def pbkdf2(cls, secret, salt, iterations):
        texts = f"hexpass:{secret.hex()}", f"hexsalt:{salt.hex()}", f"iter:{iterations}"
        return cls.kdf("PBKDF2", "digest:SHA256", *texts)

    @classmethod
    def expand(cls, key, label):
        texts = "mode:EXPAND_ONLY", f"hexkey:{key.hex()}", f"hexinfo:{label.hex()}"
        return cls.kdf("HKDF", "digest:SHA256", *texts)

    @staticmethod
    def verify(key, covered, tag):
        options = "-digest", "SHA256", "-macopt", f"hexkey:{key.hex()}", "-binary"
        return hmac.compare_digest(openssl("mac", *options, "HMAC", data=covered), tag)

    @staticmethod
    def decrypt(key, iv, ciphertext):
        return openssl("enc", "-d", "-aes-256-cbc", "-K", key.hex(), "-iv", iv.hex(), data=ciphertext)


def number(data, offset):
    return int.from_bytes(data[offset : offset + 4], "big")


def parse(name, data, magic, lengths):
    """The common fields, the IV, the ciphertext, what the tag covers, and the tag."""
    check(len(data) >= 84 + 16 + 32, f"{name} is too short")
    check(data[:8] == magic, f"{name}: magic")
    check(data[8] == 1, f"{name}: version")
    check(data[9] == 1, f"{name}: suite")
    check(data[10] in (1, 2, 3), f"{name}: unlock source")
    check(data[11] == 0, f"{name}: reserved")
    check(100_000 <= number(data, 12) <= 10_000_000, f"{name}: iterations")
    length = number(data, 80)
    check(length % 16 == 0 and length in lengths, f"{name}: ciphertext length")
    check(len(data) == 84 + length + 32, f"{name}: length of the file")
    end = 84 + length
    return data[10:64], data[64:80], data[84:end], data[:end], data[end:]


def opened(by, files, secret):
    """The plaintext of `credentials.enc`, by one implementation."""
    salt, key, credentials = files
    check(len(salt) == 32, "salt.bin: length")
    key = parse("key.bin", key, b"LMCPWKEY", range(48, 49))
    credentials = parse("credentials.enc", credentials, b"LMCPCRED", range(16, 65_537))
    # Source, reserved byte, iterations, salt and generation id.
    check(key[0] == credentials[0], "key.bin and credentials.enc are not of one generation")
    check(key[0][6:38] == salt, "salt.bin is not the salt of key.bin")
    check(key[1] != credentials[1], "the two files have one IV")

    def unsealed(name, parent, file):
        _, iv, ciphertext, covered, tag = file
        label = f"layer-mcp/v1/{name}/".encode()
        mac_key = by.expand(parent, label + b"mac")
        check(by.verify(mac_key, covered, tag), f"{name}: tag")
        return by.decrypt(by.expand(parent, label + b"enc"), iv, ciphertext)

    master = by.pbkdf2(secret, salt, int.from_bytes(key[0][2:6], "big"))
    data_key = unsealed("key.bin", master, key)
    check(len(data_key) == 32, "key.bin holds no key")
    return unsealed("credentials.enc", data_key, credentials)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    secret = parser.add_mutually_exclusive_group(required=True)
    secret.add_argument("--secret-file", type=Path)
    secret.add_argument("--secret-env")
    parser.add_argument("--token-env")
    given = parser.parse_args()
    if given.secret_file:
        text = given.secret_file.read_bytes().decode()
    else:
        text = os.environ[given.secret_env]
    end = "\r\n" if text.endswith("\r\n") else "\n"
    text = unicodedata.normalize("NFC", text.removesuffix(end))
    names = "salt.bin", "key.bin", "credentials.enc"
    files = [(given.folder / name).read_bytes() for name in names]
    digests = set()
    for by in (ByPython, ByOpenssl):
        try:
            plaintext = opened(by, files, text.encode())
            content = json.loads(plaintext)
            check(content["v"] == 1, "the content's version")
            check(isinstance(content["api_token"], str), "no token")
            if given.token_env:
                same = content["api_token"] == os.environ[given.token_env]
                check(same, "another token than the one that was stored")
        except Wrong as wrong:
            sys.exit(f"{by.name}: {wrong}")
        except (ValueError, KeyError, TypeError):
            # The message could quote the content.
            sys.exit(f"{by.name}: the content is not what the format says")
        digests.add(hashlib.sha256(plaintext).digest())
        print(f"ok {by.name}")
    if len(digests) != 1:
        sys.exit("the two disagree")


main()
