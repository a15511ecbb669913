#!/usr/bin/python3
"""Compares what `sinew optimize --quantize` writes with NumPy, integer by integer.

usage: quantization_oracle.py SINEW INPUT.safetensors      (needs Debian's python3-numpy)

Every granularity, both widths, symmetric and asymmetric, extremes and percentiles, from the rules in docs/numerics.md.
"""
import itertools
import json
import os
import struct
import subprocess
import sys
import tempfile

import numpy as np

DTYPES = {'F32': np.float32, 'I8': np.int8, 'U8': np.uint8, 'I64': np.int64}


def load(path):
    blob = open(path, 'rb').read()
    n = struct.unpack('<Q', blob[:8])[0]
    header = json.loads(blob[8:8 + n])
    header.pop('__metadata__', None)
    return {k: np.frombuffer(blob[8 + n + v['data_offsets'][0]:8 + n + v['data_offsets'][1]], DTYPES[v['dtype']]).reshape(v['shape'])
            for k, v in header.items()}


def value_range(x, method, asymmetric):
    extremes = min(x.min(), 0), max(x.max(), 0)
    lo, hi = extremes
    if method != 'minmax':
        percent = np.float64(np.float32(method.split('=')[1]))
        ordered = np.sort(x if asymmetric else np.abs(x))
        n = len(ordered)
        k = int(min(max(np.ceil(n * percent / 100), 1), n)) - 1
        lo, hi = (min(ordered[n - 1 - k], 0), max(ordered[k], 0)) if asymmetric else (-ordered[k], ordered[k])
        if lo == hi == 0:
            lo, hi = extremes
    if not asymmetric:
        hi = max(-lo, hi)
        lo = -hi
    return np.float64(lo), np.float64(hi)


def quantize(x, bits, method, asymmetric):
    lo, hi = value_range(x, method, asymmetric)
    qmin, qmax = (-8, 7) if bits == 4 else (-128, 127) if asymmetric else (-127, 127)
    width = (hi - lo) / (15 if bits == 4 else 255) if asymmetric else hi / (7.5 if bits == 4 else 127)
    scale = np.float32(width) if width else np.float32(1)
    zero = int(np.clip(np.rint(qmin - lo / np.float64(scale)), qmin, qmax)) if asymmetric else 0
    return np.clip(np.rint(x / scale) + zero, qmin, qmax).astype(int), scale, zero


def unpack(stored, cols):
    nibbles = np.stack([stored & 15, stored >> 4], -1).reshape(len(stored), -1)
    assert cols % 2 == 0 or (nibbles[:, -1] == 8).all(), 'the padding nibble is not zero'
    return nibbles[:, :cols].astype(int) - 8


def check(name, x, out, bits, granularity, method, asymmetric):
    rows = len(x)
    matrix = x.reshape(rows, -1)
    cols = matrix.shape[1]
    if granularity == 'tensor':
        slices, shape = [(slice(None), slice(None))], (1,)
    elif granularity == 'channel':
        slices, shape = [(slice(r, r + 1), slice(None)) for r in range(rows)], (rows,) + (1,) * (x.ndim - 1)
    else:
        g = int(granularity.split('=')[1])
        slices = [(slice(r, r + 1), slice(c, min(c + g, cols))) for r in range(rows) for c in range(0, cols, g)]
        shape = (rows, -(-cols // g))
    want = np.zeros(matrix.shape, int)
    scales, zeros = [], []
    for s in slices:
        q, scale, zero = quantize(matrix[s].ravel(), bits, method, asymmetric)
        want[s] = q.reshape(matrix[s].shape)
        scales.append(scale)
        zeros.append(zero)
    got = out[name]
    if bits == 4:
        assert tuple(out[name + '_shape']) == x.shape
        got = unpack(got, cols)
    assert out[name + '_scale'].shape == shape, f'{name}: scale shape {out[name + "_scale"].shape}'
    assert (out[name + '_scale'].ravel() == np.array(scales)).all(), f'{name}: scales differ'
    assert not asymmetric or (out[name + '_zero_point'].ravel() == np.array(zeros)).all(), f'{name}: zero points differ'
    assert (got.reshape(rows, -1) == want).all(), f'{name}: {(got.reshape(rows, -1) != want).sum()} integers differ'


def main(sinew, source):
    tensors = load(source)
    runs = compared = 0
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, 'out.safetensors')
        for number, (bits, granularity, asymmetric) in enumerate(
                itertools.product((8, 4), ('tensor', 'channel', 'group=50'), (False, True))):
            # Turn and turn about, so that each of them meets every width, granularity and symmetry.
            method = ('minmax', 'percentile=99.5')[(number // 2 + number) % 2]
            command = [sinew, 'optimize', source, target, '--force', '--quantize', f'int{bits}',
                       '--granularity', granularity, '--range', method] + ['--asymmetric'] * asymmetric
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            out = load(target)
            runs += 1
            for name, x in tensors.items():
                if name + '_scale' in out:
                    check(name, x, out, bits, granularity, method, asymmetric)
                    compared += 1
                else:
                    assert (out[name] == x).all(), f'{name} was changed'
    assert compared > runs, 'hardly anything was quantized'
    print(f'{runs} recipes, {compared} tensors equal NumPy to the last integer')


main(*sys.argv[1:])
