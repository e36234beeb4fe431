"""What a configuration that comes into use leaves on disk: the user's file, the history, what processes start from.

All of it or nothing, as far as a disk allows: when one of them can not be written, those before it are put back.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from controlplane.config_history import History
from shared.config import StartConfig
from shared.runtime_dir import RuntimeDir, read_record, write_atomically


def read_history(runtime: RuntimeDir) -> History:
    """Return the history; an empty one when there is none or it can not be read."""
    return read_record(runtime.history, History) or History()


class NewText(NamedTuple):
    """The text that the user's file at `path` gets instead of `before`; None is no file."""

    path: str
    before: str | None
    text: str


def keep(
    runtime: RuntimeDir,
    *,
    file: NewText | None = None,
    history: History | None = None,
    config: StartConfig | None = None,
) -> None:
    """Write what is given. Raises OSError, with everything as it was."""
    with ExitStack() as undo:
        if file is not None:
            replace_text(file.path, file.text)
            undo.callback(_restore_text, file)
        if history is not None:
            _replace(undo, runtime.history, msgspec.json.encode(history))
        if config is not None:
            _replace(undo, runtime.config, msgspec.json.encode(config))
        undo.pop_all()


def replace_text(path: str, text: str) -> None:
    """Give a user's file another text at once: readers, and a crash, find the old one or the new one.

    Links stay, and so do its mode and, where we may set them, its owner and group. Raises OSError.
    """
    target = Path(os.path.realpath(path))
    was = target.stat() if target.exists() else None
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        # One that comes back is as any new file of this user, as its author would make it.
        mode = 0o600 if was is not None else 0o666
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(text.encode())
            if was is not None:
                os.fchmod(file.fileno(), was.st_mode & 0o7777)
                with suppress(PermissionError):
                    os.fchown(file.fileno(), was.st_uid, was.st_gid)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _restore_text(file: NewText) -> None:
    if file.before is None:
        Path(file.path).unlink(missing_ok=True)
    else:
        _quietly(replace_text, file.path, file.before)


def _replace(undo: ExitStack, path: Path, data: bytes) -> None:
    before = path.read_bytes() if path.exists() else None
    write_atomically(path, data)
    if before is None:
        undo.callback(path.unlink, missing_ok=True)
    else:
        undo.callback(_quietly, write_atomically, path, before)


def _quietly(write: Callable[..., None], *arguments: object) -> None:
    # What has failed is on its way to the user already.
    with suppress(OSError):
        write(*arguments)
