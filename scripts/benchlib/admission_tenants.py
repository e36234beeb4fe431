"""What one tenant waits for its first byte, alone and beside one that asks for ten times its share."""

import hashlib
import time

from benchlib.admission_load import Clients, Shares
from benchlib.admission_plot import Bar
from benchlib.admission_rig import Rig
from benchlib.admission_wire import ClientsSpec, Told
from benchlib.stats import quantile

LIMIT = 20
SERVICE = 0.2
_TIMES = 10
# Answers of one length would end together, and whoever comes after that waits for the next end of all of them.
_SPREAD = 1.0


def tenants(rig: Rig, planes: int, seconds: float) -> list[Bar]:
    """Print it, and return it for a picture. Each tenant's share is half of what there is."""
    keys = {name: f"sk-routerctl-{name}{'x' * 40}" for name in ("quiet", "flood")}
    file = rig.folder / "keys.toml"
    file.write_text(
        "".join(
            f'[[keys]]\nname = "{name}"\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\n'
            for name, key in keys.items()
        )
    )
    file.chmod(0o600)
    limits = (f"--max-concurrent-requests={LIMIT}", "--queue-size=1000", f"--client-keys-file={file}")
    with rig.router(planes, SERVICE, *limits, spread=_SPREAD) as (router, worker):
        # So many clients use just their tenant's share.
        quiet = Clients(rig.processes, ClientsSpec(port=router.port, connections=LIMIT // 2, key=keys["quiet"]))
        flood = Clients(
            rig.processes, ClientsSpec(port=router.port, connections=_TIMES * LIMIT // 2, key=keys["flood"])
        )
        quiet.start()
        time.sleep(3)
        alone = time.monotonic(), time.monotonic() + seconds
        time.sleep(seconds)
        flood.start()
        time.sleep(3)
        shares = Shares(router, {"clients": flood.pid, "quiet clients": quiet.pid, "worker": worker.pid})
        beside = time.monotonic(), time.monotonic() + seconds
        time.sleep(seconds)
        text = shares.text()
        told = {"quiet": quiet.stop(), "flood": flood.stop()}
    bars = [
        _bar("quiet, alone", told["quiet"], *alone),
        _bar(f"quiet, beside {_TIMES} x", told["quiet"], *beside),
        _bar("flood", told["flood"], *beside),
    ]
    for bar in bars:
        print(f"tenant {bar.name}: {bar.per_second:.0f}/s, TTFT p50 {bar.p50 * 1e3:.1f}, p99 {bar.p99 * 1e3:.1f} ms")
    times = bars[1].p99 / bars[0].p99
    print(f"{planes} planes: the quiet tenant's TTFT p99 is {times:.2f} times what it is alone; {text}", flush=True)
    return bars


def _bar(name: str, told: Told, begin: float, end: float) -> Bar:
    first = [one.first for one in told.between(begin, end, 200)]
    return Bar(name, len(first) / (end - begin), quantile(first, 0.5), quantile(first, 0.99))
