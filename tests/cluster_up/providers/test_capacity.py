"""The machine is given away once."""

from hypothesis import given
from hypothesis import strategies as st

from cluster_up.providers import capacity
from cluster_up.providers.capacity import reserves


@given(
    cpus=st.integers(2, 128), machine_gib=st.integers(8, 512), usable_gib=st.integers(4, 512) | st.none(),
    workers=st.integers(1, 10),
)  # fmt: skip
def test_what_nodes_give_to_pods_adds_up_to_the_machine_at_most(
    cpus: int, machine_gib: int, usable_gib: int | None, workers: int
) -> None:
    machine = machine_gib * 1024
    usable = usable_gib * 1024 if usable_gib is not None else None
    kept = reserves(cpus=cpus, machine_mib=machine, usable_mib=usable, control_planes=1, workers=workers)
    millicpu = (cpus * 1000 - kept["control-plane"].millicpu) + workers * (cpus * 1000 - kept["worker"].millicpu)
    mib = (machine - kept["control-plane"].mib) + workers * (machine - kept["worker"].mib)
    each = (cpus * 1000 - capacity.CONTROL_PLANE_MILLICPU) // workers
    if each >= capacity.LEAST_WORKER_MILLICPU:
        assert cpus * 1000 - workers < millicpu <= cpus * 1000
    total = min(usable or machine, machine)
    if (total - capacity.CONTROL_PLANE_MIB) // workers >= capacity.LEAST_WORKER_MIB:
        assert total - workers < mib <= total


def test_a_worker_keeps_enough_for_system_pods_on_a_small_machine() -> None:
    kept = reserves(cpus=2, machine_mib=8192, usable_mib=4096, control_planes=1, workers=10)["worker"]
    assert 2000 - kept.millicpu == capacity.LEAST_WORKER_MILLICPU
    assert 8192 - kept.mib == capacity.LEAST_WORKER_MIB
