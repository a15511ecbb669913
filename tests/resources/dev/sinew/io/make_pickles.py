"""Writes cpython-protocol{2..5}.pkl: one checkpoint, pickled by CPython as torch.save does.

Stands in for torch with classes of the same names, so PyTorch is not needed:
    python3 make_pickles.py
"""

import collections
import io
import pathlib
import pickle
import sys
import types

torch = types.ModuleType("torch")
utils = types.ModuleType("torch._utils")
sys.modules.update({"torch": torch, "torch._utils": utils})


def _rebuild_tensor_v2(*args):
    raise NotImplementedError


class FloatStorage:
    pass


_rebuild_tensor_v2.__module__ = "torch._utils"
utils._rebuild_tensor_v2 = _rebuild_tensor_v2
FloatStorage.__module__ = "torch"
torch.FloatStorage = FloatStorage


class Storage:
    def __init__(self, key, numel):
        self.key, self.numel = key, numel


class Tensor:
    def __init__(self, storage, offset, size, stride):
        self.args = storage, offset, size, stride

    def __reduce_ex__(self, protocol):
        return _rebuild_tensor_v2, (*self.args, False, collections.OrderedDict())


class Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        if isinstance(obj, Storage):
            return "storage", FloatStorage, obj.key, "cpu", obj.numel
        return None


storage = Storage("0", 6)
state_dict = collections.OrderedDict(
    [
        ("a.weight", Tensor(storage, 0, (2, 3), (3, 1))),
        ("a.transposed", Tensor(storage, 0, (3, 2), (1, 3))),
    ]
)
state_dict._metadata = collections.OrderedDict([("", {"version": 1})])
checkpoint = {
    "state_dict": state_dict,
    "integers": [0, 255, 65535, -5, 2**31, 2**63 - 1, 2**70, -(2**70), 2**3000],
    "others": [1.5, True, None, b"xyz", b"", bytearray(b"q"), {1, 2}, frozenset([3]), 1 + 2j],
    "list": [1, (2, 3), (), (1, 2, 3, 4), Tensor(storage, 5, (), ())],
    "counter": collections.Counter("aab"),
    "default": collections.defaultdict(list, {1: [Tensor(Storage("1", 1), 0, (1,), (1,))]}),
    "text": ["x" * 300, "\u00e9\u4e2d\U0001f600"],
}

for protocol in range(2, 6):
    out = io.BytesIO()
    Pickler(out, protocol).dump(checkpoint)
    name = f"cpython-protocol{protocol}.pkl"
    pathlib.Path(__file__).with_name(name).write_bytes(out.getvalue())
