import json
from pathlib import Path

import pytest

from controlplane.cli import run
from shared.plane_keys import fingerprint, public_file, read_pair, secret_file


def secrets(folder: Path) -> list[str]:
    return [read_pair(path).secret.decode() for path in folder.glob("*.key_secret")]


def test_keys_are_made_and_shown_without_their_secrets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "keys"
    assert run(["keys", "new", f"--dir={folder}"]) == 0
    made = capsys.readouterr().out
    assert run(["keys", "show", f"--dir={folder}"]) == 0
    shown = capsys.readouterr().out
    assert run(["keys", "show", f"--dir={folder}", "--json"]) == 0
    as_json = capsys.readouterr().out
    for name in ("server", "plane"):
        pair = read_pair(secret_file(folder, name))
        for text in (made, shown, as_json):
            assert fingerprint(pair.public) in text
        assert pair.public.decode() in shown
        assert str(public_file(folder, name)) in made
    assert [(key["role"], key["name"]) for key in json.loads(as_json)] == [("server", "server"), ("plane", "plane")]
    assert not [secret for secret in secrets(folder) if secret in made + shown + as_json]


def test_a_pair_of_which_only_the_secret_is_here_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["keys", "new", "gpu-b", f"--dir={tmp_path}"])
    public_file(tmp_path, "gpu-b").unlink()
    capsys.readouterr()
    assert run(["keys", "show", f"--dir={tmp_path}"]) == 0
    assert fingerprint(read_pair(secret_file(tmp_path, "gpu-b")).public) in capsys.readouterr().out


def test_who_is_let_in_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def states() -> dict[str, bool | None]:
        capsys.readouterr()
        run(["keys", "show", f"--dir={tmp_path}", "--json"])
        return {key["name"]: key["let_in"] for key in json.loads(capsys.readouterr().out)}

    run(["keys", "new", "gpu-a", "gpu-b", "gpu-c", f"--dir={tmp_path}"])
    # Nobody is let in by a folder that is not the control plane's.
    assert states() == {"gpu-a": None, "gpu-b": None, "gpu-c": None}
    run(["keys", "new", "server", f"--dir={tmp_path}"])
    public_file(tmp_path, "gpu-b").unlink()
    secret_file(tmp_path, "gpu-a").unlink()
    public_file(tmp_path, "gpu-c").write_text("nothing")
    assert states() == {"server": None, "gpu-a": True, "gpu-b": False, "gpu-c": False}
    run(["keys", "show", f"--dir={tmp_path}"])
    lines = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if line.startswith("plane")}
    assert [" not let in " in lines[name] for name in ("gpu-a", "gpu-b")] == [False, True]


def test_what_is_wrong_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["keys", "new", "server", "a", "b", f"--dir={tmp_path}"])
    secret_file(tmp_path, "server").chmod(0o644)
    public_file(tmp_path, "a").write_text("nothing")
    public_file(tmp_path, "b").write_bytes((tmp_path / "server.key").read_bytes())
    capsys.readouterr()
    assert run(["keys", "show", f"--dir={tmp_path}"]) == 1
    shown = capsys.readouterr().out
    assert f"chmod 600 {tmp_path}/server.key_secret" in shown
    assert "planes/a.key can not be read as a key file" in shown
    assert "b.key_secret is the secret of another public key" in shown


def test_mistakes_are_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "new", "../up", f"--dir={tmp_path}"]) == 2
    assert run(["keys", "show", f"--dir={tmp_path}/none"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert "can not be a key's name" in errors[0]
    assert "give the one of your keys with --dir" in errors[1]
    assert run(["keys", "show", f"--dir={tmp_path}"]) == 0
    assert "no keys in" in capsys.readouterr().out


def test_workers_keys_let_in_workers_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "new", "--workers", "server", "gpu-a", "gpu-b", f"--dir={tmp_path}"]) == 0
    assert str(tmp_path / "workers" / "gpu-a.key") in capsys.readouterr().out
    assert not (tmp_path / "planes").exists()
    (tmp_path / "workers" / "gpu-b.key").unlink()
    run(["keys", "show", f"--dir={tmp_path}", "--json"])
    shown = {key["name"]: (key["role"], key["let_in"]) for key in json.loads(capsys.readouterr().out)}
    assert shown == {"server": ("server", None), "gpu-a": ("worker", True), "gpu-b": ("plane", False)}
