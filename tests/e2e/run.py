#!/usr/bin/python3
"""Runs the command line from the outside: real models, exit statuses, interruption, memory.

usage: run.py SINEW DATA [NAME]...      (needs Debian's python3-numpy)

SINEW is the launcher, DATA the folder with mnist, face-detector and silero-vad. NAMEs choose tests by parts of their names.
"""
import concurrent.futures
import contextlib
import functools
import glob
import hashlib
import io
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np

import compressed_tensors
import mnist_accuracy
import model_folder
import torch_files

SINEW = os.path.abspath(sys.argv[1])
DATA = os.path.abspath(sys.argv[2])
MNIST = os.path.join(DATA, 'mnist', 'cnn.safetensors')
MNIST_PT = os.path.join(DATA, 'mnist', 'cnn.pt')
LEGACY = os.path.join(DATA, 'face-detector', 'rfb-320.pth')
FACE = os.path.join(DATA, 'face-detector', 'rfb-320-masked.pth')
SILERO = os.path.join(DATA, 'silero-vad', 'silero-vad-16k.safetensors')
RECIPES = [
    '--prune threshold=0.01',
    '--prune sparsity=0.6',
    '--prune sparsity=0.6,scope=tensor',
    '--prune nm=2:4',
    '--quantize int8',
    '--quantize int8 --granularity tensor --asymmetric --range percentile=99.5',
    '--quantize int4 --granularity group=32 --range mse',
    '--prune sparsity=0.5 --quantize int4 --granularity group=16 --asymmetric',
    '--prune nm=2:4 --sparse-format bitmap',
    '--prune sparsity=0.6 --quantize int8 --sparse-format bitmap',
    '--cluster bits=4,iterations=2',
    '--prune nm=2:4 --cluster bits=5,rows=16',
]


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def sinew(*arguments, expect=0, env=None, **options):
    """Runs a command; a failure must be one sentence, and success silent on standard error."""
    result = subprocess.run([SINEW, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, env={**os.environ, **(env or {})}, **options)
    said = f'sinew {" ".join(map(str, arguments))}: status {result.returncode}\n{result.stdout}{result.stderr}'
    check(result.returncode == expect, f'{said}expected status {expect}')
    if expect:
        check(result.stderr.startswith('sinew: ') and result.stderr.count('\n') == 1, f'{said}expected one sentence')
    return result.stdout


def optimize(source, target, recipe, *more, **options):
    return sinew('optimize', source, target, *recipe.split(), *more, **options)


@functools.lru_cache
def tiers():
    """The instruction sets of this machine; asked for a higher one, the library takes the highest it has."""
    found = [json.loads(sinew('doctor', '--json', env={'SINEW_ISA': isa}))['isa'] for isa in ('scalar', 'avx2', 'avx512')]
    return sorted(set(found))


def sha256(path):
    with open(path, 'rb') as file:
        return hashlib.sha256(file.read()).hexdigest()


@contextlib.contextmanager
def folder():
    path = tempfile.mkdtemp(prefix='sinew e2e ')
    try:
        yield path
    finally:
        shutil.rmtree(path)


def sparse_checkpoint(path, shape):
    """One F32 tensor of zeros that takes no space on the disk."""
    size = 4 * int(np.prod(shape))
    header = json.dumps({'big.weight': {'dtype': 'F32', 'shape': shape, 'data_offsets': [0, size]}}).encode()
    header += b' ' * (-len(header) % 8)
    with open(path, 'wb') as file:
        file.write(struct.pack('<Q', len(header)) + header)
        file.truncate(8 + len(header) + size)
    return path


def test_mnist_keeps_its_accuracy(work):
    """The yardsticks of the data folder, and NumPy on the same weights."""
    out = os.path.join(work, 'out')
    printed = optimize(MNIST, out, '--prune threshold=0.01')
    check('43.14% of 376,712 weights are zero' in printed, printed)
    tensors = mnist_accuracy.read(out)
    check(round(mnist_accuracy.share_of_zeros(tensors), 4) == 0.4314, 'share of zeros')
    check(mnist_accuracy.right_answers(tensors, DATA) == 9921, 'right answers after pruning')
    optimize(MNIST, out, '--quantize int8', '--force')
    right = mnist_accuracy.right_answers(mnist_accuracy.read(out), DATA)
    check(right >= 9910, f'{right} right answers with int8')


def test_bitmaps_hold_what_dense_tensors_hold(work):
    """NumPy decodes what is stored with bitmaps to the very bytes of the dense file, and so does convert."""
    dense, sparse, back = (os.path.join(work, name) for name in ('dense', 'sparse', 'back'))
    for source, recipe in ((MNIST, '--prune threshold=0.02'), (MNIST, '--prune nm=1:4 --quantize int8'),
                           (SILERO, '--prune threshold=0.02 --quantize int8')):
        optimize(source, dense, recipe, '--force')
        optimize(source, sparse, recipe, '--sparse-format', 'bitmap', '--force')
        sinew('convert', sparse, back, '--dense', '--force')
        expected = mnist_accuracy.read_stored(dense)
        for found in (mnist_accuracy.expand(mnist_accuracy.read_stored(sparse)), mnist_accuracy.read_stored(back)):
            check(set(found) == set(expected), set(found) ^ set(expected))
            for name, values in expected.items():
                check(found[name].dtype == values.dtype and found[name].shape == values.shape, name)
                check(found[name].tobytes() == values.tobytes(), name)
        before, after = os.path.getsize(dense), os.path.getsize(sparse)
        print(f'    {after} bytes instead of {before} ({after / before:.3f}) for {os.path.basename(source)} {recipe}')
        check(after < before, 'not smaller')


def test_clustered_mnist(work):
    """Accuracy on the first images by the bits of an index, and what `compare` decodes against NumPy."""
    out, plain = os.path.join(work, 'out'), mnist_accuracy.read(MNIST)
    before = mnist_accuracy.right_answers(plain, DATA, 1000)
    for recipe, lost in (('--cluster bits=4', 5), ('--cluster bits=8', 1), ('--prune sparsity=0.5 --cluster bits=5,rows=64', 5)):
        optimize(MNIST, out, recipe, '--force')
        after = mnist_accuracy.read(out)
        check({n: v.shape for n, v in plain.items()} == {n: v.shape for n, v in after.items()}, 'names or shapes')
        right = mnist_accuracy.right_answers(after, DATA, 1000)
        print(f'    {right} right of 1,000 instead of {before}, {os.path.getsize(out)} bytes with {recipe}')
        check(right >= before - lost, f'{right} right answers with {recipe}')
        if 'prune' in recipe:
            check(mnist_accuracy.share_of_zeros(after) >= 0.5, 'pruned weights came back')
        for tensor in json.loads(sinew('compare', MNIST, out, '--json'))['tensors']:
            a, b = plain[tensor['name']].astype(np.float64), after[tensor['name']].astype(np.float64)
            if tensor['max_abs_error'] is not None:
                worst = abs(a - b).max(initial=0)
                check(abs(tensor['max_abs_error'] - worst) <= 1e-6 * worst, f'{tensor["name"]} with {recipe}')


def test_pytorch_file_is_pruned_like_numpy(work):
    # cnn.pt holds the same network at another stage of its training, so its numbers are its own.
    plain, out = os.path.join(work, 'plain'), os.path.join(work, 'out')
    sinew('convert', MNIST_PT, plain)
    optimize(MNIST_PT, out, '--prune threshold=0.01')
    before, after = mnist_accuracy.read(plain), mnist_accuracy.read(out)
    check(list(before) and set(before) == set(after), 'names')
    for name, values in before.items():
        if name in mnist_accuracy.weights(before):
            values = np.where(np.abs(values) > np.float32(0.01), values, np.float32(0))
        check(np.array_equal(values, after[name]), name)
    right = mnist_accuracy.right_answers(after, DATA, 2000)
    check(right >= 1970, f'{right} right answers of 2,000')


def test_face_detector(work):
    plain, out = os.path.join(work, 'plain'), os.path.join(work, 'out')
    sinew('convert', FACE, plain)
    same = json.loads(sinew('compare', FACE, plain, '--json'))
    check(same['comparable'] and all(t['equal'] for t in same['tensors']), 'convert has changed values')
    stored = mnist_accuracy.read_stored(plain)
    for tensor in json.loads(sinew('inspect', FACE, '--json'))['tensors']:
        values = stored[tensor['name']].astype(np.float64)
        check(tensor['shape'] == list(values.shape), tensor['name'])
        check(tensor['min'] == values.min() and tensor['max'] == values.max(), f'extremes of {tensor["name"]}')
        check(abs(tensor['mean'] - values.mean()) <= 1e-12 * max(1, abs(values).max()), f'mean of {tensor["name"]}')
        check(tensor['zero_count'] == int((values == 0).sum()), f'zeros of {tensor["name"]}')
    optimize(FACE, out, '--quantize int8')
    compared = json.loads(sinew('compare', FACE, out, '--json'))
    check(compared['comparable'], 'names or shapes differ')
    after = mnist_accuracy.read(out)
    touched = 0
    for tensor in compared['tensors']:
        if not tensor['equal']:
            touched += 1
            a, b = stored[tensor['name']].astype(np.float64), after[tensor['name']].astype(np.float64)
            check(abs(tensor['max_abs_error'] - abs(a - b).max()) <= 1e-6 * abs(a).max(), tensor['name'])
            snr = 10 * np.log10((a * a).sum() / ((a - b) ** 2).sum())
            check(abs(tensor['snr_db'] - snr) < 1e-3, f'{tensor["name"]}: {tensor["snr_db"]} dB, NumPy {snr}')
            check(snr > 30, f'{tensor["name"]} has only {snr} dB')
    check(touched > 40, f'only {touched} tensors were quantized')


TORCH_DTYPES = {'Double': 'F64', 'Float': 'F32', 'Half': 'F16', 'BFloat16': 'BF16', 'Long': 'I64', 'Int': 'I32', 'Short': 'I16', 'Char': 'I8',
                'Byte': 'U8', 'Bool': 'BOOL', 'ComplexFloat': 'C64'}


def check_converted(source, expected, work):
    """Every tensor that `convert` writes has the name, type, shape and bits that an independent reader found."""
    out = os.path.join(work, 'converted')
    sinew('convert', source, out, '--force')
    with open(out, 'rb') as file:
        header = json.loads(file.read(struct.unpack('<Q', file.read(8))[0]))
        data = file.read()
    header.pop('__metadata__')
    check(set(header) == set(expected), f'{set(header) ^ set(expected)}')
    for name, (kind, values) in expected.items():
        tensor = header[name]
        check((tensor['dtype'], tensor['shape']) == (TORCH_DTYPES[kind], list(values.shape)), f'{name}: {tensor}')
        begin, end = tensor['data_offsets']
        check(data[begin:end] == values.tobytes(), f'{name} has other bits')


def test_legacy_pytorch_equals_an_independent_reader(work):
    expected = torch_files.read_legacy(LEGACY)
    check(len(expected) == 244, f'{len(expected)} tensors')
    check_converted(LEGACY, expected, work)
    check(json.loads(sinew('inspect', LEGACY, '--json'))['format'] == 'PyTorch legacy', 'format')
    out = os.path.join(work, 'out')
    optimize(LEGACY, out, '--quantize int8')
    compared = json.loads(sinew('compare', LEGACY, out, '--json'))
    check(compared['comparable'] and len(compared['tensors']) == 244, 'names or shapes differ')
    check(compared['total']['snr_db'] > 30, compared['total'])


def test_old_pytorch_files_of_an_independent_writer(work):
    for seed in range(4):
        random = np.random.default_rng(seed)
        path = os.path.join(work, 'model.pth.tar')
        written = torch_files.write_legacy(path, random)
        read = torch_files.read_legacy(path)
        same = list(read) == list(written) and all(read[name][1].tobytes() == written[name][1].tobytes() for name in read)
        check(same, f'seed {seed}: the oracle does not read what it writes')
        check_converted(path, written, work)
        check_converted(path, torch_files.write_tar(path, random), work)


def test_silero_vad(work):
    out, report = os.path.join(work, 'out'), os.path.join(work, 'report.json')
    optimize(SILERO, out, '--prune sparsity=0.5', '--report', report)
    with open(report) as file:
        tensors = json.load(file)['tensors']
    touched = [t for t in tensors if t['touched']]
    check(any('weight_ih' in t['name'] for t in touched), 'the LSTM was left out')
    zeros, elements = sum(t['zero_count'] for t in touched), sum(t['elements'] for t in touched)
    check(zeros == elements // 2, f'{zeros} zeros of {elements}')
    after = mnist_accuracy.read_stored(out)
    check(zeros == sum(int((after[t['name']] == 0).sum()) for t in touched), 'zeros in the file')
    before = mnist_accuracy.read_stored(SILERO)
    kept = min(abs(after[t['name']][after[t['name']] != 0]).min() for t in touched)
    pruned = max(abs(before[t['name']][after[t['name']] == 0]).max() for t in touched)
    check(pruned <= kept, f'{pruned} was pruned, {kept} was kept')


def test_a_model_folder(work):
    """Shards, index and files of a Llama, beside the same model as one file."""
    tensors = model_folder.llama_tensors()
    source = model_folder.write_folder(os.path.join(work, 'llama'), tensors)
    one = model_folder.write_safetensors(os.path.join(work, 'one'), tensors)
    with open(os.path.join(source, 'pytorch_model.bin'), 'wb') as stale:
        stale.write(b'old weights')
    before, shards = model_folder.read_folder(source)
    # One output a tensor, companions, and what is written in two runs: how a folder is read and written is the same for all.
    for number, recipe in enumerate(('--prune sparsity=0.6', '--quantize int4 --granularity group=32 --range mse',
                                     '--prune sparsity=0.6 --quantize int8 --sparse-format bitmap')):
        out, out_one = os.path.join(work, f'out-{number}'), os.path.join(work, f'one-{number}')
        printed = optimize(source, out, recipe)
        check('(1): pytorch_model.bin' in printed, printed)
        optimize(one, out_one, recipe)
        after, after_shards = model_folder.read_folder(out)
        expected = mnist_accuracy.read_stored(out_one)
        check(set(after) == set(expected), f'{recipe}: names')
        for name, values in expected.items():
            check(values.dtype == after[name].dtype and values.tobytes() == after[name].tobytes(), f'{recipe}: {name}')
            base = max((own for own in shards if name.startswith(own)), key=len)
            check(after_shards[name] == shards[base], f'{recipe}: {name} is in {after_shards[name]}')
        names = {os.path.relpath(os.path.join(at, name), out) for at, _, files in os.walk(out) for name in files}
        check(names == {*shards.values(), model_folder.INDEX, 'config.json', 'tokenizer.json', 'assets/readme.md'}, names)
        check(sha256(os.path.join(out, 'config.json')) == sha256(os.path.join(source, 'config.json')), 'config.json')
    merged = os.path.join(work, 'merged.safetensors')
    sinew('convert', source, merged)
    for name, values in mnist_accuracy.read_stored(merged).items():
        check(values.tobytes() == before[name].tobytes(), f'merged {name}')
    left = sorted(name for name in os.listdir(work) if name.startswith('.'))
    check(left == [], left)
    cache = os.path.join(work, 'cache')
    os.mkdir(cache)
    os.symlink(one, os.path.join(cache, 'model.safetensors'))
    sinew('inspect', cache, expect=1)
    sinew('optimize', source, one, '--quantize', 'int8', expect=1)
    sinew('optimize', one, source, '--quantize', 'int8', expect=1)
    sinew('optimize', source, os.path.join(source, 'out'), '--quantize', 'int8', expect=1)


def test_folders_for_other_loaders(work):
    """The format of compressed-tensors on Llamas and a BERT, sharded or not, tied or not, with rows that no group divides."""
    sources = {
        'llama': compressed_tensors.llama(os.path.join(work, 'llama')),
        'llama f16': compressed_tensors.llama(os.path.join(work, 'llama f16'), 3, 128, 256, torch_dtype='float16'),
        'tied': compressed_tensors.llama(os.path.join(work, 'tied'), 4, 64, 136, True, 1, architecture='Qwen3ForCausalLM'),
        'bert': compressed_tensors.bert(os.path.join(work, 'bert')),
    }
    recipes = (('int8', ''), ('int4', ''), ('fp8', ''), ('int8', '--granularity tensor'), ('int4', '--granularity group=32'),
               ('int4', '--granularity channel'), ('fp8', '--granularity tensor'))
    out, back = os.path.join(work, 'out'), os.path.join(work, 'back')
    for name, source in sources.items():
        for kind, more in recipes if name == 'llama' else recipes[:3]:
            recipe = f'--quantize {kind} --format compressed-tensors {more}'
            optimize(source, out, recipe, '--force')
            worst = compressed_tensors.check(source, out, kind)
            print(f'    {worst:.3f} steps at most for {name}, {kind} {more}')
            if not more:
                sinew('convert', out, back, '--dense', '--force')
                compressed_tensors.check_dense(source, out, back)
            if name == 'bert':
                check(json.loads(sinew('compare', source, out, '--json'))['comparable'], 'names or shapes differ')
                sinew('optimize', out, back, '--quantize', kind, '--format', 'compressed-tensors', '--force', expect=1)
    llama = sources['llama']
    optimize(llama, out, '--quantize int8 --format compressed-tensors --skip *.down_proj.weight --prune sparsity=0.5,scope=tensor', '--force')
    compressed_tensors.check(llama, out, 'int8', ['down_proj'], 0.5)
    # The same model in another order of threads and on other tiers.
    found = set()
    for isa in tiers():
        for threads in (1, 5):
            optimize(llama, out, '--quantize int4 --format compressed-tensors --force', '--threads', threads, env={'SINEW_ISA': isa})
            found.add(tuple((name, sha256(os.path.join(out, name))) for name in sorted(os.listdir(out))))
    check(len(found) == 1, found)


def test_one_result_for_all_tiers_and_threads(work):
    # Without those that are the beginning of another.
    for recipe in (recipe for recipe in RECIPES if not any(other.startswith(recipe + ' ') for other in RECIPES)):
        found = {}
        for number, isa in enumerate(tiers()):
            for threads in (1, 5) if number == 0 else (5,):
                out = os.path.join(work, f'{isa}-{threads}')
                optimize(SILERO, out, recipe, '--threads', threads, '--force', env={'SINEW_ISA': isa})
                found.setdefault(sha256(out), []).append(f'{isa} {threads}')
        check(len(found) == 1, f'{recipe}: {found}')


def test_failures_have_a_sentence_and_a_status(work):
    out = os.path.join(work, 'out')
    how = ['--prune', 'threshold=0.01']
    sinew(expect=2)
    sinew('optimize', MNIST, out, expect=2)
    sinew('optimize', MNIST, out, '--prune', 'threshold=-1', expect=2)
    sinew('optimize', MNIST, out, *how, '--range', 'mse', expect=2)
    sinew('optimize', MNIST, out, *how, '--threads', '0', expect=2)
    sinew('optimize', os.path.join(work, 'missing'), out, *how, expect=1)
    sinew('optimize', MNIST, work, *how, expect=1)
    sinew('optimize', os.path.join(DATA, 'mnist', 'cnn.onnx'), out, *how, expect=1)
    sinew('optimize', os.path.join(DATA, 'mnist', 't10k-labels-idx1-ubyte.gz'), out, *how, expect=1)
    sinew('optimize', MNIST, '/proc/out', *how, expect=1)
    sinew('inspect', '/dev/null', expect=1)
    sinew('compare', MNIST, SILERO, expect=1)
    with open(MNIST, 'rb') as file:
        start = file.read(100_000)
    with open(os.path.join(work, 'cut'), 'wb') as file:
        file.write(start)
    sinew('convert', os.path.join(work, 'cut'), out, expect=1)
    os.symlink(MNIST, os.path.join(work, 'link'))
    sinew('optimize', MNIST, os.path.join(work, 'link'), *how, '--force', expect=1)
    check(sorted(os.listdir(work)) == ['cut', 'link'], os.listdir(work))


def test_a_disk_that_is_full_leaves_nothing(work):
    out = os.path.join(work, 'out')

    def small_files_only():
        # Writing beyond the limit is an error, as on a full disk, when its signal is ignored.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    sinew('optimize', MNIST, out, '--prune', 'nm=2:4', expect=1, preexec_fn=small_files_only)
    check(os.listdir(work) == [], os.listdir(work))
    source = model_folder.write_folder(os.path.join(work, 'in'), model_folder.llama_tensors())
    sinew('optimize', source, out, '--prune', 'nm=2:4', expect=1, preexec_fn=small_files_only)
    check(os.listdir(work) == ['in'], os.listdir(work))
    for model in (MNIST, source):
        sinew('merge', model, model, '-o', out, '--method', 'slerp', expect=1, preexec_fn=small_files_only)
        check(os.listdir(work) == ['in'], os.listdir(work))


LONG_JOBS = ['optimize IN OUT --quantize int4 --range mse --threads 1',
             'merge IN IN --base IN -o OUT --method ties --density 0.5 --threads 1']


def start_long_job(work, in_folder, job):
    """Starts a job of many seconds and returns when it writes."""
    source = os.path.join(work, 'in')
    if in_folder:
        os.mkdir(source)
    sparse_checkpoint(os.path.join(source, 'model.safetensors') if in_folder else source, [65536, 8192])
    process = subprocess.Popen(
        [SINEW, *({'IN': source, 'OUT': os.path.join(work, 'out')}.get(word, word) for word in job.split())],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # What runs in the background may have been told to ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    deadline = time.monotonic() + 30
    while not any(name.endswith('.tmp') for name in os.listdir(work)):
        check(process.poll() is None and time.monotonic() < deadline, 'the job did not begin to write')
        time.sleep(0.01)
    time.sleep(0.3)
    check(process.poll() is None, 'the job was over before it could be stopped')
    return process


def test_ctrl_c_leaves_nothing(work):
    for in_folder, number, status in ((False, signal.SIGINT, 130), (True, signal.SIGTERM, 143)):
        for job in LONG_JOBS:
            process = start_long_job(work, in_folder, job)
            process.send_signal(number)
            out, err = process.communicate(timeout=20)
            check(process.returncode == status, f'status {process.returncode}: {out}{err}')
            check('\tat ' not in err, err)
            check(os.listdir(work) == ['in'], os.listdir(work))
            (shutil.rmtree if in_folder else os.remove)(os.path.join(work, 'in'))


def test_an_input_that_shrinks_is_a_failure(work):
    for in_folder, shrinks, job in ((False, 'in', LONG_JOBS[0]), (True, 'in/model.safetensors', LONG_JOBS[0]),
                                    (False, 'in', LONG_JOBS[1])):
        process = start_long_job(work, in_folder, job)
        os.truncate(os.path.join(work, shrinks), 1000)
        out, err = process.communicate(timeout=60)
        lines = [line for line in err.splitlines() if line.startswith('sinew: ')]
        check(process.returncode == 1 and len(lines) == 1 and '\tat ' not in err, f'status {process.returncode}: {out}{err}')
        check(os.listdir(work) == ['in'], os.listdir(work))
        (shutil.rmtree if in_folder else os.remove)(os.path.join(work, 'in'))


def test_a_closed_pipe_ends_quietly(work):
    for command in (['inspect', FACE], ['inspect', FACE, '--json'], ['optimize', '--help']):
        reader, writer = os.pipe()
        process = subprocess.Popen([SINEW, *command], stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        os.read(reader, 1)
        os.close(reader)
        err = process.communicate(timeout=20)[1]
        check(process.returncode == 0 and err == b'', f'{command}: status {process.returncode}, {err}')
    with open('/dev/full', 'w') as full:
        process = subprocess.run([SINEW, 'inspect', FACE], stdout=full, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    check(process.returncode == 1 and process.stderr.count(b'\n') == 1, process)


def test_memory_does_not_grow_with_the_model(work):
    """Peak resident memory of optimize over that of `sinew --version`, in MiB."""
    source = sparse_checkpoint(os.path.join(work, 'in'), [1024, 65536])  # 256 MiB
    out = os.path.join(work, 'out')

    def peak(*arguments):
        process = subprocess.Popen([SINEW, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        most = 0
        # Not getrusage, which counts what this process itself had when it forked.
        while process.poll() is None:
            with contextlib.suppress(OSError), open(f'/proc/{process.pid}/status') as status:
                most = max([most] + [int(line.split()[1]) for line in status if line.startswith('VmHWM:')])
            time.sleep(0.005)
        check(process.returncode == 0 and most > 0, arguments)
        return most / 1024

    base = peak('--version')
    for recipe in RECIPES:
        more = peak('optimize', source, out, *recipe.split()) - base
        print(f'    {more:4.0f} MiB for {recipe}')
        check(more < 200, f'{recipe} takes {more:.0f} MiB')
        os.remove(out)


def test_many_shards_need_few_files_and_little_memory(work):
    """More shards than files may be open, and a heap that holds the names but not much more."""
    tensors = {f'layers.{i}.weight': np.full((2, 4), i, np.float32) for i in range(12_000)}
    source = model_folder.write_folder(os.path.join(work, 'in'), tensors, 300)

    def few_files():
        resource.setrlimit(resource.RLIMIT_NOFILE, (96, 96))

    out = os.path.join(work, 'out')
    optimize(source, out, '--quantize int8', env={'SINEW_JAVA_OPTS': '-Xmx64m'}, preexec_fn=few_files)
    after, _ = model_folder.read_folder(out)
    check(len(after) == 24_000 and (after['layers.7.weight'] == 127).all(), f'{len(after)} tensors')


def test_the_launcher_works_from_anywhere(work):
    link = os.path.join(work, 'a link')
    os.symlink(SINEW, link)
    for command, cwd in (([link], '/'), (['./a link'], work), ([os.path.relpath(SINEW, '/')], '/')):
        out = subprocess.run([*command, '--version'], cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        check(out.returncode == 0 and out.stdout.startswith('sinew ') and out.stderr == '', out)
    name = 'model é 模型.safetensors'
    shutil.copy(MNIST, os.path.join(work, name))
    bare = {'PATH': os.environ['PATH'], 'HOME': os.environ.get('HOME', '/')}
    out = subprocess.run([link, 'inspect', name], cwd=work, capture_output=True, text=True, env=bare, stdin=subprocess.DEVNULL)
    check(out.returncode == 0 and out.stdout.startswith(name), out)
    heap = json.loads(sinew('doctor', '--json', env={'SINEW_JAVA_OPTS': '-Xmx77m'}))['java_heap_limit_bytes']
    check(heap < 80 << 20, f'SINEW_JAVA_OPTS had no effect: {heap}')


def test_an_archive_of_classes_is_used_or_passed_over_in_silence(work):
    sinew('--version')
    built = os.path.join(os.path.dirname(os.path.realpath(SINEW)), 'target')
    jar, archive = (glob.glob(os.path.join(built, 'sinew-*-all' + end))[0] for end in ('.jar', '-java-*.jsa'))
    loaded = sinew('--version', env={'SINEW_JAVA_OPTS': '-Xlog:class+load'})
    check('dev.sinew.cli.Main source: shared objects file' in loaded, loaded[-1000:])
    # Of a jar in another place, then of none.
    shutil.copy(os.path.realpath(SINEW), os.path.join(work, 'sinew'))
    shutil.copy(jar, work)
    copy = os.path.join(work, os.path.basename(archive))
    shutil.copyfile(archive, copy)
    for _ in range(2):
        out = subprocess.run([os.path.join(work, 'sinew'), '--version'], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        check(out.returncode == 0 and out.stdout.startswith('sinew ') and out.stdout.count('\n') == 1 and out.stderr == '', out)
        open(copy, 'w').close()


def test_demo(work):
    start = time.monotonic()
    # Progress may be shown on standard error.
    result = subprocess.run([SINEW, 'demo'], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    check(result.returncode == 0 and 'int8 per channel' in result.stdout, result)
    model = result.stdout.splitlines()[0].removeprefix('Making ').removesuffix(' ...')
    check(model.endswith('model.safetensors') and not os.path.exists(os.path.dirname(model)), f'{model} is still there')
    check(time.monotonic() - start < 60, 'the demonstration takes more than a minute')


def run(name):
    """The test's outcome and what it printed."""
    start, printed = time.monotonic(), io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            with folder() as work:
                globals()[name](work)
            outcome = 'passed'
        except (AssertionError, subprocess.TimeoutExpired) as error:
            outcome = f'FAILED: {error}'
    return f'{printed.getvalue()}  {time.monotonic() - start:5.1f} s  {name}: {outcome}', outcome == 'passed'


def main():
    chosen = sys.argv[3:]
    names = [name for name in globals() if name.startswith('test_') and (not chosen or any(part in name for part in chosen))]
    # The start of a JVM keeps one processor busy and a second one half of the time.
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        outcomes = [pool.submit(run, name) for name in names]
        for outcome in concurrent.futures.as_completed(outcomes):
            print(outcome.result()[0], flush=True)
    sys.exit(0 if all(outcome.result()[1] for outcome in outcomes) else 1)


main()
