#!/usr/bin/python3
"""How many of the 10,000 MNIST test images the network of mnist/cnn gets right with the weights of a checkpoint.

usage: mnist_accuracy.py FILE.safetensors DATA      (needs Debian's python3-numpy)

DATA is the folder that holds mnist/t10k-*. Prints the number of right answers and the share of zeros among the weights, which are
the tensors named *.weight of two or more dimensions. Understands F32 and what `sinew optimize` stores quantized tensors as.
"""
import functools
import gzip
import json
import os
import struct
import sys

import numpy as np

DTYPES = {'F32': np.float32, 'I64': np.int64, 'I8': np.int8, 'U8': np.uint8}
COMPANIONS = ('_scale', '_zero_point', '_shape', '_codebook', '_bitmap', '_row_offsets')


def read_stored(path):
    """The tensors of a safetensors file as they are stored."""
    with open(path, 'rb') as file:
        blob = file.read()
    begin = 8 + struct.unpack('<Q', blob[:8])[0]
    tensors = {}
    for name, entry in json.loads(blob[8:begin]).items():
        if name != '__metadata__':
            first, last = entry['data_offsets']
            values = np.frombuffer(blob[begin + first:begin + last], DTYPES[entry['dtype']])
            tensors[name] = values.reshape(entry['shape'])
    return tensors


def dequantize(stored, scale, zero_point, shape):
    """(q - zero_point) * scale, where scale holds one element a tensor, a row or a group of columns."""
    if shape is not None:
        shape = tuple(shape)
        columns = int(np.prod(shape[1:]))
        nibbles = np.stack([stored & 15, stored >> 4], -1).reshape(shape[0], -1)
        q = nibbles[:, :columns].astype(np.float32) - 8
    else:
        shape = stored.shape
        q = stored.reshape(shape[0], -1).astype(np.float32)
    if zero_point is None:
        zero_point = np.zeros(scale.size, np.float32)
    rows, columns = q.shape
    per_row = max(1, scale.size // rows)

    def spread(values):
        values = values.astype(np.float32).reshape(-1, per_row)
        return values if per_row == 1 else np.repeat(values, group_size(columns, per_row), 1)[:, :columns]

    return ((q - spread(zero_point)) * spread(scale)).reshape(shape)


def group_size(columns, groups):
    """The even size that gives this many groups; powers of two first, as everybody takes them."""
    candidates = [2 ** k for k in range(1, 21)] + list(range(1, columns + 1))
    return next(size for size in candidates if -(-columns // size) == groups)


def expand(stored):
    """Dense tensors in the place of those that `--sparse-format bitmap` has stored."""
    stored = dict(stored)
    for name in [name for name in stored if name + '_bitmap' in stored]:
        values, offsets, shape = stored[name], stored.pop(name + '_row_offsets'), stored.pop(name + '_shape')
        bits = np.unpackbits(stored.pop(name + '_bitmap'), axis=1, bitorder='little').astype(bool)
        columns = int(np.prod(shape[1:]))
        assert not bits[:, columns:].any() and (np.diff(offsets) == bits.sum(1)).all() and offsets[-1] == len(values), name
        dense = np.zeros((len(bits), columns), values.dtype)
        for row in range(len(bits)):
            dense[row][bits[row, :columns]] = values[offsets[row]:offsets[row + 1]]
        stored[name] = dense.reshape(shape)
    return stored


def look_up(stored, shape, codebook):
    """The entries that packed indices name, where each codebook serves equally many rows."""
    groups, entries = codebook.shape
    width = entries.bit_length() - 1
    rows = int(shape[0]) if len(shape) > 1 else 1
    columns = int(np.prod(shape)) // rows
    bits = np.unpackbits(stored.reshape(rows, -1), axis=1, bitorder='little')[:, :columns * width]
    index = (bits.reshape(rows, columns, width) << np.arange(width)).sum(-1)
    group = np.arange(rows) // -(-rows // groups)
    return codebook[group[:, None], index].reshape(tuple(shape))


def read(path):
    """The tensors of a file as real numbers."""
    stored = expand(read_stored(path))
    tensors = {}
    for name, values in stored.items():
        owners = [name[:-len(end)] for end in COMPANIONS if name.endswith(end)]
        if any(owner + mark in stored for owner in owners for mark in ('_scale', '_codebook')):
            continue
        if name + '_scale' in stored:
            values = dequantize(values, *(stored.get(name + end) for end in ('_scale', '_zero_point', '_shape')))
        elif name + '_codebook' in stored:
            values = look_up(values, stored[name + '_shape'], stored[name + '_codebook'])
        tensors[name] = values
    return tensors


def weights(tensors):
    return {name: w for name, w in tensors.items() if name.endswith('.weight') and w.ndim >= 2}


def share_of_zeros(tensors):
    w = weights(tensors).values()
    return sum(int((v == 0).sum()) for v in w) / sum(v.size for v in w)


def convolution(x, weight, bias):
    """3x3, no padding, as one matrix product over all windows."""
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(2, 3))
    images, _, height, width = windows.shape[:4]
    rows = windows.transpose(0, 2, 3, 1, 4, 5).reshape(images * height * width, -1)
    y = rows @ weight.reshape(len(weight), -1).T + bias
    return y.reshape(images, height, width, -1).transpose(0, 3, 1, 2)


def batch_norm(x, tensors, name, shape):
    mean, var, weight, bias = (
        tensors[name + end].reshape(shape) for end in ('.running_mean', '.running_var', '.weight', '.bias'))
    return (x - mean) / np.sqrt(var + 1e-5) * weight + bias


@functools.lru_cache
def images_and_labels(data):
    def idx(name, header):
        with gzip.open(os.path.join(data, 'mnist', name)) as file:
            return np.frombuffer(file.read()[header:], np.uint8)

    images = idx('t10k-images-idx3-ubyte.gz', 16).reshape(-1, 1, 28, 28).astype(np.float32)
    return (images / 255 - 0.1307) / 0.3081, idx('t10k-labels-idx1-ubyte.gz', 8)


def right_answers(tensors, data, count=10_000):
    """How many of the first `count` test images are taken for what they are."""
    images, labels = (all_of[:count] for all_of in images_and_labels(data))
    right = 0
    batch = 50  # whose windows are memory that is used again, and not new from the system each time
    for i in range(0, len(labels), batch):
        x = images[i:i + batch].astype(np.float32)
        for name in ('conv1', 'conv2', 'conv3'):
            x = np.maximum(convolution(x, tensors[name + '.weight'], tensors[name + '.bias']), 0)
        x = batch_norm(x, tensors, 'norm1', (1, -1, 1, 1)).reshape(len(x), -1)
        x = np.maximum(x @ tensors['fc1.weight'].T + tensors['fc1.bias'], 0)
        x = batch_norm(x @ tensors['fc2.weight'].T + tensors['fc2.bias'], tensors, 'norm2', (1, -1))
        right += int((x.argmax(1) == labels[i:i + batch]).sum())
    return right


if __name__ == '__main__':
    checkpoint = read(sys.argv[1])
    print(f'{right_answers(checkpoint, sys.argv[2])} right, {share_of_zeros(checkpoint):.4f} of the weights are zero')
