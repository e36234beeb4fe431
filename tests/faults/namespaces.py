"""Two network namespaces with links between them that can be cut: two hosts on one machine. Needs root."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class CanNotIsolate(Exception):  # noqa: N818 - a state of the machine
    """This user or machine can not make namespaces; the message says why."""


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _own() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Host:
    """One namespace. Threads and processes that are started `inside` it belong to it."""

    def __init__(self) -> None:
        home = _own()
        try:
            if _libc.unshare(_CLONE_NEWNET):
                raise CanNotIsolate(f"unshare: {os.strerror(ctypes.get_errno())}; run the test as root")
            self._descriptor = _own()
        finally:
            _enter(home)
            os.close(home)
        self.path = f"/proc/{os.getpid()}/fd/{self._descriptor}"
        self.run("link", "set", "lo", "up")

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Have this thread there for the block."""
        home = _own()
        _enter(self._descriptor)
        try:
            yield
        finally:
            _enter(home)
            os.close(home)

    def run(self, *arguments: str) -> None:
        """Run `ip` there."""
        with self.inside():
            done = subprocess.run(("ip", *arguments), capture_output=True, text=True, timeout=30)
        if done.returncode:
            raise CanNotIsolate(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

    def close(self) -> None:
        """Let it go with all of its links, once its last process has ended."""
        os.close(self._descriptor)


def connect(one: Host, other: Host, name: str, network: str) -> None:
    """Lay a link between two hosts: addresses `network`.1 and `network`.2, named `name` on both."""
    one.run("link", "add", name, "type", "veth", "peer", "name", name, "netns", other.path)
    for number, host in ((1, one), (2, other)):
        host.run("address", "add", f"{network}.{number}/24", "dev", name)
        host.run("link", "set", name, "up")


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Yield two hosts without a link. Raises CanNotIsolate."""
    if shutil.which("ip") is None:
        raise CanNotIsolate("there is no `ip` command (iproute2)")
    one = Host()
    try:
        other = Host()
        try:
            yield one, other
        finally:
            other.close()
    finally:
        one.close()
