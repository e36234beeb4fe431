"""What one version of the table offers to requests, compiled for choosing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from dataplane.model_routes import Route
from dataplane.models_page import ModelsPage
from dataplane.pd.pairs import Fits
from dataplane.policies import Policy
from dataplane.slot import Slot
from dataplane.subsets import Groups, Served, may_serve
from shared.errors import RouterError, model_not_found, no_worker
from shared.table import RoutingTable, Settings, Worker

PoolName = Literal["plain", "prefill", "decode"]
"""Who may take what: a whole request, or one half of one that is disaggregated."""


@dataclass(frozen=True)
class FleetView:
    """What one table version offers: `ready` in the table's order, `by_model` those that serve each model or subset.

    `ready` has the ejected ones, too: they are used when nobody else is left. In `any_request`, `by_model` and
    `any_model` workers are in groups by priority, best first, and there is at least one group. Ejected ones and those
    with an open breaker are left out there; those in `recovering` may want a probe. `ranks` are the
    data-parallel ranks that workers are, ready or not: of a pool its own, of `plain` all.

    `kind` is what its workers are called in texts.
    `policy` chooses for all models but those of `model_policies`, which few fleets have. `prepares` tells whether some
    policy of the view or of its pools has something to do before it chooses. `names_worker`: answers' heads tell
    clients of the choice. `routes` are for the names of `[models]`, which are no models. `has_priorities`: there are
    requests with several groups.

    `pools` has a view of the prefill workers and one of the decode workers, where there is prefill/decode at all, and
    then `fits` tells which of them can be a pair.
    """

    pool: PoolName
    kind: str
    pools: Mapping[PoolName, FleetView]
    fits: Fits | None
    table: RoutingTable
    settings: Settings
    request_id_headers: tuple[bytes, ...]
    session_headers: tuple[bytes, ...]
    policy: Policy
    model_policies: Mapping[str | None, Policy]
    prepares: bool
    names_worker: bool
    ready: tuple[Slot, ...]
    any_request: Groups
    by_model: Mapping[Served, Groups]
    any_model: Groups
    recovering: tuple[Slot, ...]
    has_priorities: bool
    ranks: frozenset[int]
    routes: Mapping[str, Route]

    def of(self, pool: PoolName) -> FleetView:
        """Return what is offered to one kind of request."""
        return self.pools.get(pool, self)

    def policy_of(self, model: str | None) -> Policy:
        """Return the policy that chooses for a model (None: for a request without one)."""
        return self.model_policies.get(model, self.policy) if self.model_policies else self.policy

    @property
    def serves(self) -> bool:
        """Whether a request would find a worker."""
        return bool(self.ready) or (bool(self.pools) and all(pool.ready for pool in self.pools.values()))

    def groups(self, served: Served | None, rank: int | None = None) -> Groups:
        """Return the ready workers for a model (None: for any request), of one data-parallel rank if that is given.

        A rank says nothing about a pool whose workers are none.
        """
        groups = self.any_request if served is None else self.by_model.get(served, self.any_model)
        if rank is None or not self.ranks:
            return groups
        of_rank = (tuple(slot for slot in group if slot.data_parallel_rank == rank) for group in groups)
        return tuple(group for group in of_rank if group) or ((),)

    def candidates(self, served: Served | None, rank: int | None = None) -> tuple[Slot, ...]:
        """Return those of the best group; empty when nobody can."""
        if rank is not None:
            return self.groups(served, rank)[0]
        # As `groups` does it, without the call: this is done for each request.
        return (self.any_request if served is None else self.by_model.get(served, self.any_model))[0]

    def knows(self, served: Served) -> bool:
        """Whether some worker, ready or not, has told that it serves the model, or the operator named it."""
        return not isinstance(served, str) or served in self.table.models or served in self.settings.models

    def may_serve(self, worker: Worker, served: Served | None) -> bool:
        """Whether a worker may take a request for it, in whatever state it is; for a name, for one of its arms."""
        rules = self.settings.models
        if served is None or may_serve(worker, served, rules):
            return True
        route = self.routes.get(served) if isinstance(served, str) else None
        return route is not None and any(may_serve(worker, arm.served, rules) for arm in route.arms)

    def _named(self, model: Served) -> str:
        """Return a model for people, with what it stands for."""
        route = self.routes.get(model) if isinstance(model, str) else None
        others = dict.fromkeys(arm.model for arm in route.arms if arm.model != model) if route is not None else {}
        return f"`{model}` (which stands for {', '.join(f'`{one}`' for one in others)})" if others else f"`{model}`"

    @cached_property
    def models_page(self) -> ModelsPage:
        """What `/v1/models` answers."""
        return ModelsPage(self.table.models, self.settings.models)

    def refusal(self, model: Served | None, rank: int | None = None) -> RouterError:
        """Return why no worker can take a request: an unknown model, or nobody ready for it."""
        if isinstance(model, str) and self.ready and not self.knows(model):
            return model_not_found(model, tuple(self.models_page.entries))
        if not self.table.workers:
            return no_worker("No workers are configured (--worker-urls, `routerctl workers add`).", blamed="router")
        if rank is not None and self.ready:
            return no_worker(f"No {self.kind} of data-parallel rank {rank} that can take it is ready.")
        if model is not None and self.ready:
            return no_worker(f"No {self.kind} that serves {self._named(model)} is ready.")
        return no_worker(f"No {self.kind} is ready.")
