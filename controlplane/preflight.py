"""What must hold before a router starts: the runtime folder is ours alone and the ports can be had.

Until all of it holds nothing is started, stopped or written but the lock file, so that a second router that is
started by mistake harms nothing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from controlplane.children import Plane, Process, find_control_plane, find_planes, find_strays
from controlplane.port_holder import why_taken
from controlplane.supervision import slots_for
from shared.config import StartConfig, flag_of, join_address
from shared.decoding import DECODE_ERRORS
from shared.discovery_config import discovery_addresses
from shared.log_output import make_files
from shared.own_folder import hold
from shared.plane_identity import PlaneIdentity
from shared.remote_address import parse_remote_address
from shared.runtime_dir import PlaneRecord, RuntimeDir, write_record


class CanNotStart(Exception):  # noqa: N818 - it is a state of the machine, no fault of the program
    """The router can not be started here and now; the message is one line with the cause and what to do."""


def why_not_started(runtime: RuntimeDir, error: OSError) -> str:
    """Say what was wrong when a router's files were written and its first processes started, and what to do."""
    if isinstance(error.filename, str) and not Path(error.filename).is_relative_to(runtime.path):
        return f"{error.filename} can not be started: {error.strerror}; see that this user may read and run it"
    if error.errno in (errno.EAGAIN, errno.ENOMEM):
        return f"no process can be started: {error.strerror}; see how many processes and how much memory there may be"
    return f"runtime folder {runtime.path}: {error.strerror}; give another one with --runtime-dir"


class Survey(msgspec.Struct, frozen=True):
    """What an earlier supervisor left running. `config` is what it ran with; None when that can not be told.

    Of a plane whose record could not be read there is one with an empty fingerprint, and a slot that nobody else has.
    """

    planes: list[tuple[PlaneRecord, Plane]]
    control_plane: Process | None
    config: StartConfig | None

    @property
    def strays(self) -> list[tuple[PlaneRecord, Plane]]:
        """Those whose records could not be read."""
        return [(record, plane) for record, plane in self.planes if not record.fingerprint]


def check_log_folder(config: StartConfig) -> None:
    """Make sure that lines can be written into the folder of `--log-dir`: a process that logs tells nobody if not."""
    if config.log_dir is None:
        return
    try:
        make_files(Path(config.log_dir))
    except OSError as error:
        # What is wrong may be a folder above it, or a file within.
        at = f"{error.filename}: " if error.filename not in (None, str(Path(config.log_dir))) else ""
        raise CanNotStart(
            f"--log-dir {config.log_dir}: {at}{error.strerror}; give a folder that this user may write to"
        ) from None


def take_lock(runtime: RuntimeDir) -> BinaryIO:
    """Make this process the folder's one supervisor for as long as the returned file is open, and hold the folder."""
    try:
        file = open(runtime.lock, "a+b")  # noqa: SIM115 - it stays open as long as the process lives
    except OSError as error:
        raise CanNotStart(f"{runtime.lock}: {error.strerror}; give another folder with --runtime-dir") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().decode(errors="replace").strip()
        file.close()
        by = f"process {holder}" if holder else "another process"
        raise CanNotStart(
            f"a router already runs on runtime folder {runtime.path} (supervisor: {by}); "
            "stop it, or give this one another --runtime-dir and --port"
        ) from None
    hold(runtime)
    # Only for the message above: a full disk does not keep a router from starting.
    with suppress(OSError):
        file.truncate(0)
        os.write(file.fileno(), str(os.getpid()).encode())
    return file


def survey(runtime: RuntimeDir, data_planes: int) -> Survey:
    """Look for what an earlier supervisor left running, where there are to be so many planes. Touches nothing."""
    config = None
    with suppress(OSError, *DECODE_ERRORS):
        config = msgspec.json.decode(runtime.config.read_bytes(), type=StartConfig)
    control_plane = find_control_plane(runtime)
    planes = find_planes(runtime)
    known = {plane.process.pid for _, plane in planes}
    strays = find_strays(runtime, known | ({control_plane.pid} if control_plane is not None else set()))
    slots = slots_for(strays, (record.identity.slot for record, _ in planes), data_planes)
    planes += [_unread(plane_id, slots[plane_id], process) for plane_id, process in strays.items()]
    return Survey(planes, control_plane, config)


def _unread(plane_id: str, slot: int, process: Process) -> tuple[PlaneRecord, Plane]:
    told = process.record
    identity = PlaneIdentity(id=plane_id, slot=slot, pid=told.pid, version=told.version, started=told.started)
    return PlaneRecord(process=told, identity=identity, fingerprint=""), Plane(process, identity)


def note_strays(runtime: RuntimeDir, found: Survey) -> None:
    """Write readable records of planes that have none, for whoever else looks into the folder. Raises OSError."""
    for record, _ in found.strays:
        write_record(runtime.plane(record.identity.id), record)


def check_ports(config: StartConfig, found: Survey) -> None:
    """Raise CanNotStart when a port that we need is held by anybody but our own processes."""
    check_data_port(config, found)
    ports = [
        ("--admin-port", config.admin_host, config.admin_port),
        ("--prometheus-port", config.prometheus_host, config.prometheus_port),
    ]
    if config.control_bind is not None:
        address = parse_remote_address("--control-bind", config.control_bind)
        ports += [("--control-bind", address.host, port) for port in address.ports]
    ports += [(flag_of(field), host, port) for field, (host, port) in discovery_addresses(config)]
    for flag, host, port in ports:
        if not _is_held_by_control_plane(port, found):
            _check_port(flag, host, port, shared=False)


def check_data_port(config: StartConfig, found: Survey) -> None:
    """Raise CanNotStart when the planes' port is held by anybody but our own planes."""
    # Planes that were left running hold the port, and share it; a stranger's socket does not.
    shares = any(_listens_on(record, config.port) for record, _ in found.planes)
    _check_port("--port", config.host, config.port, shared=shares)


def _listens_on(record: PlaneRecord, port: int) -> bool:
    # The fingerprint of another version may have another form, but an address is in it. Of none nothing is known.
    return not record.fingerprint or any(part.endswith(f":{port}") for part in record.fingerprint.split())


def _is_held_by_control_plane(port: int, found: Survey) -> bool:
    # It will be ended before its successor needs the port. Without its configuration we can not tell.
    if found.control_plane is None:
        return False
    if (config := found.config) is None:
        return True
    bind = config.control_bind
    remote = parse_remote_address("--control-bind", bind).ports if bind is not None else ()
    registration = (address[1] for _, address in discovery_addresses(config))
    return port in (config.admin_port, config.prometheus_port, *remote, *registration)


def _check_port(flag: str, host: str, port: int, *, shared: bool) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do it: connections of a server that has just ended must not count as its presence.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CanNotStart(
                f"can not listen on {join_address(host, port)}: {_advice(error, flag, host, port)}"
            ) from None


def _advice(error: OSError, flag: str, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{why_taken(host, port)}, or choose another port with {flag}"
    host_flag = flag.replace("port", "host")
    if error.errno == errno.EADDRNOTAVAIL:
        return f"this machine has no such address; give one of its own with {host_flag}, or 0.0.0.0 for all"
    if error.errno == errno.EACCES:
        return f"this user may not open that port; choose one above 1023 with {flag}"
    return f"{error.strerror}; check {host_flag} and {flag}"
