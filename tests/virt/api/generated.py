"""Hypothesis strategies for API objects, made from their types, and a small valid VMI to start from."""

from typing import Any

from hypothesis import strategies as st
from msgspec import inspect as types

from virt.api import codec, v1
from virt.api.wire import IntOrString, Quantity

_AMOUNTS = st.sampled_from(["1", "64Mi", "1500m", "-1", "1e3", "nonsense", "", 3, -2, 2**70])
_WORDS = st.sampled_from(
    ["", "a", "default", "virtio", "sata", "Always", "Paused", "/disk", "x y", "<&>\"'", "\x01", "ß" * 70]
)
_INTEGERS = st.sampled_from([0, 1, 2, -1, 65536, 2**40])
_LEAVES: dict[type[types.Type], st.SearchStrategy[Any]] = {
    types.StrType: _WORDS, types.IntType: _INTEGERS, types.BoolType: st.booleans(), types.NoneType: st.none(),
    types.FloatType: st.sampled_from([0.0, 1.5]), types.AnyType: st.sampled_from([1, "x", True]),
}


def objects(type_: type) -> st.SearchStrategy[Any]:
    """Decodable objects of an API type, mostly small, with odd values in every place."""
    return _strategy(types.type_info(type_))


def _strategy(info: types.Type) -> st.SearchStrategy[Any]:
    match info:
        case types.Metadata() if info in (types.type_info(Quantity), types.type_info(IntOrString)):
            return _AMOUNTS
        case types.UnionType():
            return st.one_of(*(_later(member) for member in info.types))
        case types.VarTupleType():
            return st.lists(_later(info.item_type), max_size=2).map(tuple)
        case types.DictType():
            return st.dictionaries(_WORDS, _later(info.value_type), max_size=2)
        case types.StructType():
            return st.deferred(lambda: _struct(info))
        case _:
            return _LEAVES[type(info)]


def _later(info: types.Type) -> st.SearchStrategy[Any]:
    return st.deferred(lambda: _strategy(info))


def _struct(info: types.StructType) -> st.SearchStrategy[Any]:
    fields = {field.name: _strategy(field.type) for field in info.fields}
    return st.fixed_dictionaries({}, optional=fields).map(lambda given: info.cls(**given))


def instance_document() -> dict[str, Any]:
    """A valid VMI as a user writes it, with one disk of each built kind and one interface."""
    return {
        "metadata": {"name": "guest", "namespace": "default"},
        "spec": {
            "domain": {
                "resources": {"requests": {"memory": "128Mi"}},
                "devices": {
                    "disks": [{"name": "root", "disk": {"bus": "virtio"}}, {"name": "seed", "cdrom": {}}],
                    "interfaces": [{"name": "default", "masquerade": {}}],
                },
            },
            "networks": [{"name": "default", "pod": {}}],
            "volumes": [
                {"name": "root", "containerDisk": {"image": "registry/guest:1"}},
                {"name": "seed", "cloudInitNoCloud": {"userData": "#cloud-config"}},
                {"name": "scratch", "emptyDisk": {"capacity": "1Gi"}},
            ],
        },
    }


def instance() -> v1.VirtualMachineInstance:
    return codec.from_json(instance_document(), v1.VirtualMachineInstance)
