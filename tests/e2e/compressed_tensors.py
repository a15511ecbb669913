"""Makes tiny models and checks the folders that are written of them in the format of compressed-tensors, without any of Sinew.

The schema is that of github.com/vllm-project/compressed-tensors: which tensors there are, their types and shapes, and what the
quantization_config of config.json says about them. Every value is dequantized with NumPy and must lie within half a step of the original.
"""
import json
import os
import struct

import numpy as np

INDEX = 'model.safetensors.index.json'
SIZES = {'F32': 4, 'BF16': 2, 'F16': 2, 'I8': 1, 'F8_E4M3': 1, 'I32': 4, 'I64': 8}
HALF = 0.5 + 1e-5  # quotients are rounded to F32
WORDS = {'float32': 'F32', 'bfloat16': 'BF16', 'float16': 'F16'}


def encode(dtype, values):
    """Bytes of floats in a type, rounded to nearest even."""
    values = np.asarray(values, np.float32)
    if dtype == 'BF16':
        bits = values.view(np.uint32).astype(np.uint64)
        return ((bits + 0x7fff + (bits >> 16 & 1)) >> 16).astype('<u2').tobytes()
    return values.astype({'F32': '<f4', 'F16': '<f2'}[dtype]).tobytes()


def decode(dtype, data):
    if dtype == 'BF16':
        return (np.frombuffer(data, '<u2').astype(np.uint32) << 16).view(np.float32)
    if dtype == 'F8_E4M3':
        code = np.frombuffer(data, np.uint8).astype(np.int64)
        exponent, fraction = code >> 3 & 15, code & 7
        size = np.where(exponent == 0, fraction / 512, (8 + fraction) * 2.0 ** (exponent - 10))
        return (np.where(code & 128, -size, size)).astype(np.float32)
    kinds = {'F32': '<f4', 'F16': '<f2', 'I8': 'i1', 'I32': '<i4', 'I64': '<i8'}
    return np.frombuffer(data, kinds[dtype])


def read_file(path):
    """(type, shape, values) of every tensor."""
    with open(path, 'rb') as file:
        blob = file.read()
    begin = 8 + struct.unpack('<Q', blob[:8])[0]
    header = json.loads(blob[8:begin])
    header.pop('__metadata__', None)
    tensors = {}
    for name, entry in header.items():
        first, last = entry['data_offsets']
        assert last - first == int(np.prod(entry['shape'])) * SIZES[entry['dtype']], name
        tensors[name] = entry['dtype'], tuple(entry['shape']), decode(entry['dtype'], blob[begin + first:begin + last])
    return tensors


def read_folder(path):
    """All tensors, and the file of each."""
    files = ['model.safetensors']
    if os.path.exists(os.path.join(path, INDEX)):
        with open(os.path.join(path, INDEX)) as file:
            files = sorted(set(json.load(file)['weight_map'].values()))
    tensors, places = {}, {}
    for file in files:
        for name, tensor in read_file(os.path.join(path, file)).items():
            tensors[name], places[name] = tensor, file
    return tensors, places


def write_file(path, dtype, tensors):
    header, data, position = {}, [], 0
    for name, values in tensors.items():
        data.append(encode(dtype, values))
        header[name] = {'dtype': dtype, 'shape': list(values.shape), 'data_offsets': [position, position + len(data[-1])]}
        position += len(data[-1])
    text = json.dumps(header).encode()
    with open(path, 'wb') as file:
        file.write(struct.pack('<Q', len(text)) + text + b''.join(data))


def write_model(path, tensors, config, shards):
    dtype = WORDS[config['torch_dtype']]
    os.makedirs(path)
    names = list(tensors)
    weight_map = {}
    for shard in range(shards):
        file = 'model.safetensors' if shards == 1 else f'model-{shard + 1:05}-of-{shards:05}.safetensors'
        part = names[len(names) * shard // shards:len(names) * (shard + 1) // shards]
        write_file(os.path.join(path, file), dtype, {name: tensors[name] for name in part})
        weight_map.update({name: file for name in part})
    if shards > 1:
        with open(os.path.join(path, INDEX), 'w') as file:
            json.dump({'metadata': {'total_size': 0}, 'weight_map': weight_map}, file)
    # Numbers that a reader with doubles or a writer of another style would change.
    text = json.dumps({**config, 'big': 123456789012345678901234567890, 'tiny': 1e-05, 'limit': float('inf'), 'naïve': 'é\u2028'}, indent=2)
    with open(os.path.join(path, 'config.json'), 'w') as file:
        file.write(text.replace('1e-05', '1.0e-05'))
    with open(os.path.join(path, 'tokenizer.json'), 'w') as file:
        file.write('{}')
    return path


def llama(path, seed=1, hidden=192, inner=384, tied=False, shards=3, torch_dtype='bfloat16', architecture='LlamaForCausalLM'):
    random = np.random.default_rng(seed)

    def weight(*shape):
        # Rows of very different size, one of zeros, and an outlier.
        values = random.standard_normal(shape) * 10.0 ** random.uniform(-4, 0, (shape[0], 1))
        values[0] = 0
        values[-1, 0] = 30
        return values.astype(np.float32)

    tensors = {'model.embed_tokens.weight': weight(50, hidden)}
    for layer in range(2):
        prefix = f'model.layers.{layer}.'
        for name, out in (('q_proj', hidden), ('k_proj', hidden // 2), ('v_proj', hidden // 2), ('o_proj', hidden)):
            tensors[f'{prefix}self_attn.{name}.weight'] = weight(out, hidden)
        for name, shape in (('gate_proj', (inner, hidden)), ('up_proj', (inner, hidden)), ('down_proj', (hidden, inner))):
            tensors[f'{prefix}mlp.{name}.weight'] = weight(*shape)
        tensors[prefix + 'input_layernorm.weight'] = np.ones(hidden, np.float32)
    tensors['model.norm.weight'] = np.ones(hidden, np.float32)
    if not tied:
        tensors['lm_head.weight'] = weight(50, hidden)
    config = {'architectures': [architecture], 'model_type': 'llama', 'tie_word_embeddings': tied, 'torch_dtype': torch_dtype}
    return write_model(path, tensors, config, shards)


def bert(path, seed=2, hidden=37, inner=100, torch_dtype='float32'):
    random = np.random.default_rng(seed)
    tensors = {}

    def linear(name, out, into):
        tensors[name + '.weight'] = (0.05 * random.standard_normal((out, into))).astype(np.float32)
        tensors[name + '.bias'] = np.zeros(out, np.float32)

    for name, rows in (('word', 60), ('position', 16), ('token_type', 2)):
        tensors[f'bert.embeddings.{name}_embeddings.weight'] = random.standard_normal((rows, hidden)).astype(np.float32)
    for name in ('attention.self.query', 'attention.self.key', 'attention.self.value', 'attention.output.dense'):
        linear('bert.encoder.layer.0.' + name, hidden, hidden)
    tensors['bert.encoder.layer.0.attention.output.LayerNorm.weight'] = np.ones(hidden, np.float32)
    linear('bert.encoder.layer.0.intermediate.dense', inner, hidden)
    linear('bert.encoder.layer.0.output.dense', hidden, inner)
    linear('bert.pooler.dense', hidden, hidden)
    linear('classifier', 3, hidden)
    config = {'architectures': ['BertForSequenceClassification'], 'model_type': 'bert', 'torch_dtype': torch_dtype}
    return write_model(path, tensors, config, 1)


def is_linear(name, shape):
    """By what these two models are."""
    blocks = ('.self_attn.', '.mlp.', '.encoder.layer.')
    return len(shape) == 2 and name.endswith('.weight') and any(block in name for block in blocks)


def scheme_of(config, module):
    """The weights' arguments for a module as loaders find them: exact names first, then the class."""
    for group in config['config_groups'].values():
        if module in group['targets']:
            return group
    return next(group for group in config['config_groups'].values() if 'Linear' in group['targets'])


def dequantized(stored, module, group, original_shape, scale_dtype):
    """The values of a module, and the step between neighbours at each of them."""
    weights = group['weights']
    rows, columns = original_shape
    dtype, shape, scale = stored[module + '.weight_scale']
    size = weights['group_size'] if weights['strategy'] == 'group' else columns
    expected = {'tensor': (1,), 'channel': (rows, 1), 'group': (rows, -(-columns // (size or 1)))}[weights['strategy']]
    assert (dtype, shape) == (scale_dtype, expected), f'{module}: scales {dtype} {shape}'
    assert columns % size == 0, f'{module}: groups of {size} in rows of {columns}, which loaders refuse'
    scale = scale.astype(np.float32)
    assert (scale > 0).all() and np.isfinite(scale).all()
    spread = np.repeat(scale.reshape(expected[0], -1), size, 1) if weights['strategy'] != 'tensor' else scale
    if weights['num_bits'] == 4:
        dtype, shape, words = stored[module + '.weight_packed']
        assert (dtype, shape) == ('I32', (rows, -(-columns * 4 // 32))), f'{module}: {dtype} {shape}'
        assert stored[module + '.weight_shape'][0] == 'I64' and tuple(stored[module + '.weight_shape'][2]) == original_shape
        nibbles = words.reshape(shape).view(np.uint32)[:, :, None] >> np.arange(0, 32, 4, dtype=np.uint32) & 15
        nibbles = nibbles.reshape(rows, -1)
        assert not nibbles[:, columns:].any(), f'{module}: bits beyond the last column'
        q = nibbles[:, :columns].astype(np.float32) - 8
    else:
        dtype, shape, q = stored[module + '.weight']
        assert (dtype, shape) == ('F8_E4M3' if weights['type'] == 'float' else 'I8', original_shape), f'{module}: {dtype} {shape}'
        q = q.reshape(shape).astype(np.float32)
    if weights['type'] == 'float':
        step = np.maximum(2.0 ** (np.floor(np.log2(np.maximum(abs(q), 2.0 ** -6))) - 3), 2.0 ** -9)
    else:
        step = np.ones_like(q)
    return q * spread, step * spread


def check(source, out, kind, skipped=(), zeros=None):
    """Everything about a folder that was written; returns the largest error in steps."""
    before, places = read_folder(source)
    after, places_after = read_folder(out)
    with open(os.path.join(source, 'config.json')) as file:
        plain = json.load(file)
    with open(os.path.join(out, 'config.json')) as file:
        text = file.read()
    assert '1.0e-05' in text and 'Infinity' in text, 'a number of config.json is written anew'
    config = json.loads(text)
    quantization = config.pop('quantization_config')
    assert config == plain and list(config) == list(plain), 'config.json has changed'
    name, bits, number, activations = {'int8': ('int-quantized', 8, 'int', True), 'int4': ('pack-quantized', 4, 'int', False),
                                       'fp8': ('float-quantized', 8, 'float', True)}[kind]
    assert quantization['quant_method'] == 'compressed-tensors' and quantization['format'] == name, quantization
    assert quantization['quantization_status'] == 'compressed' and quantization['kv_cache_scheme'] is None, quantization
    assert quantization['config_groups']['group_0']['targets'] == ['Linear'], quantization
    linear = [n[:-len('.weight')] for n, (_, shape, _) in before.items() if is_linear(n, shape)]
    quantized = [m for m in linear if not any(part in m for part in skipped)]
    left = {n[:-len('.weight')] for n, (_, shape, _) in before.items()
            if n.endswith('.weight') and len(shape) == 2 and 'embed' not in n} - set(quantized)
    if plain['architectures'][0].endswith('ForCausalLM'):
        left.add('lm_head')
    assert set(quantization['ignore']) == left and len(quantization['ignore']) == len(left), quantization['ignore']
    expected = set(before)
    worst = 0
    for module in quantized:
        group = scheme_of(quantization, module)
        weights = group['weights']
        assert (weights['num_bits'], weights['type'], weights['symmetric'], weights['dynamic']) == (bits, number, True, False), weights
        if activations:
            inputs = group['input_activations']
            assert (inputs['num_bits'], inputs['type'], inputs['symmetric'], inputs['strategy'], inputs['dynamic']) == \
                (8, number, True, 'token', True), inputs
        else:
            assert group['input_activations'] is None
        dtype, shape, values = before[module + '.weight']
        values = values.reshape(shape).astype(np.float32)
        made, step = dequantized(after, module, group, shape, WORDS[plain['torch_dtype']])
        if zeros is None:
            error = (abs(made.astype(np.float64) - values) / step).max()
            assert error <= HALF, f'{module}: {error} steps'
            worst = max(worst, error)
        else:
            kept = made != 0
            assert (made == 0).mean() >= zeros, f'{module}: only {(made == 0).mean()} are zero'
            assert (abs(made.astype(np.float64) - values)[kept] <= HALF * step[kept]).all(), module
        own = {'.weight_scale'} | ({'.weight_packed', '.weight_shape'} if bits == 4 else {'.weight'})
        expected = expected - {module + '.weight'} | {module + end for end in own}
        for end in own:
            assert places_after[module + end] == places[module + '.weight'], f'{module}{end} is in another shard'
    assert set(after) == expected, set(after) ^ expected
    for name in set(before) & set(after):
        if name[:-len('.weight')] not in quantized:
            assert after[name][:2] == before[name][:2] and after[name][2].tobytes() == before[name][2].tobytes(), name
    return worst


def check_dense(source, out, back):
    """That a folder was dequantized to what NumPy makes of it, in the model's type."""
    original, _ = read_folder(source)
    stored, places = read_folder(out)
    plain, places_back = read_folder(back)
    with open(os.path.join(back, 'config.json')) as file, open(os.path.join(source, 'config.json')) as old:
        found = file.read()
        assert found == old.read(), f'config.json is not as it was: {found}'
    with open(os.path.join(out, 'config.json')) as file:
        config = json.load(file)
    assert set(plain) == set(original), set(plain) ^ set(original)
    for name, (dtype, shape, values) in original.items():
        module = name[:-len('.weight')]
        if module + '.weight_scale' in stored:
            made, _ = dequantized(stored, module, scheme_of(config['quantization_config'], module), shape, WORDS[config['torch_dtype']])
            wanted = decode(dtype, encode(dtype, made.reshape(-1)))
            assert places_back[name] == places[module + '.weight_scale'], f'{name} is in another shard'
        else:
            wanted = values
        assert plain[name][:2] == (dtype, shape) and np.array_equal(plain[name][2], wanted), name
