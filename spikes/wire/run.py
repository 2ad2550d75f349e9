"""Writes the derived side from the slim models, builds both sides, prints compile time, size and speed."""

import json
import os
import pathlib
import re
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
MODELS = HERE.parents[1] / "models"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE / "target")) / "spike-wire"
KEYWORDS = {"type", "match", "ref", "use"}
SCALARS = {"string": "String", "boolean": "bool", "integer": "i32", "long": "i64", "float": "f32", "double": "f64",
           "timestamp": "f64", "blob": "crate::Blob"}


def snake(name):
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)).lower()
    return "r#" + name if name in KEYWORDS else name


def pascal(name):
    return name[0].upper() + name[1:]


def variant(value):
    name = "".join(pascal(part) for part in re.split(r"[^A-Za-z0-9]+", value) if part)
    return "V" + name if name[0].isdigit() else name


def derived(service):
    model = json.loads((MODELS / service / "model.json").read_text())
    opened = re.search(r"open_enums = (\[.*?\])", (MODELS / service / "patch.toml").read_text())
    opened = json.loads(opened.group(1)) if opened else []
    shapes, out = model["shapes"], ["#![allow(non_camel_case_types)]\nuse std::collections::BTreeMap;\n"]
    is_enum = lambda name: "enum" in shapes[name] and name not in opened

    def rust(name):
        shape = shapes[name]
        kind = shape["type"]
        if kind == "structure" or is_enum(name):
            return pascal(name)
        if kind == "list":
            return f"Vec<{rust(shape['member']['shape'])}>"
        if kind == "map":
            return f"BTreeMap<String, {rust(shape['value']['shape'])}>"
        return SCALARS[kind]

    for name, shape in shapes.items():
        head = "#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]"
        if is_enum(name):
            values = [f'#[serde(rename = "{value}")] {variant(value)}' for value in shape["enum"]]
            out.append(f"{head}\npub enum {pascal(name)} {{ #[default] {', '.join(values)} }}\n")
        elif shape["type"] == "structure":
            fields = []
            for member, target in shape.get("members", {}).items():
                kind, wire = rust(target["shape"]), target.get("locationName", member)
                if member in shape.get("required", []):
                    fields.append(f'#[serde(rename = "{wire}")] pub {snake(member)}: {kind}')
                else:
                    fields.append(f'#[serde(rename = "{wire}", default, skip_serializing_if = "Option::is_none")] '
                                  f"pub {snake(member)}: Option<{kind}>")
            out.append(f"{head}\npub struct {pascal(name)} {{ {', '.join(fields)} }}\n")
    calls = []
    for operation in model["operations"].values():
        target = pascal(operation["input"]["shape"])
        calls.append(f'*total += usize::from(serde_json::from_slice::<{target}>(b"{{}}").is_ok());')
        if "output" in operation:
            target = pascal(operation["output"]["shape"])
            calls.append(f"*total += serde_json::to_vec(&{target}::default()).map_or(0, |text| text.len());")
    out.append("pub fn every(total: &mut usize) { " + " ".join(calls) + " }\n")
    (HERE / "derived/src" / f"{service}.rs").write_text("\n".join(out))


def cargo(*arguments, cwd=HERE):
    start = time.monotonic()
    environment = os.environ | {"CARGO_TARGET_DIR": str(TARGET), "CARGO_INCREMENTAL": "0"}
    subprocess.run(["cargo", *arguments], cwd=cwd, env=environment, check=True, capture_output=True)
    return time.monotonic() - start


def compile_time(package, cwd, features, *profile):
    """Seconds to build one crate again, its dependencies being there; cargo's own start included."""
    best = None
    cargo("build", "-p", package, *features, *profile, cwd=cwd)
    for _ in range(3):
        cargo("clean", "-p", package, *profile, cwd=cwd)
        spent = cargo("build", "-p", package, *features, *profile, cwd=cwd)
        best = spent if best is None else min(best, spent)
    return best


def instructions(path, what):
    """Instructions of one round: the difference between few and many, counted by valgrind."""
    def count(rounds):
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", path, str(rounds), what]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        return int(re.search(r"Collected : (\d+)", said).group(1))

    return (count(1100) - count(100)) / 1000


def by_crate(path):
    """KiB of code and constants, by where they come from."""
    found = {}
    for line in subprocess.run(["nm", "-S", "-C", path], capture_output=True, text=True, check=True).stdout.splitlines():
        parts = line.split(None, 3)
        if len(parts) == 4 and parts[2] in "tTrRdD":
            name = parts[3]
            owner = "other"
            if "regex" in name or "aho_corasick" in name:
                owner = "regex"
            elif any(crate in name for crate in ("wire_", "serde_json", "model_", "derived")):
                owner = "shapes and codec"
            found[owner] = found.get(owner, 0) + int(parts[1], 16) / 1024
    return found


def main():
    for service in ("lambda", "sqs"):
        derived(service)
    rows = []
    for profile in ([], ["--release"]):
        name = "release" if profile else "dev"
        for service in ("lambda", "sqs"):
            schema = compile_time(f"model-{service}", HERE.parents[1], [], *profile)
            derive = compile_time("derived", HERE, ["--features", service], *profile)
            rows.append((f"compile {service}, {name}, s", schema, derive))
    sizes, speeds, counts = {}, {}, {}
    for side in ("schema", "derived"):
        cargo("build", "--release", "-p", "speed", "--features", side)
        path = TARGET / "release" / "speed"
        sizes[side] = by_crate(path)
        for operation in ("CreateFunction", "SendMessageBatch"):
            for what in ("read", "write", "validate"):
                counts[side, operation, what] = instructions(path, f"{what}-{operation}")
        output = subprocess.run([path, "20000"], capture_output=True, text=True, check=True).stdout
        speeds[side] = {line.split()[0]: [float(x) for x in line.split()[1:]] for line in output.splitlines()}
    for owner in ("shapes and codec", "regex"):
        rows.append((f"size of {owner}, KiB", *(sizes[s].get(owner, 0) for s in ("schema", "derived"))))
    for operation, (size, *_) in speeds["schema"].items():
        for index, name in enumerate(("read", "write", "validate"), 1):
            label = f"{name} {operation} ({size:.0f} bytes)"
            rows.append((label + ", instructions", *(counts[s, operation, name] for s in ("schema", "derived"))))
            rows.append((label + ", ns", *(speeds[s][operation][index] for s in ("schema", "derived"))))
    print("| | schema | derived | ratio |\n|---|---|---|---|")
    for what, schema, derive in rows:
        ratio = f"{schema / derive:.2f}" if derive > 50 or "compile" in what else "-"
        print(f"| {what} | {schema:.4g} | {derive:.4g} | {ratio} |")


if __name__ == "__main__":
    main()
