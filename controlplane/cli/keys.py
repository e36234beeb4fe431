"""`routerctl keys`: make and show the keys of the control plane, of planes elsewhere and of workers; never a secret.

Those of clients are another kind, in a file of another kind: `routerctl keys client` (`keys_client.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from controlplane.cli.keys_client import client
from shared.config import ConfigError
from shared.plane_keys import (
    PLANES,
    SECRET,
    SERVER,
    WORKERS,
    KeyFileError,
    fingerprint,
    public_file,
    public_files,
    read_pair,
    read_public,
    secret_file,
    write_new_pair,
)

keys = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
keys.add_typer(client, name="client", help="Make, list, replace and revoke clients' API keys.")
_ROLES = {PLANES: "plane", WORKERS: "worker"}
_FOLDERS = {role: folder for folder, role in _ROLES.items()}
_STATES = {None: "-", True: "let in", False: "not let in"}
_Folder = Annotated[str, typer.Option("--dir", metavar="FOLDER", help="The folder of keys.", show_default=True)]


class ShownKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key as it is shown. `secret` is the file of its secret part, where that is here; never what is in it.

    `role` is server, plane or worker; who is let in nowhere counts as a plane. `let_in` is whether the control plane of
    this folder lets it in; None where the folder is not that of a control plane, and for the control plane's own.
    """

    name: str
    role: str
    fingerprint: str
    public_key: str
    secret: str | None
    let_in: bool | None = None
    problem: str | None = None


@keys.command()
def new(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="server, or names of hosts with planes. [default: server plane]"),
    ] = None,
    folder: _Folder = "keys",
    for_workers: Annotated[
        bool, typer.Option("--workers", help="The names are those of workers that register. [default: server worker]")
    ] = False,
) -> int:
    """Make key pairs: NAME.key_secret, which only its owner can read, and NAME.key.

    The pair named server is the control plane's. All others are planes', and their public keys go to the folder's
    planes/, which lets them in; with --workers they are workers', and go to workers/. Nothing is ever overwritten.
    """
    path, guests = Path(folder), WORKERS if for_workers else PLANES
    try:
        for name in names or (SERVER, "worker" if for_workers else "plane"):
            pair = write_new_pair(path, name, guests)
            print(f"{name}: {fingerprint(pair.public)}")
            print(f"  secret  {secret_file(path, name)}")
            print(f"  public  {public_file(path, name, guests)}")
    except KeyFileError as error:
        raise ConfigError(str(error)) from None
    return 0


@keys.command()
def show(folder: _Folder = "keys", as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> int:
    """Show the keys of a folder with their fingerprints, who is let in by them, and what is wrong with its files.

    The exit code is 1 when something is.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ConfigError(f"{path} is no folder; give the one of your keys with --dir")
    shown = [
        _shown(path, file)
        for file in (*public_files(path), *public_files(path / PLANES), *public_files(path / WORKERS))
    ]
    known = {key.name for key in shown}
    shown += [_lone(file) for file in sorted(path.glob(f"*{SECRET}")) if file.stem not in known]
    if secret_file(path, SERVER).exists():
        shown = [_judged(path, key) for key in shown]
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode())
    else:
        for key in shown:
            state = _STATES[key.let_in]
            print(f"{key.role:6}  {key.name:16}  {state:10}  {key.fingerprint:50}  {key.public_key}".rstrip())
            if key.problem is not None:
                print(f"        {key.problem}")
        if not shown:
            print(f"no keys in {path}; make some with: routerctl keys new --dir {path}")
    return int(any(key.problem is not None for key in shown))


def _judged(folder: Path, key: ShownKey) -> ShownKey:
    if key.role == "server":
        return key
    let_in = public_file(folder, key.name, _FOLDERS[key.role]).exists() and key.public_key != ""
    return msgspec.structs.replace(key, let_in=let_in)


def _shown(folder: Path, file: Path) -> ShownKey:
    name, role = file.stem, _ROLES.get(file.parent.name, "server")
    secret = secret_file(folder, name)
    problem = None
    try:
        public = read_public(file)
        if secret.exists() and read_pair(secret).public != public:
            problem = f"{secret} is the secret of another public key"
    except KeyFileError as error:
        return ShownKey(name=name, role=role, fingerprint="-", public_key="", secret=None, problem=str(error))
    return ShownKey(
        name=name,
        role=role,
        fingerprint=fingerprint(public),
        public_key=public.decode(),
        secret=str(secret) if secret.exists() else None,
        problem=problem,
    )


def _lone(file: Path) -> ShownKey:
    """Show a pair whose public file is not here: that of a plane on its own host, or one that was taken out."""
    role = "server" if file.stem == SERVER else "plane"
    try:
        public = read_pair(file).public
    except KeyFileError as error:
        return ShownKey(name=file.stem, role=role, fingerprint="-", public_key="", secret=str(file), problem=str(error))
    return ShownKey(
        name=file.stem,
        role=role,
        fingerprint=fingerprint(public),
        public_key=public.decode(),
        secret=str(file),
    )
