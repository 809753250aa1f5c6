"""Labels that tell the scheduler what VMs this node can run. Pure.

Under emulation the answer is what QEMU 10's TCG emulates; under KVM it follows from the processor's flags.
"""

from collections.abc import Mapping

from virt.api import names

MANAGED_PREFIXES = (
    names.CPU_MODEL_LABEL_PREFIX, names.CPU_MODEL_MIGRATION_LABEL_PREFIX, names.CPU_FEATURE_LABEL_PREFIX,
    names.CPU_VENDOR_LABEL_PREFIX, names.MACHINE_TYPE_LABEL_PREFIX, names.HOST_MODEL_LABEL_PREFIX,
)
MACHINE_TYPES = (
    "q35", *(f"pc-q35-{version}" for version in (
        "4.2", "5.0", "5.1", "5.2", "6.0", "6.1", "6.2", "7.0", "7.1", "7.2", "8.0", "8.1", "8.2", "9.0", "9.1", "9.2",
        "10.0")),
)

# Each model with the flags of /proc/cpuinfo that it has beyond the one before it.
_MODELS: tuple[tuple[str, frozenset[str]], ...] = (
    ("Conroe", frozenset({"ssse3", "nx", "lm"})),
    ("Penryn", frozenset({"sse4_1", "cx16"})),
    ("Nehalem", frozenset({"sse4_2", "popcnt"})),
    ("Westmere", frozenset({"aes", "pclmulqdq"})),
    ("SandyBridge", frozenset({"avx", "xsave", "x2apic", "tsc_deadline_timer", "rdtscp"})),
    ("IvyBridge", frozenset({"f16c", "rdrand", "fsgsbase", "erms", "smep"})),
    ("Haswell-noTSX", frozenset({"avx2", "fma", "bmi1", "bmi2", "movbe", "pcid", "invpcid"})),
    ("Broadwell-noTSX", frozenset({"adx", "rdseed", "smap", "3dnowprefetch"})),
    ("Skylake-Client-noTSX-IBRS", frozenset({"xsavec", "xgetbv1", "spec_ctrl"})),
    ("Skylake-Server-noTSX-IBRS", frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "pdpe1gb"})),
    ("Cascadelake-Server-noTSX", frozenset({"avx512_vnni"})),
)
_AMD_MODELS: tuple[tuple[str, frozenset[str]], ...] = (
    ("Opteron_G1", frozenset({"nx", "lm", "pni"})),
    ("Opteron_G2", frozenset({"cx16", "svm"})),
    ("Opteron_G3", frozenset({"abm", "sse4a", "misalignsse", "popcnt"})),
    ("EPYC", frozenset({"avx2", "fma", "aes", "sha_ni", "rdseed", "adx", "smap", "clflushopt", "xsavec"})),
)
_EMULATED = frozenset({
    "lm", "nx", "pni", "ssse3", "sse4_1", "sse4_2", "cx16", "popcnt", "aes", "pclmulqdq", "avx", "xsave", "f16c",
    "rdrand", "fsgsbase", "erms", "smep", "avx2", "fma", "bmi1", "bmi2", "movbe", "adx", "rdseed", "smap",
    "3dnowprefetch", "rdtscp", "abm", "sse4a", "svm", "pdpe1gb", "sha_ni", "clflushopt", "sse", "sse2", "mmx", "fxsr",
    "apic", "tsc",
})
_LIBVIRT_NAMES = {"sse4_1": "sse4.1", "sse4_2": "sse4.2", "tsc_deadline_timer": "tsc-deadline",
                  "spec_ctrl": "spec-ctrl"}
_BASE = "qemu64"                # fits everywhere
_VENDORS = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD"}


def labels(cpuinfo: str, *, kvm: bool, emulated: str = names.EMULATED_CPU_MODEL) -> dict[str, str]:
    """All labels of the managed prefixes, from the text of /proc/cpuinfo. ``emulated``: the model that guests with the
    node's CPU get under emulation; with KVM it is the best of the processor's vendor that fits."""
    fields = dict(_field(line) for line in cpuinfo.split("\n\n")[0].splitlines() if ":" in line)
    flags = frozenset(fields.get("flags", "").split()) if kvm else _EMULATED
    of_intel, of_amd = _fitting(_MODELS, flags), _fitting(_AMD_MODELS, flags)
    models = [*of_intel, *of_amd, _BASE]
    own = [_BASE, *(of_amd if fields.get("vendor_id") == "AuthenticAMD" else of_intel)][-1] if kvm else emulated
    found = {f"{names.CPU_MODEL_LABEL_PREFIX}{model}": "true" for model in models}
    found |= {f"{names.CPU_MODEL_MIGRATION_LABEL_PREFIX}{model}": "true" for model in models}
    found |= {f"{names.CPU_FEATURE_LABEL_PREFIX}{_LIBVIRT_NAMES.get(flag, flag)}": "true" for flag in flags}
    found |= {f"{names.MACHINE_TYPE_LABEL_PREFIX}{machine}": "true" for machine in MACHINE_TYPES}
    found[f"{names.HOST_MODEL_LABEL_PREFIX}{own}"] = "true"
    if vendor := _VENDORS.get(fields.get("vendor_id", "")):
        found[f"{names.CPU_VENDOR_LABEL_PREFIX}{vendor}"] = "true"
    return found


def changes(known: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str | None]:
    """What a merge patch of the labels holds: ``wanted``, and None for managed ones that no longer hold."""
    stale = (name for name in known if name.startswith(MANAGED_PREFIXES) and name not in wanted)
    return {**dict.fromkeys(stale), **{name: value for name, value in wanted.items() if known.get(name) != value}}


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def _fitting(models: tuple[tuple[str, frozenset[str]], ...], flags: frozenset[str]) -> list[str]:
    found: list[str] = []
    for model, needed in models:
        if not needed <= flags:
            break
        found.append(model)
    return found
