"""Benchmarks of routerctl beside its peers.

The machine is shared and noisy, so no absolute figure is trusted: every figure of one run stands
beside the same figure of the other routers, taken in turn within seconds (A B C A B C ...), and
what is compared is the ratio inside each round.

    canned, upstream      fake workers: the bytes of vLLM, at a cost far below any router's
    wire, loadgen, pacer, load  the clients: one process of its own per measurement
    procfs, processes     what a router's processes cost, and how they are started and ended
    targets, nginx, peer  the routers under test
    session, scenarios    what is measured, in which order
    seeing, switched      what can be seen of a router, and the scenario that measures what that costs
    startup, memory       the two scenarios that are not made of rounds of load
    report, table         medians and ratios; the same as text
"""
