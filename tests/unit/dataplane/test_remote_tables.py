from pathlib import Path

import trustme

from dataplane.remote_tables import RemoteTables
from shared.runtime_dir import RuntimeDir
from shared.table import RoutingTable, Settings, make_table


def table(ca_file: str | None) -> RoutingTable:
    return make_table(epoch=1, version=1, settings=Settings(worker_ca_file=ca_file))


def test_the_files_of_a_table_must_be_on_this_host_too(tmp_path: Path) -> None:
    tables = RemoteTables(RuntimeDir(tmp_path))
    path = tmp_path / "ca.pem"
    assert tables.refuse(table(None)) is None
    refusal = tables.refuse(table(str(path)))
    assert refusal is not None
    assert f"--worker-ca-file {path}: No such file" in refusal
    assert "on this host, too" in refusal
    assert len(refusal) < 300
    # What was refused is looked at again, and what was good is not refused once the file goes.
    trustme.CA().cert_pem.write_to_path(str(path))
    assert tables.refuse(table(str(path))) is None
    path.unlink()
    assert tables.refuse(table(str(path))) is None
    assert tables.refuse(table(None)) is None
    assert tables.refuse(table(str(path))) is not None


def test_so_must_the_file_of_the_workers_key(tmp_path: Path) -> None:
    tables = RemoteTables(RuntimeDir(tmp_path))
    path = tmp_path / "key"
    named = make_table(epoch=1, version=1, settings=Settings(worker_key_file=str(path)))
    refusal = tables.refuse(named)
    assert refusal is not None
    assert f"--api-key-file {path}: No such file" in refusal
    assert "on this host, too" in refusal
    path.write_text("secret")
    assert tables.refuse(named) is None
