import os
import stat
from pathlib import Path

import pytest
from zmq.auth import create_certificates, load_certificate

from shared.plane_keys import (
    KeyFileError,
    fingerprint,
    public_file,
    read_pair,
    read_public,
    read_publics,
    secret_file,
    signature,
    write_new_pair,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_pair_is_private_and_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "keys"
    before = os.umask(0o000)
    try:
        server, plane = write_new_pair(folder, "server"), write_new_pair(folder, "gpu-b.example")
    finally:
        os.umask(before)
    assert (mode(folder), mode(folder / "planes")) == (0o700, 0o700)
    for name, pair in (("server", server), ("gpu-b.example", plane)):
        secret, public = secret_file(folder, name), public_file(folder, name)
        assert (mode(secret), mode(public)) == (0o600, 0o644)
        assert read_pair(secret) == pair
        assert read_public(public) == pair.public
        assert pair.secret.decode() not in public.read_text()
        assert pair.secret.decode() not in repr(pair)
    assert public_file(folder, "server").parent == folder
    assert public_file(folder, "gpu-b.example").parent == folder / "planes"
    assert server.public != plane.public


def test_the_format_is_that_of_zeromqs_certificates(tmp_path: Path) -> None:
    pair = write_new_pair(tmp_path, "server")
    assert load_certificate(tmp_path / "server.key_secret") == (pair.public, pair.secret)
    public, secret = create_certificates(tmp_path, "theirs")
    Path(secret).chmod(0o600)
    assert read_pair(Path(secret)).public == read_public(Path(public))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    pair = write_new_pair(tmp_path, "a")
    with pytest.raises(KeyFileError, match="is there already"):
        write_new_pair(tmp_path, "a")
    secret_file(tmp_path, "a").unlink()
    with pytest.raises(KeyFileError, match=r"planes/a\.key is there already"):
        write_new_pair(tmp_path, "a")
    assert read_public(public_file(tmp_path, "a")) == pair.public


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b", "x" * 64, "a.key", "a.key_secret", "é"])
def test_a_name_is_a_files_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyFileError, match="can not be a key's name"):
        write_new_pair(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o601, 0o644])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, bits: int) -> None:
    pair = write_new_pair(tmp_path, "server")
    path = secret_file(tmp_path, "server")
    path.chmod(bits)
    with pytest.raises(KeyFileError) as refused:
        read_pair(path)
    assert f"run: chmod 600 {path}" in str(refused.value)
    assert pair.secret.decode() not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "no key is in it"),
        (b"\x00\xff" * 100, "no key is in it"),
        (b'public-key = "short"\nsecret-key = "short"\n', "no key"),
        (b'public-key = "' + b"~" * 40 + b'"\n', "no key"),
        (b'public-key = "' + "ü".encode() * 20 + b'"\n', "no key"),
    ],
)
def test_what_is_no_key_file_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "a.key_secret"
    path.write_bytes(content)
    path.chmod(0o600)
    for read in (read_pair, read_public):
        with pytest.raises(KeyFileError, match=problem) as refused:
            read(path)
        assert str(path) in str(refused.value)


def test_halves_of_two_pairs_are_refused(tmp_path: Path) -> None:
    one, two = write_new_pair(tmp_path, "a"), write_new_pair(tmp_path, "b")
    path = secret_file(tmp_path, "a")
    path.write_bytes(path.read_bytes().replace(one.public, two.public))
    with pytest.raises(KeyFileError, match="do not belong together"):
        read_pair(path)
    with pytest.raises(KeyFileError, match="holds no secret key"):
        read_pair(secret_made_of(public_file(tmp_path, "b")))


def test_a_secret_is_no_public_key(tmp_path: Path) -> None:
    pair = write_new_pair(tmp_path, "server")
    for path in (secret_file(tmp_path, "server"), tmp_path / "copied"):
        if path.name == "copied":
            path.mkdir()
            (path / "server.key").write_bytes(secret_file(tmp_path, "server").read_bytes())
        with pytest.raises(KeyFileError, match="holds a secret key, and only the public one may be here") as refused:
            read_publics(path)
        assert pair.secret.decode() not in str(refused.value)


def test_a_public_key_that_others_can_read_is_named_for_what_it_is(tmp_path: Path) -> None:
    write_new_pair(tmp_path, "b")
    with pytest.raises(KeyFileError, match="holds no secret key"):
        read_pair(public_file(tmp_path, "b"))


def secret_made_of(public: Path) -> Path:
    public.chmod(0o600)
    return public


def test_what_is_no_file_or_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="No such file"):
        read_pair(tmp_path / "none")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    with pytest.raises(KeyFileError, match="is no key file"):
        read_public(fifo)


def test_public_keys_of_a_file_and_of_a_folder(tmp_path: Path) -> None:
    pairs = [write_new_pair(tmp_path, name) for name in ("b", "a")]
    planes = tmp_path / "planes"
    assert read_publics(planes / "b.key") == (pairs[0].public,)
    assert read_publics(planes) == (pairs[1].public, pairs[0].public)
    # The same key twice is one key.
    (planes / "c.key").write_bytes((planes / "a.key").read_bytes())
    assert read_publics(planes) == (pairs[1].public, pairs[0].public)
    (tmp_path / "empty").mkdir()
    with pytest.raises(KeyFileError, match="holds no public key"):
        read_publics(tmp_path / "empty")


def test_the_signature_changes_with_every_change(tmp_path: Path) -> None:
    write_new_pair(tmp_path, "a")
    paths = (secret_file(tmp_path, "a"), tmp_path / "planes", tmp_path / "none")
    seen = {signature(paths)}
    assert signature(paths) in seen
    write_new_pair(tmp_path, "b")
    seen.add(signature(paths))
    public_file(tmp_path, "b").unlink()
    seen.add(signature(paths))
    secret_file(tmp_path, "a").chmod(0o640)
    seen.add(signature(paths))
    secret_file(tmp_path, "a").unlink()
    seen.add(signature(paths))
    assert len(seen) == 5


def test_a_fingerprint_is_as_ssh_writes_it(tmp_path: Path) -> None:
    assert fingerprint(b"0" * 40) == "SHA256:Zmh6rfhivXdsj8GLjp+OIAiXFIVu4jOzkCpZHQ1fKSU"
