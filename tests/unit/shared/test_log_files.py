"""Log files: whole lines, rotated once however many processes write, and bounded."""

from __future__ import annotations

import multiprocessing
import os
import resource
from pathlib import Path

import pytest

from shared.log_files import LogFile
from shared.own_folder import hold
from shared.runtime_dir import RuntimeDir

LINE = b"x" * 99 + b"\n"


def test_lines_are_appended_to_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.log"
    for _ in range(2):
        file = LogFile(path)
        file.write(LINE)
        file.close()
    assert path.read_bytes() == LINE * 2


def test_a_large_file_makes_room_and_the_oldest_one_goes(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    file = LogFile(path, most_bytes=250, kept=2)
    for number in range(9):
        file.write(b"%d" % number + LINE[1:])
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.log", "a.log.1", "a.log.2"]
    assert [(tmp_path / name).read_bytes()[:1] for name in ("a.log.2", "a.log.1", "a.log")] == [b"4", b"6", b"8"]


def test_a_large_file_makes_room_also_in_the_folder_that_a_router_holds(tmp_path: Path) -> None:
    descriptor = hold(RuntimeDir(tmp_path))
    assert descriptor is not None
    file = LogFile(tmp_path / "a.log", most_bytes=150)
    file.write(LINE)
    file.write(LINE)
    os.close(descriptor)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.log", "a.log.1"]


def test_a_file_that_somebody_else_rotated_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    file = LogFile(path)
    file.write(LINE)
    path.rename(tmp_path / "moved")
    file.write(b"next\n")
    assert path.read_bytes() == b"next\n"
    path.unlink()
    file.write(b"last\n")
    assert path.read_bytes() == b"last\n"


def _fill(path: Path, name: int) -> None:
    file = LogFile(path, most_bytes=20_000, kept=1000)
    for number in range(400):
        file.write(b"%d %03d " % (name, number) + LINE[6:])


def test_no_line_is_lost_or_torn_where_processes_rotate_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    processes = [multiprocessing.get_context("fork").Process(target=_fill, args=(path, name)) for name in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    lines = [line for file in tmp_path.iterdir() for line in file.read_bytes().splitlines()]
    assert len(lines) == 3 * 400
    assert {line[:6] for line in lines} == {b"%d %03d " % (name, n) for name in range(3) for n in range(400)}
    assert all(file.stat().st_size < 21_000 for file in tmp_path.iterdir())


def test_a_folder_that_can_not_be_made_is_an_error_for_the_caller(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        LogFile(tmp_path / "file" / "a.log").write(LINE)


def _tear(path: Path) -> None:
    """Write two lines where there is room for one and a half, and then two more."""
    file = LogFile(path)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150, most))
    with pytest.raises(OSError, match="File too large"):
        file.write(LINE * 2)
    with pytest.raises(OSError, match="File too large"):
        file.write(b"none of it\n")
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    file.write(b"next\n")
    file.write(b"last\n")


def test_a_line_that_a_full_disk_cut_off_spoils_no_other(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_tear, args=(tmp_path / "a.log",))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert (tmp_path / "a.log").read_bytes() == (LINE * 2)[:150] + b"\nnext\nlast\n"
