"""Generated C compiled with this host's gcc and run in a process of its own, many models to one program.

The program reads requests and writes scores. Before every layer it may fill whatever no live buffer holds, so that a
plan that lets two live buffers meet changes an answer; the sanitised build poisons it instead, so that a kernel that
touches anything but its layer's own buffers is stopped.
"""

import re
import struct
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ecm_edge.firmware import emit
from ecm_edge.firmware.generate import generate_graph
from ecm_edge.targets.kernels import Kernels

ORIGIN = emit.Origin(model="model.onnx", model_sha256="0" * 64, tool="test", target="host", form="float32")
WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-fno-math-errno"]
SANITISERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g1"]
_STORED = "#define ECM_STORED"
RUNNER = Path(__file__).with_name("firmware_c.c")
GARBAGE = (0x00, 0xFF, 0x5A)
"""What dead memory is filled with: zeros, NaNs and -1, and 1.5e16."""


class StoppedError(AssertionError):
    """The program ended early: a sanitiser's report, or a crash."""


@dataclass(frozen=True)
class Compiled:
    """A program of several models, by position."""

    program: Path
    models: list

    def run(self, number, samples, *, fill=0x5A):
        """Scores (N, S) of samples (N, T), and what each layer wrote, where the build traces: [{number: bytes}]."""
        return self.run_all([(number, np.asarray(samples, np.float32))], fill=fill)[0]

    def run_all(self, requests, *, fill=0x5A):
        """Many requests (model's position, samples (N, T)) in one process."""
        asked = b"".join(
            struct.pack("<3i", number, len(x), fill) + np.ascontiguousarray(x, "<f4").tobytes()
            for number, x in requests
        )
        done = subprocess.run([self.program], input=asked, capture_output=True, timeout=300, check=False)
        if done.returncode:
            raise StoppedError(f"exit {done.returncode}: {done.stderr.decode(errors='replace')[:4000]}")
        answers, at = [], 0
        for number, x in requests:
            scores, traces = [], []
            for _ in x:
                one, trace, at = self._answer(number, done.stdout, at)
                scores.append(one)
                traces.append(trace)
            answers.append((np.array(scores, np.float32).reshape(len(x), self.models[number].scores), traces))
        assert at == len(done.stdout)
        return answers

    def _answer(self, number, data, at):
        trace = {}
        while True:
            shown, count = struct.unpack_from("<2i", data, at)
            at += 8
            if shown < 0:
                return np.frombuffer(data, "<f4", self.models[number].scores, at), trace, at + count
            trace[shown] = data[at : at + count]
            at += count


def generate(graph, name="model", kernels=None):
    """The C of a graph of the reference."""
    return generate_graph(graph, kernels or Kernels(), ORIGIN, name=name)


@cache
def fused():
    """The flag for the host's fused multiply-add, where it has one: libm's gives the same bits, slower."""
    cpuinfo = Path("/proc/cpuinfo")
    return ["-mfma"] if cpuinfo.exists() and " fma " in cpuinfo.read_text() else []


def build(folder, models, *, optimise="-O1", sanitise=False, trace=False, more=()):
    """Compile generated models, each of another name, into one program that fills or poisons what is not alive."""
    folder.mkdir(parents=True, exist_ok=True)
    for model in models:
        for name, text in model.files.items():
            (folder / name).write_text(_watched(model) if name == f"{model.name}.c" else text)
    units = {  # a translation unit has one type for stored integers
        folder / "int8.c": [m for m in models if _STORED not in m.files[f"{m.name}.c"]],
        folder / "int16.c": [m for m in models if _STORED in m.files[f"{m.name}.c"]],
    }
    for unit, group in units.items():
        unit.write_text(
            "\n".join(["#define PART", f'#include "{RUNNER}"', *(f'#include "{m.name}.c"' for m in group), ""])
        )
    rows = [f"{{{m.name}_run, {m.name}_kill, {m.samples}, {m.scores}}}," for m in models]
    known = [f"void {m.name}_run(const float *samples, float *scores);\nvoid {m.name}_kill(int fill);" for m in models]
    text = [f'#include "{RUNNER}"', *known, "const struct model models[] = {", *rows, "};", ""]
    (folder / "all.c").write_text("\n".join(text))
    flags = [*WARNINGS, optimise, *fused(), *(SANITISERS if sanitise else []), *more]
    flags += ["-DECM_TRACE"] if trace else []
    program = folder / "program"
    sources = [folder / "all.c", *(unit for unit, group in units.items() if group)]
    command = ["gcc", *flags, "-I", str(folder), *map(str, sources), "-o", str(program), "-lm"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr[:4000]
    return Compiled(program, list(models))


def _watched(model):
    """The model's source, with a call before each layer that kills every byte of the arena that is not alive there."""
    source, arena = model.files[f"{model.name}.c"], f"{model.name}_arena"
    has_arena = f"}} {arena};" in source
    kill = [f"void {model.name}_kill(int fill)", "{"]
    kill.append(f"    kill_all(&{arena}, (int)sizeof {arena}, fill);" if has_arena else "    (void)fill;")
    head, run = source.rsplit(f"void {model.name}_run(", 1)
    for number in range(len(model.layers) if has_arena else 0):
        spans = sorted(
            (model.plan.offsets[b], b.size_bytes, int(life.first < number))
            for b, life in model.plan.lifetimes.items()
            if life.first <= number <= life.last
        )
        said = ", ".join(f"{{{at}, {size}, {kept}}}" for at, size, kept in spans) or "{0, 0, 0}"
        alive = f"{model.name}_alive_{number}"
        call = f"kill(&{arena}, (int)sizeof {arena}, {alive}, {len(spans)})"
        lines = [f"static const struct span {alive}[] = {{{said}}};", f"#define {model.name}_KILL_{number} {call}"]
        head += "\n".join(lines) + "\n"
        run, found = re.subn(
            rf"^(    {model.name}_layer_{number}_)", rf"    {model.name}_KILL_{number};\n\1", run, flags=re.MULTILINE
        )
        assert found == 1
    return "\n".join([f"{head}\nvoid {model.name}_run({run}", *kill, "}", ""])


def traced(model, trace):
    """What a build that traces has shown, as the ONNX tensors: [(name, values)], integers as ONNX has them."""
    found = []
    for entry in model.traced:
        tensor = entry.tensor
        values = np.frombuffer(trace[entry.number], tensor.buffer.dtype)[tensor.index]
        if tensor.quant is not None:  # integers that stand for floats: ONNX has the floats here
            values = (values.astype(np.int32) - tensor.quant.zero_point).astype(np.float32) * np.float32(
                tensor.quant.scale
            )
        elif tensor.buffer.dtype != "float32":
            values = values.astype(np.int32) + tensor.shift
        found.append((entry.name, values))
    return found


__all__ = ["GARBAGE", "Compiled", "StoppedError", "build", "generate", "traced"]
