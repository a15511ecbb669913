"""Reads the files of torch.save, and writes those from before PyTorch 1.6, without PyTorch.

The readers are what the command line is compared with: Python's own pickle module, with classes replaced by recorders, and NumPy.
"""
import argparse
import collections
import datetime
import io
import pathlib
import pickle
import struct
import tarfile
import zipfile

import numpy as np

KINDS = {'Double': '<f8', 'Float': '<f4', 'Half': '<f2', 'BFloat16': '<u2', 'Long': '<i8', 'Int': '<i4', 'Short': '<i2', 'Char': '<i1',
         'Byte': '<u1', 'Bool': '?', 'ComplexFloat': '<c8'}
MAGIC = 0x1950a86a20f9469cfc6c

# What training scripts leave beside the weights.
LEFTOVERS = {
    'epoch': 3, 'best': np.float64(0.5), 'lr': [0.1, {1, 2}, None, -2**70], 'rng': ('MT19937', np.arange(624, dtype=np.uint32), 5),
    'names': np.array(['cat', None], dtype=object), 'time': datetime.datetime(2018, 5, 1), 'queue': collections.deque([1, 2], 5),
    'args': argparse.Namespace(out=pathlib.Path('runs/1'), steps=slice(0, 9), took=datetime.timedelta(3), blob=b'\xff', many=range(3)),
    'counts': collections.Counter('abc'), 'default': collections.defaultdict(list, a=[1]), 'z': 1 + 2j,
}


class Anything:
    """An object of a class that does not matter here."""

    def __init__(self, *arguments):
        pass

    def __setstate__(self, state):
        pass


class Storage:
    """A storage that the object refers to; its elements come later in the file."""

    def __init__(self, kind, key, count, offset):
        self.kind, self.key, self.count, self.offset = kind, key, count, offset


Tensor = collections.namedtuple('Tensor', 'storage offset size stride')


class Unpickler(pickle.Unpickler):
    def __init__(self, file, resolve):
        super().__init__(file, encoding='latin1')
        self.persistent_load = resolve

    def find_class(self, module, name):
        if module == 'collections':
            return getattr(collections, name)
        if module in ('builtins', '__builtin__'):
            return {'set': set, 'list': list}.get(name, Anything)
        if module.startswith('torch') and name.endswith('Storage'):
            return name[:-len('Storage')]
        if module.startswith('torch') and name.endswith('Tensor'):
            return name[:-len('Tensor')]
        if name in ('_rebuild_tensor', '_rebuild_tensor_v2'):
            return lambda storage, offset, size, stride, *rest: Tensor(storage, offset, size, stride)
        if name in ('_rebuild_parameter', 'Parameter'):
            return lambda data, *rest: data
        return Anything


def dtype(kind):
    return np.dtype(KINDS[kind])


def view(data, tensor):
    first = tensor.storage.offset + tensor.offset
    elements = np.lib.stride_tricks.as_strided(data[first:], tensor.size, [s * data.itemsize for s in tensor.stride])
    return np.ascontiguousarray(elements).reshape(tensor.size)


def flatten(value, name, found):
    """Names as the command line makes them: keys and indices, joined by dots."""
    if isinstance(value, Tensor):
        found['.'.join(name)] = value
    elif isinstance(value, dict):
        for key, item in value.items():
            flatten(item, name + [str(key)], found)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            flatten(item, name + [str(index)], found)
    return found


def read_legacy(path):
    """Name to (kind, array) of every tensor in a file of PyTorch 0.1.10 to 1.5."""
    first = {}

    def resolve(saved):
        label, kind, key, _, count, part = saved
        assert label == 'storage'
        first.setdefault(key, (kind, count))
        return Storage(kind, key, count, part[1] if part else 0)

    with open(path, 'rb') as file:
        assert pickle.load(file) == MAGIC and pickle.load(file) == 1001
        assert pickle.load(file)['little_endian']
        value = Unpickler(file, resolve).load()
        data = {}
        for key in pickle.load(file):
            kind, count = first[key]
            assert struct.unpack('<q', file.read(8))[0] == count
            data[key] = np.frombuffer(file.read(count * dtype(kind).itemsize), dtype(kind))
        assert file.read() == b''
    tensors = flatten(value, [], {})
    return {name: (tensor.storage.kind, view(data[tensor.storage.key], tensor)) for name, tensor in tensors.items()}


def read_zip(path):
    """The same of a file of PyTorch 1.6 or later."""
    with zipfile.ZipFile(path) as archive:
        top = archive.namelist()[0].split('/')[0]

        def resolve(saved):
            label, kind, key, _, _ = saved
            assert label == 'storage'
            return Storage(kind, key, None, 0)

        with archive.open(f'{top}/data.pkl') as file:
            tensors = flatten(Unpickler(file, resolve).load(), [], {})
        return {name: (t.storage.kind, view(np.frombuffer(archive.read(f'{top}/data/{t.storage.key}'), dtype(t.storage.kind)), t))
                for name, t in tensors.items()}


# The writers. PyTorch's functions are written as globals that a pickle refers to, so they need not exist.

class Global:
    """What pickles as a reference to a name."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Call:
    """What pickles as a call of a global."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments


class Pickler(pickle._Pickler):
    """Python's pickler in Python, which can be taught to write names that it cannot look up."""

    def __init__(self, file, persistent):
        super().__init__(file, 2)
        self.persistent = persistent

    def persistent_id(self, value):
        return self.persistent(value)

    def save(self, value, save_persistent_id=True):
        if isinstance(value, Global):
            self.write(b'c' + f'{value.module}\n{value.name}\n'.encode())
        elif isinstance(value, Call):
            self.save(value.function)
            self.save(tuple(value.arguments))
            self.write(pickle.REDUCE)
        else:
            super().save(value, save_persistent_id)


def random_tensors(random):
    """Name to (kind, storage index, offset, size, stride), and storages: shared, transposed, with steps, scalars and empty ones."""
    storages, tensors = [], {}
    for number in range(40):
        if not storages or random.random() < 0.7:
            kind = random.choice(list(KINDS))
            count = random.choice([0, 1, 7, 640, 5000])
            data = random.integers(0, 2 if kind == 'Bool' else 256, count * dtype(kind).itemsize, np.uint8)
            storages.append((kind, data.view(dtype(kind))))
        index = int(random.integers(len(storages)))
        kind, data = storages[index]
        offset = int(random.integers(len(data) // 4 + 1))
        size, stride, left = [], [], len(data) - offset
        for _ in range(int(random.integers(0, 4))):
            step = int(random.integers(0, 9))
            most = 9 if step == 0 else min(9, (left - 1) // step + 1)
            size.append(0 if left == 0 or random.random() < 0.03 else int(random.integers(1, most + 1)))
            stride.append(step)
            left -= step * max(size[-1] - 1, 0)
        if not size and left == 0:
            size, stride = [0], [1]
        tensors[f'module.layer{number}.weight'] = (index, offset, tuple(size), tuple(stride))
    return storages, tensors


def write_legacy(path, random):
    """A file of PyTorch 1.5; returns what reading it has to give."""
    storages, tensors = random_tensors(random)
    keys = [str(94073286912512 + 64 * int(n)) for n in random.permutation(len(storages))]

    def persistent(value):
        if not isinstance(value, Storage):
            return None
        return 'storage', Global('torch', value.kind + 'Storage'), value.key, 'cuda:0', value.count, None

    state = collections.OrderedDict()
    for name, (index, offset, size, stride) in tensors.items():
        storage = Storage(storages[index][0], keys[index], len(storages[index][1]), 0)
        state[name] = Call(Global('torch._utils', '_rebuild_tensor_v2'), storage, offset, size, stride, False, collections.OrderedDict())
    used = sorted({keys[index] for index, *_ in tensors.values()})
    with open(path, 'wb') as file:
        for value in (MAGIC, 1001, {'protocol_version': 1001, 'little_endian': True, 'type_sizes': {'long': 8}}):
            pickle.dump(value, file, 2)
        Pickler(file, persistent).dump({'state_dict': state, **LEFTOVERS})
        pickle.dump(used, file, 2)
        for key in used:
            data = storages[keys.index(key)][1]
            file.write(struct.pack('<q', len(data)) + data.tobytes())
    return expected('state_dict.', storages, tensors)


def write_tar(path, random):
    """A file of PyTorch 0.1.9; returns what reading it has to give."""
    storages, tensors = random_tensors(random)
    old = ('Double', 'Float', 'Half', 'Long', 'Int', 'Short', 'Char', 'Byte')
    tensors = {name: tensor for name, tensor in tensors.items() if storages[tensor[0]][0] in old}
    keys = {name: 94073286912512 + 64 * n for n, name in enumerate(tensors)}

    def entry(archive, name, *parts):
        out = io.BytesIO()
        for part in parts:
            if isinstance(part, bytes):
                out.write(part)
            else:
                Pickler(out, lambda value: str(value.key) if isinstance(value, Storage) else None).dump(part)
        info = tarfile.TarInfo(name)
        info.size, info.mtime = out.tell(), 1478000000.25
        archive.addfile(info, io.BytesIO(out.getvalue()))

    parts, numbers = [], []
    for index in sorted({tensor[0] for tensor in tensors.values()}):
        kind, data = storages[index]
        parts += [(index, 'cpu', Global('torch', kind + 'Storage')), struct.pack('<q', len(data)) + data.tobytes()]
    for name, (index, offset, size, stride) in tensors.items():
        rank = len(size)
        numbers += [(keys[name], index, Global('torch', storages[index][0] + 'Tensor')),
                    struct.pack(f'<ii{2 * rank + 1}q', rank, -1, *size, *stride, offset)]
    with tarfile.open(path, 'w', format=tarfile.PAX_FORMAT) as archive:
        entry(archive, 'sys_info', {'protocol_version': 1000, 'little_endian': True})
        entry(archive, 'pickle', {name: Storage(None, keys[name], 0, 0) for name in tensors})
        entry(archive, 'tensors', len(tensors), *numbers)
        entry(archive, 'storages', len(parts) // 2, *parts, [])
    return expected('', storages, tensors)


def expected(prefix, storages, tensors):
    return {prefix + name: (storages[index][0], view(storages[index][1], Tensor(Storage(None, None, 0, 0), offset, size, stride)))
            for name, (index, offset, size, stride) in tensors.items()}
