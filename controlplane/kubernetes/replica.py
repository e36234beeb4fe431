"""The pods as the API server last told them: a list, and what a watch says came after it. Pure: no socket, no clock.

A list is the truth, whatever was known before, with one exception: one that is empty where there were workers. Servers
give that, too, that have just come back with nothing, so it has to be said again some seconds later. A watch that
misses something for whatever reason is put right by the next list.
"""

from __future__ import annotations

from controlplane.kubernetes.objects import PodEvent, PodList, PodObject
from controlplane.kubernetes.pods import Pod, Rules


class Replica:
    """The pods that a selector means, by their uid: a pod of the same name is another one."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.pods: dict[str, Pod] = {}
        self.version = ""
        """Where a watch goes on; empty: a list is needed first."""
        self._listing: dict[str, Pod] = {}

    def begin(self) -> None:
        """Begin a list; what an earlier one has brought that did not come to its end is nothing."""
        self.version = ""
        self._listing = {}

    def page(self, page: PodList) -> str:
        """Take in a page of a list. Returns what to ask for the next one by; empty: it was the last."""
        for told in page.items or ():
            self._take(told, self._listing)
        return page.metadata.next_page or ""

    def is_doubtful(self, *, has_workers: bool) -> bool:
        """Whether the list, which is complete, is to be asked for once more."""
        return has_workers and not self._listing

    def listed(self, version: str) -> None:
        """Go by the list."""
        self.pods, self.version = self._listing, version

    def seen(self, event: PodEvent) -> None:
        """Take in what a watch says became of a pod."""
        self.version = event.pod.metadata.resource_version or self.version
        if event.type == "DELETED":
            self.pods.pop(event.pod.metadata.uid, None)
        else:
            self._take(event.pod, self.pods)

    def _take(self, told: PodObject, pods: dict[str, Pod]) -> None:
        pod = Pod.of(told)
        if self._rules.role_of(pod) is None:
            pods.pop(pod.uid, None)
        else:
            pods[pod.uid] = pod
