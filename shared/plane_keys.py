"""The CURVE keys by which the control plane, planes on other hosts and workers that register know each other, as files.

The format is ZeroMQ's own certificate file, which pyzmq and CZMQ read and write, too: text, with keys in Z85.
`NAME.key` holds a public key. `NAME.key_secret` holds both of a pair and must be readable by its owner only.

A folder of the control plane's host holds `server.key_secret`, in `planes/` the public key of each plane that may
connect, and in `workers/` that of each worker that may register and do nothing else. Files may be replaced at any time:
who uses them looks for changes (`signature`).
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.auth import load_certificate
from zmq.utils import z85

SERVER = "server"
"""The name of the control plane's own pair."""
PLANES = "planes"
"""The folder, within the control plane's, of the public keys of planes that may connect."""
WORKERS = "workers"
"""The same for workers that may register."""
PUBLIC = ".key"
SECRET = ".key_secret"  # noqa: S105 - the end of a file's name
MAX_KEYS = 1024
"""Public keys in one folder: as many as there may be planes. Several workers may have one key."""
_MAX_FILE = 64 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_KEY_LENGTH = 40


class KeyFileError(Exception):
    """A key file that can not be used. The message says which, why and what to do; it never holds a secret."""


@dataclass(frozen=True)
class KeyPair:
    """A public key and its secret key, in Z85. The secret is never shown."""

    public: bytes
    secret: bytes = field(repr=False)


def fingerprint(public: bytes) -> str:
    """Return a public key's fingerprint: its SHA-256 in base64, as ssh-keygen writes those of its keys."""
    digest = hashlib.sha256(z85.decode(public)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def check_name(name: str) -> None:
    """Raise KeyFileError unless a pair may have that name."""
    if not _NAME.fullmatch(name) or name.endswith((PUBLIC, SECRET)):
        raise KeyFileError(
            f"{name!r} can not be a key's name; write 1 to 63 letters, digits, dots, - or _, such as a host's name"
        )


def secret_file(folder: Path, name: str) -> Path:
    """Return where a pair of that name is kept."""
    return folder / f"{name}{SECRET}"


def public_file(folder: Path, name: str, guests: str = PLANES) -> Path:
    """Return where its public key is kept; `guests` is the folder of those that may connect as it does."""
    return folder / f"{name}{PUBLIC}" if name == SERVER else folder / guests / f"{name}{PUBLIC}"


def write_new_pair(folder: Path, name: str, guests: str = PLANES) -> KeyPair:
    """Make a pair and write both files. Raises KeyFileError, also when one of them is there."""
    check_name(name)
    secret, public = secret_file(folder, name), public_file(folder, name, guests)
    for path in (secret, public):
        if path.exists():
            raise KeyFileError(f"{path} is there already; choose another name, or another folder with --dir")
    key, hidden = zmq.curve_keypair()
    pair = KeyPair(key, hidden)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        public.parent.mkdir(mode=0o700, exist_ok=True)
        # Private from its first byte on, and never over another one.
        _write(secret, 0o600, f'curve\n    public-key = "{key.decode()}"\n    secret-key = "{hidden.decode()}"\n')
        _write(public, 0o644, f'curve\n    public-key = "{key.decode()}"\n')
    except OSError as error:
        raise KeyFileError(f"{error.filename}: {error.strerror}; give a folder that this user may write") from None
    return pair


def _write(path: Path, mode: int, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)


def read_pair(path: Path) -> KeyPair:
    """Return the pair in a file that only its owner may read. Raises KeyFileError."""
    mode = stat.S_IMODE(_stat(path).st_mode)
    public, secret = _keys(path)
    if secret is None:
        raise KeyFileError(f"{path} holds no secret key; give the file that ends with {SECRET}")
    if mode & 0o077:
        raise KeyFileError(f"{path} holds a secret and others can read it (mode {mode:04o}); run: chmod 600 {path}")
    if zmq.curve_public(secret) != public:
        raise KeyFileError(f"{path}: its two keys do not belong together; make new ones with `routerctl keys new`")
    return KeyPair(public, secret)


def read_public(path: Path) -> bytes:
    """Return the public key in a file that holds nothing else. Raises KeyFileError.

    Where a public key is wanted, a secret has been copied to where it must not be.
    """
    _stat(path)
    public, secret = _keys(path)
    if secret is not None:
        raise KeyFileError(
            f"{path} holds a secret key, and only the public one may be here: take the file that ends with {PUBLIC}; "
            "if the secret came from another host, make a new pair there with `routerctl keys new`"
        )
    return public


def read_publics(path: Path) -> tuple[bytes, ...]:
    """Return the public key in a file, or those of a folder's `*.key` in the order of names. Raises KeyFileError."""
    if not path.is_dir():
        return (read_public(path),)
    files = public_files(path)
    if not files:
        raise KeyFileError(f"{path} holds no public key; put one there, as NAME{PUBLIC}")
    return tuple(dict.fromkeys(read_public(file) for file in files))


def public_files(folder: Path) -> list[Path]:
    """Return the files of public keys in a folder, sorted; at most `MAX_KEYS`."""
    return sorted(folder.glob(f"*{PUBLIC}"))[:MAX_KEYS]


def signature(paths: Iterable[Path]) -> tuple[object, ...]:
    """Return what is different once a file, or a public key of a folder, was replaced, added or removed."""
    found: list[object] = []
    for path in paths:
        for one in (path, *(public_files(path) if path.is_dir() else ())):
            try:
                info = one.stat()
            except OSError:
                found.append((str(one), None))
            else:
                # The mode, too: one that is put right must be looked at again.
                found.append((str(one), info.st_ino, info.st_size, info.st_mtime_ns, info.st_mode))
    return tuple(found)


def _stat(path: Path) -> os.stat_result:
    try:
        info = path.stat()
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}; make keys with `routerctl keys new`") from None
    if not stat.S_ISREG(info.st_mode) or info.st_size > _MAX_FILE:
        raise KeyFileError(f"{path} is no key file; make one with `routerctl keys new`")
    return info


def _keys(path: Path) -> tuple[bytes, bytes | None]:
    try:
        public, secret = load_certificate(path)
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) and error.strerror else "no key is in it"
        raise KeyFileError(f"{path} can not be read as a key file: {what}") from None
    for key in (public, secret):
        if key is not None and not _is_key(key):
            raise KeyFileError(f"{path} holds what is no key; make a new one with `routerctl keys new`")
    return public, secret


def _is_key(key: bytes) -> bool:
    # zmq.utils.z85 turns other characters into an error of its own inner tables.
    return len(key) == _KEY_LENGTH and not key.translate(None, z85.Z85CHARS)
