from virt.api import core, v1
from virt.api.clusterconfig import ClusterConfig
from virt.controller.vmi.pod import placement

SPEC = v1.VirtualMachineInstanceSpec(
    architecture="amd64", node_selector={"a": "vmi", "b": "vmi"},
    domain=v1.DomainSpec(cpu=v1.CPU(model="Nehalem"), machine=v1.Machine(type="q35")),
)


def test_only_by_labels_that_nodes_have_is_selected() -> None:
    bare = placement.node_selector(SPEC, ClusterConfig(), ())
    assert bare == {"kubevirt.io/schedulable": "true", "kubernetes.io/arch": "amd64", "a": "vmi", "b": "vmi"}
    kinds = placement.labelled(["cpu-model.node.kubevirt.io/EPYC", "kubernetes.io/os"])
    selected = placement.node_selector(SPEC, ClusterConfig(), kinds)
    assert selected == {**bare, "cpu-model.node.kubevirt.io/Nehalem": "true"}


def test_the_vmi_overrules_the_cluster() -> None:
    config = ClusterConfig(node_selectors={"a": "cluster", "c": "cluster"})
    selected = placement.node_selector(SPEC, config, ())
    assert (selected["a"], selected["c"]) == ("vmi", "cluster")


def test_a_forbidden_cpu_feature_keeps_a_guest_from_nodes_that_have_it() -> None:
    features = (v1.CPUFeature(name="aes", policy="forbid"), v1.CPUFeature(name="avx", policy="disable"))
    domain = v1.DomainSpec(cpu=v1.CPU(model="Nehalem", features=features))
    found = placement.affinity(v1.VirtualMachineInstanceSpec(domain=domain))
    assert found is not None
    assert found.node_affinity is not None
    required = found.node_affinity.required_during_scheduling_ignored_during_execution
    assert required is not None
    (term,) = required.node_selector_terms
    assert term.match_expressions == (
        core.NodeSelectorRequirement(key="cpu-feature.node.kubevirt.io/aes", operator="DoesNotExist"),)


def test_an_outdated_host_model_is_avoided_in_every_alternative() -> None:
    def term(key: str) -> core.NodeSelectorTerm:
        return core.NodeSelectorTerm(match_expressions=(core.NodeSelectorRequirement(key=key, operator="Exists"),))

    given = core.Affinity(node_affinity=core.NodeAffinity(
        required_during_scheduling_ignored_during_execution=core.NodeSelector(
            node_selector_terms=(term("x"), term("y")))))
    found = placement.affinity(v1.VirtualMachineInstanceSpec(affinity=given))
    assert found is not None
    assert found.node_affinity is not None
    required = found.node_affinity.required_during_scheduling_ignored_during_execution
    assert required is not None
    keys = [[entry.key for entry in term.match_expressions] for term in required.node_selector_terms]
    outdated = "node-labeller.kubevirt.io/obsolete-host-model"
    assert keys == [["x", outdated], ["y", outdated]]
    assert placement.affinity(SPEC) is None
