#!/usr/bin/python3
"""Compares what `sinew merge` writes with NumPy, bit by bit where docs/numerics.md fixes every rounding.

usage: merge_oracle.py SINEW DATA      (needs Debian's python3-numpy)

Seeded models of three types, one tensor larger than a tile; every method, on several tiers and thread counts; and two real
detectors from DATA, whose heads have different shapes.
"""
import hashlib
import json
import math
import os
import struct
import subprocess
import sys
import tempfile

import numpy as np

import torch_files

F32 = np.float32
BLOCK = 4096
SHAPES = {'layers.0.weight': (611, 1009), 'layers.0.bias': (1009,), 'layers.1.weight': (64, 65), 'norm.weight': (4096,), 'scale': (),
          'nothing': (0, 3)}
RUNS = (('scalar', 1), (None, 7))  # instruction set, the best one if None, and threads


# Tensors are (type, array); BF16 is kept as the F32 numbers that it stands for.

def round_to(kind, values):
    """The numbers of a type nearest to F32 values, to even."""
    values = np.asarray(values, F32)
    if kind == 'F16':
        return values.astype(np.float16).astype(F32)
    if kind == 'BF16':
        bits = values.view(np.uint32).astype(np.uint64)
        return ((bits + 0x7fff + (bits >> 16 & 1)) >> 16 << 16).astype(np.uint32).view(F32)
    return values


def encode(kind, values):
    if kind == 'BF16':
        return (values.view(np.uint32) >> 16).astype('<u2').tobytes()
    return values.astype({'F32': '<f4', 'F16': '<f2', 'I64': '<i8'}[kind]).tobytes()


def decode(kind, data, shape):
    if kind == 'BF16':
        return (np.frombuffer(data, '<u2').astype(np.uint32) << 16).view(F32).reshape(shape)
    values = np.frombuffer(data, {'F32': '<f4', 'F16': '<f2', 'I64': '<i8'}[kind]).reshape(shape)
    return values.astype(F32) if kind == 'F16' else values


def write(path, tensors):
    header, data, position = {}, [], 0
    for name, (kind, values) in tensors.items():
        data.append(encode(kind, values))
        header[name] = {'dtype': kind, 'shape': list(values.shape), 'data_offsets': [position, position + len(data[-1])]}
        position += len(data[-1])
    text = json.dumps(header).encode()
    with open(path, 'wb') as file:
        file.write(struct.pack('<Q', len(text)) + text + b''.join(data))
    return path


def read(path):
    with open(path, 'rb') as file:
        blob = file.read()
    begin = 8 + struct.unpack('<Q', blob[:8])[0]
    header = json.loads(blob[8:begin])
    header.pop('__metadata__')
    return {name: (t['dtype'], decode(t['dtype'], blob[begin + t['data_offsets'][0]:begin + t['data_offsets'][1]], t['shape']))
            for name, t in header.items()}


def model(kind, seed):
    """Models of one kind are near each other, as fine-tuned ones are; where i % 5 is 0 they are equal."""
    tensors = {'steps': ('I64', np.array([7504 + seed]))}
    for name, shape in SHAPES.items():
        common, own = np.random.default_rng(len(name)), np.random.default_rng([seed, len(name)])
        values = 0.02 * common.standard_normal(shape) + (0.005 * own.standard_normal(shape) if seed else 0)
        values = np.array(values, F32)
        # The same change with both signs, so that TIES has ties, and elements that nobody has changed.
        flat = values.reshape(-1)
        flat[::5] = 0.125
        flat[1::7] = 0.25 + (seed % 3 - 1) * 0.0625
        tensors[name] = (kind, round_to(kind, values))
    return tensors


# How the methods combine F32 arrays: x holds one of each model, b is the base's. Every operation rounds to F32.

def linear(name, x, b, weights):
    total = F32(0)
    for w, values in zip(weights, x):
        total = total + F32(w) * values
    return total


def slerp(name, x, b, t):
    def product(p, q):
        # F64 sums over blocks: element i is added to lane i mod 16, lanes are folded, blocks are added in order.
        total = 0.0
        products = p.reshape(-1).astype(np.float64) * q.reshape(-1)
        for begin in range(0, len(products), BLOCK):
            part = products[begin:begin + BLOCK]
            lanes = np.zeros(16)
            for row in np.pad(part, (0, -len(part) % 16)).reshape(-1, 16):
                lanes = lanes + row
            while len(lanes) > 1:
                lanes = lanes[:len(lanes) // 2] + lanes[len(lanes) // 2:]
            total += lanes[0]
        return total

    aa, bb, ab = product(x[0], x[0]), product(x[1], x[1]), product(x[0], x[1])
    first, second = 1 - t, t
    lengths = math.sqrt(aa) * math.sqrt(bb)
    if lengths > 0 and abs(ab / lengths) <= 0.9995:
        angle = math.acos(ab / lengths)
        first, second = math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)
    return linear(name, x, b, (first, second))


def task_arithmetic(name, x, b, weights):
    return b + linear(name, [values - b for values in x], None, weights)


def ties(name, x, b, density, weights, scale, normalize):
    kept = []
    for values in x:
        difference = (values - b).reshape(-1)
        # As the decimal number that it is written as.
        trimmed = (100 - round(100 * density)) * difference.size // 100
        difference[np.argsort(np.abs(difference), kind='stable')[:trimmed]] = 0
        kept.append(difference.reshape(values.shape))
    values = [F32(w) * difference for w, difference in zip(weights, kept)]
    elected = sum(values[1:], values[0]) >= 0
    total, weight = np.zeros_like(b), np.zeros_like(b)
    for w, value in zip(weights, values):
        agrees = np.where(elected, value > 0, value < 0)
        total = total + np.where(agrees, value, F32(0))
        weight = weight + np.where(agrees, F32(w), F32(0))
    if normalize:
        total = total / np.where(weight == 0, F32(1), weight)
    return b + F32(scale) * total


def philox(counter, stream, seed):
    """The four words of Philox4x32-10 (Salmon et al., 2011) for an array of 64-bit counters."""
    mask = np.uint64(0xffffffff)
    c = [counter & mask, counter >> np.uint64(32), np.full_like(counter, stream & 0xffffffff), np.full_like(counter, stream >> 32)]
    k = [seed & 0xffffffff, seed >> 32 & 0xffffffff]
    for _ in range(10):
        p, q = np.uint64(0xd2511f53) * c[0], np.uint64(0xcd9e8d57) * c[2]
        c = [q >> np.uint64(32) ^ c[1] ^ np.uint64(k[0]), q & mask, p >> np.uint64(32) ^ c[3] ^ np.uint64(k[1]), p & mask]
        k = [(k[0] + 0x9e3779b9) & 0xffffffff, (k[1] + 0xbb67ae85) & 0xffffffff]
    return np.stack(c)


def dare(name, x, b, density, seed, weights):
    element = np.arange(b.size, dtype=np.uint64)
    total = np.zeros(b.size, F32)
    for number, (w, values) in enumerate(zip(weights, x)):
        stream = int.from_bytes(hashlib.sha256(name.encode() + struct.pack('<I', number)).digest()[:8], 'little')
        words = philox(element // 64 * 16 + element % 16, stream, seed % 2 ** 64)
        word = np.take_along_axis(words, (element // 16 % 4)[None].astype(int), 0)[0]
        kept = word < max(1, round(density * 2 ** 32))
        total = total + np.where(kept, F32(w / density) * (values - b).reshape(-1), F32(0))
    return b + total.reshape(b.shape)


# Options; how NumPy does the same; how many models; whether from a base; whether to the last bit.
METHODS = [
    ('--method linear', lambda n, x, b: linear(n, x, b, [1 / 3] * 3), 3, False, True),
    ('--method linear --weights 0.3,1.9', lambda n, x, b: linear(n, x, b, (0.3 / (0.3 + 1.9), 1.9 / (0.3 + 1.9))), 2, False, True),
    ('--method linear --weights 0.5,-0.25 --no-normalize', lambda n, x, b: linear(n, x, b, (0.5, -0.25)), 2, False, True),
    # The platform's sine may differ from Java's in its last bit.
    ('--method slerp --t 0.3', lambda n, x, b: slerp(n, x, b, 0.3), 2, False, False),
    ('--method task-arithmetic --weights 0.5,0.75 --lambda 0.6',
     lambda n, x, b: task_arithmetic(n, x, b, (0.6 * 0.5, 0.6 * 0.75)), 2, True, True),
    ('--method ties --density 0.2', lambda n, x, b: ties(n, x, b, 0.2, (1, 1, 1), 1, True), 3, True, True),
    ('--method ties --density 0.35 --weights 0.5,0.3 --lambda 0.8 --no-normalize',
     lambda n, x, b: ties(n, x, b, 0.35, (0.5, 0.3), 0.8, False), 2, True, True),
    ('--method dare --density 0.1 --seed -5 --weights 0.5,0.5', lambda n, x, b: dare(n, x, b, 0.1, -5, (0.5, 0.5)), 2, True, True),
    ('--method dare --density 1 --seed 9', lambda n, x, b: dare(n, x, b, 1, 9, (1, 1)), 2, True, True),
]


def merge(sinew, models, out, options, isa=None, threads=2):
    command = [sinew, 'merge', *models, '-o', out, '--force', '--threads', str(threads), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **({'SINEW_ISA': isa} if isa else {})})


def check_methods(sinew, folder, kind):
    models = [model(kind, seed) for seed in range(4)]
    paths = [write(os.path.join(folder, f'{kind}-{seed}'), tensors) for seed, tensors in enumerate(models)]
    for options, oracle, count, based, exact in {'F32': METHODS, 'F16': METHODS[::2], 'BF16': METHODS[1::2]}[kind]:
        found = set()
        for isa, threads in RUNS if kind == 'F32' else RUNS[1:2]:
            out = os.path.join(folder, 'out')
            merge(sinew, paths[1:1 + count], out, options.split() + ['--base', paths[0]] * based, isa, threads)
            with open(out, 'rb') as file:
                found.add(hashlib.sha256(file.read()).hexdigest())
        assert len(found) == 1, f'{kind} {options}: {len(found)} results'
        merged = read(out)
        assert merged.keys() == models[0].keys() and merged['steps'][1] == 7505, f'{kind} {options}: names or steps'
        worst = 0
        for name in SHAPES:
            want = round_to(kind, oracle(name, [m[name][1] for m in models[1:1 + count]], models[0][name][1]))
            got = merged[name][1]
            assert merged[name][0] == kind and got.shape == want.shape, f'{kind} {options}: {name}'
            # A zero of either sign is one number.
            assert not exact or (got == want).all(), f'{kind} {options}: {(got != want).sum()} of {name} differ'
            error = np.abs(got - want)
            worst = max(worst, error.max(initial=0))
            assert (error <= {'F32': 1e-6, 'F16': 2 ** -10, 'BF16': 2 ** -7}[kind] * np.maximum(np.abs(want), 1)).all(), f'{options}: {name}'
        print(f'  {kind:4} {"equal" if worst == 0 else f"within {worst:.1e}"}: {options}')


def check_detectors(sinew, data, folder):
    """Real detectors of two classes and of three, whose classification heads do not fit together."""
    paths = [os.path.join(data, 'face-detector', name) for name in ('rfb-320.pth', 'rfb-320-masked.pth')]
    first, second = torch_files.read_legacy(paths[0]), torch_files.read_zip(paths[1])
    unlike = {name for name in first if first[name][1].shape != second[name][1].shape}
    assert first.keys() == second.keys() and len(unlike) == 8
    options = '--method linear --weights 0.7,0.3'
    out = os.path.join(folder, 'out')
    refused = subprocess.run([sinew, 'merge', *paths, '-o', out, *options.split()], capture_output=True, text=True)
    assert refused.returncode == 1 and refused.stderr.count('\n') == 1 and not os.path.exists(out), refused
    assert "'classification_headers.0.2.weight' is F32 [6, 64, 1, 1] in" in refused.stderr and 'F32 [9, 64, 1, 1]' in refused.stderr, refused
    for how, kept in (('--missing skip', set()), ('--missing copy', unlike), ('--skip classification_headers.*.2.* --skip *headers.3.*', unlike)):
        merge(sinew, paths, out, f'{options} {how}'.split())
        merged, worst = read(out), 0
        assert merged.keys() == first.keys() - unlike | kept, how
        for name, (kind, values) in merged.items():
            copied = name in unlike or kind == 'I64' or '--skip' in how and 'headers.3.' in name
            want = first[name][1] if copied else 0.7 * first[name][1].astype(np.float64) + 0.3 * second[name][1]
            assert values.shape == want.shape and (not copied or (values == want).all()), f'{how}: {name}'
            worst = max(worst, (np.abs(values - want) / np.maximum(np.abs(want), 1)).max())
        assert worst <= 1e-6, f'{how}: {worst}'
        print(f'  detectors within {worst:.1e}, {len(merged)} tensors: {how}')


def main(sinew, data):
    with tempfile.TemporaryDirectory() as folder:
        check_detectors(sinew, data, folder)
        for kind in ('F32', 'F16', 'BF16'):
            check_methods(sinew, folder, kind)


if __name__ == '__main__':
    main(*sys.argv[1:])
