"""The first act of a router: take what still runs, start what is missing, at once and before anything else loads."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field

import msgspec

from controlplane.children import Plane, Process, Spawner, forget_all_but
from controlplane.preflight import Survey, note_strays
from controlplane.supervision import plan_planes
from shared.config import StartConfig
from shared.plane_fingerprint import plane_fingerprint
from shared.process import own_record
from shared.runtime_dir import RuntimeDir, write_atomically, write_record


@dataclass(frozen=True)
class Opening:
    """What runs when the supervisor's loop begins.

    `planes` were adopted or have just been started, `outdated` ones are to be replaced, `surplus` ones to be
    stopped; `strays` are those among both whose records could not be read. `control_plane` is None when `predecessor`,
    another supervisor's, has to end first.
    """

    control_plane: Process | None
    predecessor: Process | None
    planes: dict[int, Plane]
    outdated: dict[int, Plane]
    surplus: tuple[Plane, ...]
    strays: tuple[Plane, ...]
    is_first_start: bool


@dataclass(frozen=True)
class EarlySignals:
    """Keeps signals that come between the first child's start and the loop's, which then acts on them.

    They are SIGINT, SIGTERM and SIGHUP. Without it one of them would end the supervisor and leave the children behind.
    """

    caught: list[signal.Signals] = field(default_factory=list)

    def install(self) -> None:
        """Catch from now on. Children are not affected: exec resets caught signals."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda caught, _frame: self.caught.append(signal.Signals(caught)))


def open_router(config: StartConfig, runtime: RuntimeDir, found: Survey, spawner: Spawner) -> Opening:
    """Write down the configuration and start the processes that are missing.

    Raises OSError when it can not be written; then nothing was started.
    """
    plan = plan_planes((record for record, _ in found.planes), plane_fingerprint(config), config.data_planes)
    by_id = {record.identity.id: plane for record, plane in found.planes}
    write_atomically(runtime.config, msgspec.json.encode(config))
    write_record(runtime.supervisor, own_record())
    # From a time when planes here followed a control plane on another host.
    runtime.uplink.unlink(missing_ok=True)
    forget_all_but(runtime, set(by_id))
    note_strays(runtime, found)
    if not by_id:
        # No plane lives by the last table any more: it may name workers that this router was never told of.
        runtime.table.unlink(missing_ok=True)
        runtime.members.unlink(missing_ok=True)
        runtime.totals.unlink(missing_ok=True)
        runtime.history_sums.unlink(missing_ok=True)
    control_plane = spawner.control_plane() if found.control_plane is None else None
    planes = {slot: spawner.plane(slot) for slot in plan.start}
    planes.update({slot: by_id[record.identity.id] for slot, record in plan.adopt.items()})
    return Opening(
        control_plane=control_plane,
        predecessor=found.control_plane,
        planes=planes,
        outdated={slot: by_id[record.identity.id] for slot, record in plan.replace.items()},
        surplus=tuple(by_id[record.identity.id] for record in plan.stop),
        strays=tuple(plane for _, plane in found.strays),
        is_first_start=plan.is_first_start,
    )
