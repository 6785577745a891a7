"""Training steps and inference of whole models: Marey beside PyTorch and ONNX Runtime, on random clips.

    cargo build --release
    python reference/bench_step.py --out docs/performance/models.md
    python reference/bench_step.py --only r3d_18 --rounds 1      # a part, in a hurry

A training step is forward, cross-entropy, backward and AdamW (PyTorch's with `fused=True`). Inference is one clip, from
the clip to its scores. PyTorch runs with contiguous tensors and with channels last, for inference also frozen and
compiled; its fastest row counts. bf16 is autocast in PyTorch and `--precision bf16` in Marey: weights stay f32 in both.

Every measurement is a process of its own, which warms up before it starts its clock; start-up, compilation and export
are not timed. A round runs each program once, one after another, so that all of them meet the same load; the table has
medians over rounds of each process's median. PyTorch's and ONNX Runtime's allocator is told to keep its pages, as
Marey's does by itself. Memory is the highest resident memory (VmHWM) of a process that makes training steps; that of
PyTorch is read with its allocator as it comes, which needs less.
On a GPU: `--device cuda`. There ONNX Runtime and memory are left out.
"""

import argparse
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from machine import cpu_name, peak_memory_bytes, revision

# Read by the C library when a process starts. Fresh pages would cost PyTorch 10 to 20 % of a step on a CPU.
KEEP_PAGES = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "8589934592", "MALLOC_TOP_PAD_": "268435456"}
CLASSES = 4
# Batch of a training step, frames, height and width.
SIZES = {
    "r3d_18": (4, 16, 112),
    "efficientnet_b0": (8, 16, 64),
    "slowfast_r50_8x8": (2, 32, 112),
    "x3d_m": (2, 16, 112),
    "i3d": (2, 16, 112),
    "resnet50": (2, 8, 112),
}
# What is over time, of a network for frames.
TEMPORAL = {"efficientnet_b0": "bilstm", "resnet50": "lstm"}
CONTIGUOUS, CHANNELS_LAST, FROZEN, COMPILED, ONNX = (
    "contiguous", "channels last", "frozen", "compiled", "ONNX Runtime"
)


@dataclass(frozen=True)
class Work:
    """What is measured, and how many times as fast as the fastest PyTorch row it shall be."""

    arch: str
    kind: str
    precision: str
    goal: float

    def __str__(self):
        batch, frames, size = SIZES[self.arch]
        what = f"training step, batch {batch}" if self.kind == "step" else "inference, one clip"
        temporal = f" + {TEMPORAL[self.arch]}" if self.arch in TEMPORAL else ""
        return f"{self.arch}{temporal}, {what}, {frames}x{size}x{size}, {self.precision}"


WORKS = [
    Work("r3d_18", "step", "f32", 1.0),
    Work("r3d_18", "step", "bf16", 1.2),
    Work("efficientnet_b0", "step", "f32", 1.5),
    Work("efficientnet_b0", "step", "bf16", 1.5),
    Work("r3d_18", "inference", "f32", 1.2),
    Work("efficientnet_b0", "inference", "f32", 1.2),
    *(
        Work(arch, kind, precision, {"x3d_m": 3.0}.get(arch, 1.0 if precision == "f32" else 1.2))
        for arch in ("slowfast_r50_8x8", "x3d_m", "i3d", "resnet50")
        for kind, precision in (("step", "f32"), ("step", "bf16"), ("inference", "f32"))
    ),
]
ONNX_GOAL = 1.0


# In a process of its own: PyTorch and ONNX Runtime


def layout_of(torch, arch, form):
    if form not in (CHANNELS_LAST, COMPILED):
        return torch.contiguous_format
    return torch.channels_last if arch in TEMPORAL else torch.channels_last_3d


def network(arch):
    """The peer's network; pytorchvideo's and those of `clip_models_golden.py` want the packages of requirements.txt."""
    if arch == "resnet50":
        from model_golden import FrameNet

        return FrameNet(arch, TEMPORAL[arch], CLASSES)
    if arch in ("slowfast_r50_8x8", "x3d_m", "i3d"):
        import clip_models_golden as clip_models

        return {
            "slowfast_r50_8x8": lambda: clip_models.PyTorchVideo(4, 4, 7, CLASSES),
            "x3d_m": lambda: clip_models.X3d(CLASSES),
            "i3d": lambda: clip_models.I3d(CLASSES),
        }[arch]()
    from train import KEYS, build_model

    return build_model({**KEYS["model"], "arch": arch, "temporal": TEMPORAL.get(arch)}, CLASSES)


def model_and_clips(torch, task, batch):
    torch.manual_seed(0)
    torch.set_num_threads(task["threads"])
    device = torch.device(task["device"])
    model = network(task["arch"]).to(device)
    model = model.to(memory_format=layout_of(torch, task["arch"], task["form"]))
    _, frames, size = SIZES[task["arch"]]
    clips = torch.randn(batch, 3, frames, size, size, device=device)
    if task["form"] in (CHANNELS_LAST, COMPILED):
        clips = clips.contiguous(memory_format=torch.channels_last_3d)
    return model, clips


def timed(function, repeats, warm_up):
    """Median milliseconds of `function`, which waits for the device by itself."""
    times = []
    for _ in range(warm_up + repeats):
        start = time.perf_counter()
        function()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[warm_up:])


def time_step(task):
    import torch

    batch = SIZES[task["arch"]][0]
    model, clips = model_and_clips(torch, task, batch)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, fused=True)
    targets = torch.arange(batch, device=clips.device) % CLASSES

    def step():
        optimizer.zero_grad()
        with torch.autocast(clips.device.type, torch.bfloat16, enabled=task["precision"] == "bf16"):
            loss = torch.nn.functional.cross_entropy(model(clips), targets)
        loss.backward()
        optimizer.step()
        loss.item()  # Waits for the device.

    return timed(step, task["repeats"], warm_up=2)


def time_inference(task):
    import torch

    if task["form"] == ONNX:
        return time_onnx(task, torch)
    model, clip = model_and_clips(torch, task, 1)
    model.eval()
    if task["form"] == FROZEN:
        with torch.no_grad():
            model = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(model, clip)))
    elif task["form"] == COMPILED:
        model = torch.compile(model)
    with torch.inference_mode():
        # A traced model profiles its first runs, and a compiled one is compiled in them.
        return timed(lambda: model(clip).softmax(1).cpu(), task["repeats"], warm_up=3)


def time_onnx(task, torch):
    import onnxruntime

    model, clip = model_and_clips(torch, task, 1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = task["threads"], 1
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        torch.onnx.export(model.eval(), (clip,), path, dynamo=False)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: clip.numpy()}
    return timed(lambda: session.run(None, feed), task["repeats"], warm_up=3)


def child(task):
    ms = time_step(task) if task["kind"] == "step" else time_inference(task)
    print(json.dumps({"ms": ms, "peak_memory_bytes": peak_memory_bytes()}))


# The programs, each run of which gives milliseconds and memory


def run(command, env):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **env})
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)}\n{done.stderr[-2000:]}")
    return done.stdout


def run_pytorch(work, form, args, env=KEEP_PAGES):
    repeats = args.steps if work.kind == "step" else args.clips
    task = {"arch": work.arch, "kind": work.kind, "precision": work.precision, "form": form, "repeats": repeats}
    task |= {"threads": args.threads, "device": args.device}
    threads = {"OMP_NUM_THREADS": str(args.threads), "PYTHONWARNINGS": "ignore"}
    # Exporters talk on standard output too; the answer is the last line.
    answer = run([sys.executable, __file__, "--child", json.dumps(task)], {**threads, **env})
    return json.loads(answer.splitlines()[-1])


def run_marey(work, args):
    batch, frames, size = SIZES[work.arch]
    steps, clips = (args.steps, 0) if work.kind == "step" else (0, args.clips)
    command = [args.marey, "bench", "model", work.arch, "--batch", batch, "--frames", frames, "--size", size]
    command += ["--temporal", TEMPORAL[work.arch]] if work.arch in TEMPORAL else []
    command += ["--classes", CLASSES, "--precision", work.precision, "--steps", steps, "--clips", clips]
    warm_up = 1 if args.device == "cpu" else 6
    command += ["--warm-up", warm_up, "--device", args.device, "--json"]
    answer = json.loads(run([str(part) for part in command], {"RAYON_NUM_THREADS": str(args.threads)}))
    if work.kind == "step":
        return {"ms": answer["step"]["step_ms"], "peak_memory_bytes": answer["step"]["peak_memory_bytes"]}
    return {"ms": answer["inference"]["clip_ms"]}


def programs(work, args):
    """Names of the rows of a work, and how to run each."""
    forms = [CONTIGUOUS, CHANNELS_LAST]
    if work.kind == "inference":
        forms += [FROZEN, COMPILED] + ([ONNX] if args.device == "cpu" else [])
    rows = {} if args.skip_marey else {"Marey": lambda: run_marey(work, args)}
    for form in forms:
        name = form if form == ONNX else f"PyTorch, {form}"
        rows[name] = lambda form=form: run_pytorch(work, form, args)
    return rows


class Results:
    """Milliseconds of each round, and memory, of each program of a work."""

    def __init__(self, work):
        self.work, self.times, self.memory, self.failures = work, {}, {}, {}

    def median(self, name):
        return statistics.median(self.times[name])

    def fastest(self, is_onnx):
        names = [name for name in self.times if name != "Marey" and (name == ONNX) == is_onnx]
        return min(names, key=self.median, default=None)


def measure(works, args):
    results = [Results(work) for work in works]
    for number in range(args.rounds):
        for result in results:
            for name, run_program in programs(result.work, args).items():
                if name in result.failures:
                    continue
                try:
                    answer = run_program()
                except RuntimeError as error:
                    result.failures[name] = str(error)
                    print(f"{result.work}: {name} failed: {error}", file=sys.stderr, flush=True)
                    continue
                result.times.setdefault(name, []).append(answer["ms"])
                if name == "Marey" and "peak_memory_bytes" in answer:
                    result.memory[name] = max(result.memory.get(name, 0), answer["peak_memory_bytes"])
                print(f"round {number + 1}: {result.work}: {name}: {answer['ms']:.1f} ms", file=sys.stderr, flush=True)
    for result in results:
        if result.work.kind == "step" and args.device == "cpu":
            for form in (CONTIGUOUS, CHANNELS_LAST):
                result.memory[f"PyTorch, {form}"] = run_pytorch(result.work, form, args, env={})["peak_memory_bytes"]
    return results


# The report


def goals(results):
    """A row for each goal."""
    lines = ["| work | Marey, ms | peer | ms | ratio | goal |", "|---|---|---|---|---|---|"]
    for result in results:
        if "Marey" not in result.times:
            continue
        mine = result.median("Marey")
        for is_onnx, goal in ((False, result.work.goal), (True, ONNX_GOAL)):
            if peer := result.fastest(is_onnx):
                ms = result.median(peer)
                lines.append(f"| {result.work} | {mine:.1f} | {peer} | {ms:.1f} | **{ms / mine:.2f}** | {goal} |")
        peers = [bytes for name, bytes in result.memory.items() if name != "Marey"]
        if peers and "Marey" in result.memory:
            mine, peer = result.memory["Marey"] / 2**20, min(peers) / 2**20
            lines.append(f"| {result.work}: peak memory, MiB | {mine:.0f} | PyTorch | {peer:.0f} | **{peer / mine:.2f}** | 1.0 |")
    return lines


def details(results):
    lines = ["| work | program | ms, median (lowest–highest) | ratio to Marey | peak memory, MiB |", "|---|---|---|---|---|"]
    for result in results:
        for name, times in result.times.items():
            ms = result.median(name)
            ratio = f"{ms / result.median('Marey'):.2f}" if "Marey" in result.times else ""
            memory = f"{result.memory[name] / 2**20:.0f}" if name in result.memory else ""
            lines.append(f"| {result.work} | {name} | {ms:.1f} ({min(times):.1f}–{max(times):.1f}) | {ratio} | {memory} |")
        lines += [f"| {result.work} | {name} | failed | | |" for name in result.failures]
    return lines


def report(results, args):
    import torch

    where = cpu_name() if args.device == "cpu" else torch.cuda.get_device_name()
    command = shlex.join(["python", "reference/bench_step.py", *sys.argv[1:]])
    head = [
        "# Whole models against PyTorch and ONNX Runtime",
        "",
        "The ratio is the peer's time, or memory, over Marey's: above 1 Marey is faster, or smaller.",
        "",
        "```sh",
        "cargo build --release",
        command,
        "```",
        "",
        f"- Machine: {where}; {os.cpu_count()} cores, {args.threads} threads each program, load {os.getloadavg()[0]:.1f} at the end.",
        f"- Commit {revision()}; PyTorch {torch.__version__}.",
        f"- Medians of {args.rounds} interleaved rounds; a round is a process with {args.steps} steps or {args.clips} clips after its warm-up.",
        "- A step is forward, loss, backward and AdamW (PyTorch: `fused=True`); bf16 is autocast in PyTorch and `--precision bf16` in Marey.",
        "- PyTorch's allocator keeps its pages for the times, and is as it comes for the memory.",
        "",
        "## Against the fastest form of each peer",
        "",
    ]
    return "\n".join([*head, *goals(results), "", "## Every program", "", *details(results), ""])


def main():
    if sys.argv[1:2] == ["--child"]:
        return child(json.loads(sys.argv[2]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only works whose name this regular expression finds, for example `bf16` or `x3d|i3d`")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="training steps of a round")
    parser.add_argument("--clips", type=int, default=10, help="clips of a round, in inference")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--marey", default=os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "release/marey"))
    parser.add_argument("--skip-marey", action="store_true", help="time the peers alone")
    parser.add_argument("--out", type=Path, help="also write the report there")
    args = parser.parse_args()
    works = [work for work in WORKS if re.search(args.only, str(work))]
    if not works:
        raise SystemExit(f"--only {args.only}: expected a part of one of\n" + "\n".join(map(str, WORKS)))
    results = measure(works, args)
    text = report(results, args)
    print(text, end="")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text)
    if failed := [f"{result.work}: {name}" for result in results for name in result.failures]:
        raise SystemExit("failed, with the reasons above: " + "; ".join(failed))


if __name__ == "__main__":
    main()
