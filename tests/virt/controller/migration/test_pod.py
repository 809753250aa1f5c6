from msgspec.structs import replace

from virt.api import core, names, v1
from virt.api.clusterconfig import ClusterConfig
from virt.controller.migration.pod import target_pod
from virt.controller.vmi.pod.template import Context, launcher_pod

CONTEXT = Context(config=ClusterConfig(), launcher_image="l:2")
VMI = v1.VirtualMachineInstance(
    metadata=core.ObjectMeta(
        name="x", namespace="n", uid="u",
        labels={"app": "web", names.NODE_NAME_LABEL: "a", names.MIGRATION_TARGET_NODE_LABEL: "b"}),
    spec=v1.VirtualMachineInstanceSpec(
        node_selector={"zone": "1"},
        volumes=(
            v1.Volume(name="root", container_disk=v1.ContainerDiskSource(image="r:5000/os:1")),
            v1.Volume(name="odd", container_disk=v1.ContainerDiskSource(image="r:5000/odd:1")),
        ),
    ),
)
MIGRATION = v1.VirtualMachineInstanceMigration(
    metadata=core.ObjectMeta(name="job", namespace="n", uid="m"),
    spec=v1.VirtualMachineInstanceMigrationSpec(vmi_name="x", added_node_selector={"k": "v", "zone": "2"}),
)


def source() -> core.Pod:
    """Its images run by digest; one of them was not pulled under the name that was asked for."""
    pod = launcher_pod(VMI, CONTEXT)
    ids = {"compute": "r:5000/l@sha256:aa", "volumeroot": "r:5000/os@sha256:bb", "volumeodd": "import@sha256:cc"}
    statuses = tuple(core.ContainerStatus(name=name, image_id=image) for name, image in ids.items())
    return core.Pod(metadata=pod.metadata, spec=pod.spec, status=core.PodStatus(container_statuses=statuses))


def test_a_targets_pod_is_the_first_one_but_elsewhere() -> None:
    first, pod = launcher_pod(VMI, CONTEXT), target_pod(VMI, MIGRATION, source(), CONTEXT)
    assert pod.metadata.name.startswith("virt-launcher-x-")
    assert pod.metadata.name != first.metadata.name
    assert pod.metadata.labels == {**first.metadata.labels, names.MIGRATION_JOB_UID_LABEL: "m"}
    assert names.MIGRATION_TARGET_NODE_LABEL not in pod.metadata.labels
    assert pod.metadata.annotations == {**first.metadata.annotations, names.MIGRATION_JOB_NAME_ANNOTATION: "job"}
    assert pod.metadata.owner_references == first.metadata.owner_references
    assert pod.spec.node_selector == {**first.spec.node_selector, "k": "v", "zone": "1"}
    assert pod.spec.affinity is not None
    assert pod.spec.affinity.pod_anti_affinity is not None
    term, = pod.spec.affinity.pod_anti_affinity.required_during_scheduling_ignored_during_execution
    assert term.topology_key == "kubernetes.io/hostname"
    assert term.label_selector == core.LabelSelector(match_labels={names.CREATED_BY_LABEL: "u"})


def test_only_a_target_of_post_copy_gets_userfaultfd() -> None:
    for post_copy in (False, True):
        pod = target_pod(VMI, MIGRATION, source(), CONTEXT, post_copy=post_copy)
        having = [container.name for container in pod.spec.containers
                  if container.resources is not None and names.USERFAULTFD_RESOURCE in container.resources.limits]
        assert having == (["compute"] if post_copy else [])


def test_a_guest_with_the_cpu_of_its_node_asks_for_such_a_one() -> None:
    pod = target_pod(VMI, MIGRATION, source(), CONTEXT, cpu={"cpu": "true"})
    own = launcher_pod(VMI, CONTEXT).spec.node_selector
    assert pod.spec.node_selector == {**own, "k": "v", "zone": "1", "cpu": "true"}


def test_a_test_may_give_the_target_another_image() -> None:
    meta = replace(MIGRATION.metadata, annotations={names.TARGET_IMAGE_ANNOTATION: "no/such:image"})
    pod = target_pod(VMI, replace(MIGRATION, metadata=meta), source(), CONTEXT)
    images = {container.name: container.image for container in pod.spec.containers}
    assert images["compute"] == "no/such:image"
    assert images["volumeroot"] == "r:5000/os@sha256:bb"


def test_disks_are_those_of_the_source_and_the_launcher_is_ours() -> None:
    pod = target_pod(VMI, MIGRATION, source(), CONTEXT)
    images = {container.name: container.image for container in pod.spec.containers}
    assert images["compute"] == "l:2"
    assert images["volumeroot"] == "r:5000/os@sha256:bb"
    assert images["volumeodd"] == "r:5000/odd:1"
