"""The runtime folder: where the processes of one router find each other.

It is private (mode 0700, owned by the user that runs the router), because whoever can write to its sockets
commands the router. Everything in it may be lost without losing more than the last known good table.
"""

from __future__ import annotations

import os
import pwd
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from shared.decoding import DECODE_ERRORS
from shared.plane_identity import PlaneIdentity

T = TypeVar("T")

# A UNIX socket's path must fit into sockaddr_un.sun_path: 108 bytes with the closing zero.
_MAX_SOCKET_PATH = 107
_LONGEST_NAME = len("plane-0123456789abcdef.ipc")


class RuntimeDirError(Exception):
    """The runtime folder can not be used; the message says why and what to do."""


class ProcessRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Who a process is. `start_ticks` (from /proc) tells it from a later process with the same pid.

    `wire` is the digest of the messages that its code speaks (`shared.plane_fingerprint`); empty until it has told.
    """

    pid: int
    start_ticks: int
    version: str
    started: float
    wire: str = ""


class SupervisorRecord(ProcessRecord, frozen=True, kw_only=True):
    """The supervisor, and whether it is about to end the router."""

    is_stopping: bool = False


class PlaneRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A plane that runs or ran. `fingerprint` covers what can not change without a new process."""

    process: ProcessRecord
    identity: PlaneIdentity
    fingerprint: str


def default_runtime_dir(port: int) -> Path:
    """Return the folder used when none is given: one per port, under the user's own runtime folder."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base:
        return Path(base) / "routerctl" / str(port)
    return Path(tempfile.gettempdir()) / f"routerctl-{os.getuid()}" / str(port)


@dataclass(frozen=True)
class RuntimeDir:
    """Names every file and socket in the folder. Creating one touches nothing; see `prepare`."""

    path: Path

    def prepare(self) -> None:
        """Create the folder, or check the one that is there. Raises RuntimeDirError."""
        try:
            # mkdir's own `parents` would make them with the umask's mode.
            for folder in (*reversed(self.path.parents), self.path):
                if not folder.exists():
                    folder.mkdir(mode=0o700, exist_ok=True)
            self.planes.mkdir(mode=0o700, exist_ok=True)
            info = self.path.stat()
            above = self.path.parent.stat()
        except OSError as error:
            raise RuntimeDirError(
                f"runtime folder {self.path}: {error.strerror}; give another one with --runtime-dir"
            ) from error
        if info.st_uid != os.getuid():
            raise RuntimeDirError(
                f"runtime folder {self.path} belongs to user id {info.st_uid}, not to you ({os.getuid()}); "
                "give another one with --runtime-dir"
            )
        if stat.S_IMODE(info.st_mode) & 0o077:
            raise RuntimeDirError(
                f"runtime folder {self.path} can be entered by other users (mode "
                f"{stat.S_IMODE(info.st_mode):04o}); run: chmod 700 {self.path}"
            )
        others_may_replace_it = above.st_mode & 0o022 and not above.st_mode & stat.S_ISVTX
        if above.st_uid not in (0, os.getuid()) or others_may_replace_it:
            raise RuntimeDirError(
                f"runtime folder {self.path}: other users may replace it, as {self.path.parent} belongs to user id "
                f"{above.st_uid} with mode {stat.S_IMODE(above.st_mode):04o}; give another one with --runtime-dir"
            )
        longest = len(os.fsencode(self.path)) + 1 + _LONGEST_NAME
        if longest > _MAX_SOCKET_PATH:
            raise RuntimeDirError(
                f"runtime folder {self.path}: the path is {longest - _MAX_SOCKET_PATH} bytes too long for the "
                "sockets in it; give a shorter one with --runtime-dir"
            )

    def check_readable(self) -> None:
        """Raise RuntimeDirError when it is there and this user may not look into it."""
        try:
            # Each folder above has to be entered, too, to see whether there is one.
            for _ in self.planes.iterdir():
                break
        except PermissionError:
            folder = next(path for path in (self.path, *self.path.parents) if os.access(path.parent, os.X_OK))
            owner = folder.stat().st_uid
            what = f"runtime folder {self.path}: {folder} belongs to {_user(owner)}, and you ({_user(os.getuid())})"
            raise RuntimeDirError(
                f"{what} may not look into it; run the command as that user (sudo), or name the router with --admin URL"
            ) from None
        except OSError:
            # There is none, or it is no folder: then there is no router in it, either.
            return

    @property
    def config(self) -> Path:
        """The resolved configuration that the processes start from."""
        return self.path / "config.json"

    @property
    def sources(self) -> Path:
        """What that configuration was made from; a reload makes it anew."""
        return self.path / "sources.json"

    @property
    def history(self) -> Path:
        """The texts of the configuration file that were in use, newest last, as JSON. It outlives a stop."""
        return self.path / "config-history.json"

    @property
    def uplink(self) -> Path:
        """Where planes find a control plane on another host (`shared.uplink.Uplink`)."""
        return self.path / "uplink.json"

    @property
    def lock(self) -> Path:
        """Held (flock) by the supervisor for as long as it lives."""
        return self.path / "supervisor.lock"

    @property
    def supervisor(self) -> Path:
        """The SupervisorRecord."""
        return self.path / "supervisor.json"

    @property
    def supervisor_endpoint(self) -> str:
        """Where the supervisor takes requests (ROUTER)."""
        return f"ipc://{self.supervisor_socket}"

    @property
    def supervisor_socket(self) -> Path:
        """The file behind `supervisor_endpoint`."""
        return self.path / "supervisor.ipc"

    @property
    def control_plane(self) -> Path:
        """The control plane's ProcessRecord."""
        return self.path / "control-plane.json"

    @property
    def control_plane_lock(self) -> Path:
        """Held (flock) by the control plane for as long as it lives."""
        return self.path / "control-plane.lock"

    @property
    def table(self) -> Path:
        """The last known good table, as `shared.messages` encodes it."""
        return self.path / "table.msgpack"

    @property
    def members(self) -> Path:
        """Which workers were added, removed and drained since the router was started, as JSON."""
        return self.path / "members.json"

    @property
    def worker_key(self) -> Path:
        """The workers' key, where it was given as a word (`--api-key`)."""
        return self.path / "worker-key"

    @property
    def totals(self) -> Path:
        """What the planes have counted, for the next control plane (`controlplane.totals_store`)."""
        return self.path / "totals.msgpack"

    @property
    def history_rows(self) -> Path:
        """What the router did, a line of JSON for each 15 s (`controlplane.reports`). It outlives a stop."""
        return self.path / "history.jsonl"

    @property
    def history_sums(self) -> Path:
        """The sums up to which all is in the history, for the next control plane."""
        return self.path / "history-sums.msgpack"

    def events(self, teller: str) -> Path:
        """The events that one of the processes has kept, as lines of JSON. They outlive a stop."""
        return self.path / f"events-{teller.replace(' ', '-')}.jsonl"

    @property
    def epoch(self) -> Path:
        """The last epoch that a control plane used, as decimal text."""
        return self.path / "epoch"

    @property
    def planes(self) -> Path:
        """One PlaneRecord per plane, named by its id."""
        return self.path / "planes"

    def plane(self, plane_id: str) -> Path:
        """The record of one plane."""
        return self.planes / f"{plane_id}.json"

    @property
    def publish_endpoint(self) -> str:
        """Where the control plane publishes (XPUB)."""
        return f"ipc://{self.path}/publish.ipc"

    @property
    def control_endpoint(self) -> str:
        """Where the control plane answers and takes reports (ROUTER)."""
        return f"ipc://{self.path}/control.ipc"

    def plane_endpoint(self, plane_id: str) -> str:
        """Where one plane tells how it is (ROUTER)."""
        return f"ipc://{self.path}/plane-{plane_id}.ipc"

    def plane_socket(self, plane_id: str) -> Path:
        """The file behind `plane_endpoint`."""
        return self.path / f"plane-{plane_id}.ipc"

    def plane_handover(self, plane_id: str) -> Path:
        """The UNIX socket where a plane's successor gets its listening socket."""
        return self.path / f"plane-{plane_id}.fd"


def _user(number: int) -> str:
    try:
        return f"user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"user id {number}"


def write_atomically(path: Path, data: bytes) -> None:
    """Write a private file so that a reader sees the old content or the new, also after a crash between."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError:
        # On a full disk what could be written of it would take the room of others.
        temporary.unlink(missing_ok=True)
        raise


def write_record(path: Path, record: msgspec.Struct) -> None:
    """Write a Struct as JSON, atomically."""
    write_atomically(path, msgspec.json.encode(record))


def read_record(path: Path, kind: type[T]) -> T | None:
    """Read a Struct written by `write_record`; None when there is none or it can not be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, *DECODE_ERRORS):
        return None
