"""Makes the folder of a small Llama as Hugging Face's tools lay it out, and reads such folders, without any of Sinew."""
import json
import os
import struct

import numpy as np

import mnist_accuracy

INDEX = 'model.safetensors.index.json'


def llama_tensors(seed=7, layers=3, hidden=64):
    random = np.random.default_rng(seed)

    def weight(*shape):
        return (0.02 * random.standard_normal(shape)).astype(np.float32)

    tensors = {'model.embed_tokens.weight': weight(100, hidden)}
    for layer in range(layers):
        prefix = f'model.layers.{layer}.'
        for name in ('q_proj', 'k_proj', 'v_proj', 'o_proj'):
            tensors[f'{prefix}self_attn.{name}.weight'] = weight(hidden, hidden)
        tensors[f'{prefix}mlp.gate_proj.weight'] = weight(2 * hidden, hidden)
        tensors[f'{prefix}mlp.down_proj.weight'] = weight(hidden, 2 * hidden)
        tensors[f'{prefix}input_layernorm.weight'] = np.ones(hidden, np.float32)
    tensors['model.norm.weight'] = np.ones(hidden, np.float32)
    tensors['lm_head.weight'] = weight(100, hidden)
    return tensors


def write_safetensors(path, tensors):
    header, data, position = {'__metadata__': {'format': 'pt'}}, [], 0
    for name, values in tensors.items():
        end = position + values.nbytes
        header[name] = {'dtype': 'F32', 'shape': list(values.shape), 'data_offsets': [position, end]}
        data.append(values.tobytes())
        position = end
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as file:
        file.write(struct.pack('<Q', len(text)) + text + b''.join(data))
    return path


def write_folder(path, tensors, shards=3):
    os.makedirs(os.path.join(path, 'assets'))
    names = list(tensors)
    weight_map = {}
    for shard in range(shards):
        part = names[len(names) * shard // shards:len(names) * (shard + 1) // shards]
        file = f'model-{shard + 1:05}-of-{shards:05}.safetensors'
        write_safetensors(os.path.join(path, file), {name: tensors[name] for name in part})
        weight_map.update({name: file for name in part})
    texts = {
        INDEX: json.dumps({'metadata': {'total_size': sum(t.nbytes for t in tensors.values())}, 'weight_map': weight_map}, indent=2),
        'config.json': json.dumps({'architectures': ['LlamaForCausalLM'], 'model_type': 'llama', 'hidden_size': 64}),
        'tokenizer.json': '{"version": "1.0"}',
        'assets/readme.md': 'An example.',
    }
    for name, text in texts.items():
        with open(os.path.join(path, name), 'w') as file:
            file.write(text)
    return path


def read_folder(path):
    """The tensors by the index, and the file that each is in; the index must list all there are, and their size."""
    with open(os.path.join(path, INDEX)) as file:
        index = json.load(file)
    tensors = {}
    for shard in sorted(set(index['weight_map'].values())):
        for name, values in mnist_accuracy.read_stored(os.path.join(path, shard)).items():
            assert index['weight_map'][name] == shard, f'{name} is in {shard}'
            tensors[name] = values
    assert set(tensors) == set(index['weight_map']), 'the index and the shards hold different tensors'
    total = sum(values.nbytes for values in tensors.values())
    assert index['metadata']['total_size'] == total, f'total_size is {index["metadata"]["total_size"]}, the tensors take {total}'
    return tensors, index['weight_map']
