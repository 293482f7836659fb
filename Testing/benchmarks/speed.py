"""How fast the engine is, and how much memory it takes, against a plain implementation of the same network.

::

    python3 Testing/benchmarks/speed.py --model FILE [--repeats 9] [--peer FILE.py] [--memory] [--json FILE]

The peer is the network as published code runs it, one slice at a time: stock PyTorch modules in their stock order, all
image decoders, the KL terms, and each input's own product with the prior (its marginal) with its KL term (``plain.py``
beside this file, whatever the readable network does for its own speed). A peer of one's own is a Python file with a
function ``build(network)`` that returns a callable ``(images, noise, temperature)``; it may ignore ``network``, an
``MMHVAE``.

Engine and peer live in processes of their own, so that neither finds the other's memory or caches, and take turns.
Each turn is one slice on one thread. CPU time is the measure, since other programs do not count in it; they do slow
both down through the caches they share. A ratio is peer / engine of one turn; median and range over the turns are
given. The same for wall time says what a user of this machine would see at this moment. ``--workers`` also times one
worker against two over whole slices: that says something on a machine with two idle cores only.

Why not ONNX Runtime? When it was tried it reached 2.65 (one target) and 2.0 (four) in float32: a little ahead,
since both are bound by the same convolutions. It would be one more binary that Slicer does not have, an export for each
model, subset of inputs and size, and a second path to hold to the same numbers. OpenVINO with bfloat16 reached 4.8 and
3.4, with errors of 0.02 to 0.5: no medical image should pay that for speed.
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PLAIN = Path(__file__).resolve().with_name("plain.py")
LIBRARY = PLAIN.parents[2] / "MMHVAESynthesis"
sys.path.insert(0, str(LIBRARY))

CASES = {"one input, one target": (1, 1), "one input, all targets": (1, 0), "all inputs, all targets": (0, 0)}
"""Inputs and targets of each case; 0 means all. The peer always makes all targets."""


def _peer(path, network):
    spec = importlib.util.spec_from_file_location("peer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build(network)


def _serve(pipe, model, kind, peer):
    """Compute a slice each time a case is asked for; answer with CPU and wall seconds."""
    import torch

    from MMHVAESynthesisLib.models.loading import load
    from MMHVAESynthesisLib.network.fast.model import FastMMHVAE

    torch.set_num_threads(1)
    network = load(model).network
    sizes = network.sizes
    generator = torch.Generator().manual_seed(0)
    shape = 1, 1, sizes.size, sizes.size
    images = {modality: torch.rand(shape, generator=generator) * 1.9 - 0.9 for modality in sizes.modalities}
    noise = network.noise(1, generator)
    if kind == "engine":
        fast = FastMMHVAE(network)
        run = lambda given, targets: fast(given, noise, 0.7, targets)  # noqa: E731
    else:
        plain = _peer(peer, network)
        run = lambda given, targets: plain(given, noise, 0.7)  # noqa: E731
    with torch.inference_mode():
        for name in iter(pipe.recv, None):
            inputs, targets = (count or len(sizes.modalities) for count in CASES[name])
            given = {modality: images[modality] for modality in sizes.modalities[:inputs]}
            wanted = sizes.modalities[-targets:]
            cpu, wall = time.process_time(), time.perf_counter()
            run(given, wanted)
            pipe.send((time.process_time() - cpu, time.perf_counter() - wall))


def _process(context, *args):
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, *args), daemon=True)
    process.start()
    return ours


def take_turns(model, peer, repeats):
    """Return ``{case: {"cpu" | "wall": {"engine" | "peer": seconds, "ratio": [median, least, most]}}}``."""
    context = multiprocessing.get_context("spawn")
    sides = {kind: _process(context, model, kind, peer) for kind in ("engine", "peer")}

    def turn(kind, name):
        sides[kind].send(name)
        return sides[kind].recv()

    results = {}
    for name in CASES:
        turns = [{kind: turn(kind, name) for kind in sides} for _ in range(repeats + 2)][2:]  # two to warm up
        results[name] = {
            clock: {
                **{kind: statistics.median(turn[kind][index] for turn in turns) for kind in sides},
                "ratio": _spread([turn["peer"][index] / turn["engine"][index] for turn in turns]),
            }
            for index, clock in enumerate(("cpu", "wall"))
        }
    for pipe in sides.values():
        pipe.send(None)
    return results


def _spread(values):
    return [statistics.median(values), min(values), max(values)]


def compare_workers(model, repeats, slices=4):
    """Return the spread of (wall time of one worker) / (that of two) for some slices."""
    import torch

    from MMHVAESynthesisLib.models.loading import load
    from MMHVAESynthesisLib.network.fast.model import FastMMHVAE

    torch.set_num_threads(1)
    network = load(model).network
    fast, sizes = FastMMHVAE(network), network.sizes
    first, noise = sizes.modalities[0], network.noise(1)
    given = {first: torch.rand(1, 1, sizes.size, sizes.size)}

    def seconds(workers):
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(lambda _: fast(given, noise, 0.7, sizes.modalities[-1:]), range(workers)))
            start = time.perf_counter()
            list(pool.map(lambda _: fast(given, noise, 0.7, sizes.modalities[-1:]), range(slices)))
            return time.perf_counter() - start

    return _spread([seconds(1) / seconds(2) for _ in range(repeats)])


def measure_memory(model, counts=(10, 40, 160), size=192):
    """Return ``{slices: MB}``: peak of the command line for one target, less its input and output arrays."""
    import numpy as np
    import SimpleITK as sitk

    from MMHVAESynthesisLib.volumes.files import write

    k, j, i = np.indices((max(counts), size, size), dtype=np.float32)
    inside = (j > 20) & (abs(i - size / 2) < j * 0.6) & (j < 0.95 * size)
    texture = np.where(inside, 90 + 60 * np.sin(i / 9) + 30 * np.cos(j / 7) + k / 4, 0).astype(np.uint8)
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            image = sitk.GetImageFromArray(texture[:count])
            image.SetSpacing((0.5, 0.5, 0.5))
            file = Path(folder) / f"us{count}.nrrd"
            write(image, file)
            peaks[count] = _peak(model, file, Path(folder) / "out") - count * size**2 * (1 + 4) / 1e6
    return peaks


def _peak(model, file, folder):
    """Return the most memory that one run of the command line held, in MB; needs an operating system with wait4."""
    command = [sys.executable, "-m", "MMHVAESynthesisLib", "synthesize", "--us", file, "--model", model]
    command += ["--targets", "t2", "--output-dir", folder, "--overwrite", "--progress", "none"]
    child = subprocess.Popen(
        [str(part) for part in command], env={**os.environ, "PYTHONPATH": str(LIBRARY)}, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise RuntimeError(f"the command line failed ({status})")
    return usage.ru_maxrss * (1e-6 if sys.platform == "darwin" else 1024e-6)


def markdown(results):
    """Return what was measured as Markdown."""
    lines = ["| | engine, s CPU | peer, s CPU | ratio (range) | ratio by wall time (range) |", "|---|---|---|---|---|"]
    for name, clocks in results["speed"].items():
        cpu, wall = clocks["cpu"], clocks["wall"]
        ratios = ["{:.2f} ({:.2f} to {:.2f})".format(*clock["ratio"]) for clock in (cpu, wall)]
        lines.append(f"| {name} | {cpu['engine']:.3f} | {cpu['peer']:.3f} | {ratios[0]} | {ratios[1]} |")
    if "workers" in results:
        lines += ["", "Two workers: {:.2f} times one ({:.2f} to {:.2f}).".format(*results["workers"])]
    if "memory" in results:
        lines += ["", "| slices | peak less input and output, MB |", "|---|---|"]
        lines += [f"| {count} | {peak:.0f} |" for count, peak in results["memory"].items()]
    load = " {:.1f} {:.1f} {:.1f}".format(*os.getloadavg()) if hasattr(os, "getloadavg") else " unknown"
    return "\n".join([*lines, "", f"{results['machine']}; load average{load}."])


def main():
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="checkpoint of the released sizes")
    parser.add_argument("--repeats", type=int, default=9, help="turns for each case; default %(default)s")
    parser.add_argument("--peer", metavar="FILE", default=PLAIN, help="Python file with build(network)")
    parser.add_argument("--workers", action="store_true", help="also time two workers against one")
    parser.add_argument("--memory", action="store_true", help="also measure peak memory at 10, 40 and 160 slices")
    parser.add_argument("--json", metavar="FILE", help="also write the figures here")
    args = parser.parse_args()
    import torch

    results = {"machine": f"{platform.platform()}, {platform.machine()}, torch {torch.__version__}"}
    results["speed"] = take_turns(args.model, args.peer, args.repeats)
    if args.workers:
        results["workers"] = compare_workers(args.model, args.repeats)
    if args.memory:
        results["memory"] = measure_memory(args.model)
    print(markdown(results))
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
