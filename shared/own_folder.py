"""What a process of the router does first in its runtime folder: keep it where it is, and read what it starts from."""

from __future__ import annotations

import fcntl
import os

import msgspec

from shared.config import StartConfig
from shared.decoding import DECODE_ERRORS
from shared.runtime_dir import RuntimeDir, RuntimeDirError


def hold(runtime: RuntimeDir) -> int | None:
    """Lock the folder for as long as this process lives; return the open descriptor, None where it can not be locked.

    A router's files grow old while it runs, and systemd-tmpfiles removes old ones from /tmp: it leaves out folders that
    somebody has locked (tmpfiles.d(5), on the aging algorithm). All processes share the lock.
    """
    descriptor = os.open(runtime.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        # A file system without locks, or a cleaner that is at it: the router can do without.
        os.close(descriptor)
        return None
    return descriptor


def begin_in(runtime: RuntimeDir) -> StartConfig:
    """Hold the folder and return the configuration in it. Raises RuntimeDirError where that is not there any more."""
    try:
        hold(runtime)
        return msgspec.json.decode(runtime.config.read_bytes(), type=StartConfig)
    except OSError as error:
        raise RuntimeDirError(
            f"runtime folder {runtime.path}: {runtime.config.name}: {error.strerror}. Something removed it while the "
            "router ran, so nothing that dies can be replaced. Stop the router and start it again, with a "
            "--runtime-dir where old files stay and that does not end with a login, such as /var/lib/routerctl"
        ) from error
    except DECODE_ERRORS as error:
        raise RuntimeDirError(f"{runtime.config} can not be read: {error}; start the router again") from error
