"""What the control plane says of itself to whoever starts it."""

from __future__ import annotations

import os

from controlplane.planes import Planes
from shared.messages import ControlStatus
from shared.table import RoutingTable
from shared.version import __version__


def own_status(table: RoutingTable, planes: Planes, *, ports_settled: bool) -> ControlStatus:
    """Build the status of this process; `ports_settled` as in `ControlStatus`."""
    return ControlStatus(
        pid=os.getpid(),
        version=__version__,
        stamp=table.stamp,
        workers=len(table.workers),
        ready_workers=sum(worker.state == "ready" for worker in table.workers.values()),
        refused=next((plane.nack for plane in planes.present() if plane.nack), ""),
        ports_settled=ports_settled,
    )
