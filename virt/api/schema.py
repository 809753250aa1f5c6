"""OpenAPI v3 schemas of the API types, as custom resource definitions want them ("structural": no references).

Only shapes are in them. What a value may be is for the webhooks to judge, because there the answer names field and rule
as KubeVirt does; a schema would refuse first, in other words. The exception are quantities, whose grammar is fixed.
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

import inspect
import re
from typing import Any

from msgspec import inspect as types

from virt.api import quantity
from virt.api.core import ObjectMeta
from virt.api.wire import IntOrString, Quantity, wire_name

Schema = dict[str, Any]

_QUANTITY = types.type_info(Quantity)
_INT_OR_STRING = types.type_info(IntOrString)


def root_schema(type_: type) -> Schema:
    """Schema of a whole object. Its metadata is the API server's business."""
    schema = _schema(types.type_info(type_))
    schema["properties"]["metadata"] = {"type": "object"}
    schema["required"] = ["spec"]
    return schema


def _schema(info: types.Type) -> Schema:
    match info:
        case types.Metadata() if info == _QUANTITY:
            return {**_int_or_string(), "pattern": quantity.PATTERN}
        case types.Metadata() if info == _INT_OR_STRING:
            return _int_or_string()
        case types.UnionType():
            # The only unions are "or None", and absent is how the wire says None.
            (only,) = (member for member in info.types if not isinstance(member, types.NoneType))
            return _schema(only)
        case types.StrType():
            return {"type": "string"}
        case types.BoolType():
            return {"type": "boolean"}
        case types.IntType():
            return {"type": "integer", "format": "int64"}
        case types.FloatType():
            return {"type": "number"}
        case types.VarTupleType():
            return {"type": "array", "items": _schema(info.item_type)}
        case types.DictType() if isinstance(info.value_type, types.AnyType):
            return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        case types.DictType():
            return {"type": "object", "additionalProperties": _schema(info.value_type)}
        case types.StructType() if info.cls is ObjectMeta:
            # Metadata of a template: Go clients write null times into it, and users what they like.
            return {"type": "object", "nullable": True, "x-kubernetes-preserve-unknown-fields": True}
        case types.StructType():
            return _object(info)
    raise TypeError(f"no schema for {info!r}")


def _object(info: types.StructType) -> Schema:
    schema: Schema = {"type": "object"}
    if (text := inspect.cleandoc(vars(info.cls).get("__doc__") or "")):
        # A field is documented under its Python name and explained to users under the other.
        schema["description"] = re.sub("``([a-z_0-9]+)``", lambda match: f"`{wire_name(match[1])}`", text)
    properties = {field.encode_name: _property(field) for field in info.fields}
    if properties:
        schema["properties"] = properties
    return schema


def _property(field: types.Field) -> Schema:
    schema = _schema(field.type)
    if isinstance(field.type, types.UnionType) and field.default is not None:
        schema["nullable"] = True          # written as null when unset: virt.api.wire.always
    return schema


def _int_or_string() -> Schema:
    return {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}
