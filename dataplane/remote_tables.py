"""What a plane on another host does about tables itself: keeps the last one on its own disk, and looks for files."""

from __future__ import annotations

from pathlib import Path

from shared.config import ConfigError
from shared.runtime_dir import RuntimeDir
from shared.table import RoutingTable
from shared.table_writer import TableWriter
from shared.tls import TlsConfig, TlsFileError, load, tls_config
from shared.worker_key import read_worker_key

_HERE = "on this host, too: put the file there, then restart its planes"


class RemoteTables:
    """Paths in a table are of the control plane's host; the same files have to be here, too."""

    def __init__(self, runtime: RuntimeDir) -> None:
        self._writer = TableWriter(runtime)
        self._usable: TlsConfig | None = None
        self._usable_key: str | None = None

    def refuse(self, table: RoutingTable) -> str | None:
        """Return which of the table's files can not be used on this host, and what to do; None when all can."""
        config = tls_config(table.settings)
        # Loading takes 20 ms: once for each new set of files.
        if config != self._usable and config.files():
            try:
                load(config)
            except TlsFileError as error:
                return f"{error}; {_HERE}"
        self._usable = config
        key = table.settings.worker_key_file
        if key != self._usable_key and key is not None:
            try:
                read_worker_key("--api-key-file", Path(key))
            except ConfigError as error:
                return f"{error}; {_HERE}"
        self._usable_key = key
        return None

    def keep(self, table: RoutingTable) -> None:
        """Have a table written to disk soon, for a plane that starts while the control plane can not be reached."""
        self._writer.note(table)

    async def run(self) -> None:
        """Write until cancelled."""
        await self._writer.run()
