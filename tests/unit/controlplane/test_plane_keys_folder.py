from pathlib import Path

import pytest

from controlplane.plane_keys_folder import PLANES_ELSEWHERE, Admission, KeysFolder
from shared.plane_keys import KeyPair, public_file, secret_file, write_new_pair

OWN, OTHER = KeyPair(b"1", b"1"), KeyPair(b"2", b"2")


def test_who_is_let_in_follows_the_folder(tmp_path: Path) -> None:
    server, a = write_new_pair(tmp_path, "server"), write_new_pair(tmp_path, "a")
    folder = KeysFolder(tmp_path, PLANES_ELSEWHERE)
    assert folder.read() == Admission(server, frozenset({a.public}))
    assert folder.read() is None
    b = write_new_pair(tmp_path, "b")
    assert folder.read() == Admission(server, frozenset({a.public, b.public}))
    public_file(tmp_path, "a").unlink()
    assert folder.read() == Admission(server, frozenset({b.public}))


def test_without_a_pair_of_its_own_there_is_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = KeysFolder(tmp_path, PLANES_ELSEWHERE)
    assert folder.read() is None
    assert "server.key_secret: No such file" in caplog.text
    server = write_new_pair(tmp_path, "server")
    assert folder.read() == Admission(server, frozenset())


def test_a_key_is_taken_out_also_while_the_own_pair_can_not_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server, _ = write_new_pair(tmp_path, "server"), write_new_pair(tmp_path, "a")
    folder = KeysFolder(tmp_path, PLANES_ELSEWHERE)
    folder.read()
    secret_file(tmp_path, "server").chmod(0o644)
    public_file(tmp_path, "a").unlink()
    assert folder.read() == Admission(server, frozenset())
    assert "chmod 600" in caplog.text
    secret_file(tmp_path, "server").chmod(0o600)
    assert folder.read() == Admission(server, frozenset())


def test_a_wrong_file_keeps_nobody_else_out_and_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server, a = write_new_pair(tmp_path, "server"), write_new_pair(tmp_path, "a")
    folder = KeysFolder(tmp_path, PLANES_ELSEWHERE)
    for number in range(3):
        (tmp_path / "planes" / "wrong.key").write_text("x" * number)
        assert folder.read() == Admission(server, frozenset({a.public}))
    assert caplog.text.count("wrong.key") == 1


@pytest.mark.parametrize(
    ("before", "after", "cuts_off"),
    [
        (Admission(OWN, frozenset({b"a"})), Admission(OWN, frozenset({b"a", b"b"})), False),
        (Admission(OWN, frozenset({b"a", b"b"})), Admission(OWN, frozenset({b"a"})), True),
        (Admission(OWN, frozenset({b"a"})), Admission(OWN, frozenset({b"b"})), True),
        (Admission(OWN, frozenset({b"a"})), Admission(OTHER, frozenset({b"a"})), True),
    ],
)
def test_connections_are_cut_off_only_for_those_who_must_go(
    before: Admission, after: Admission, cuts_off: bool
) -> None:
    assert after.cuts_off(before) is cuts_off
