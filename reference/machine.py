"""What the benchmarks say about the machine and the program, and what they read of a process."""

import subprocess
from pathlib import Path


def cpu_name():
    """The processor as `lscpu` names it, with family and model, because names of virtual machines say little."""
    text = subprocess.run(["lscpu"], check=True, capture_output=True, text=True, env={"LC_ALL": "C"}).stdout
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    sets = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in fields.get("Flags", "").split()]
    name = f"{fields['Model name']} (family {fields.get('CPU family', '?')}, model {fields.get('Model', '?')}"
    return name + "".join(f", {name}" for name in sets) + ")"


def revision():
    """The commit that is checked out, with a mark where files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=9", "--exclude=*"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def peak_memory_bytes():
    """Highest resident memory of this process so far (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise SystemExit("/proc/self/status has no VmHWM")
