//! `--import`: the slim model of a service from the installed `botocore` package. Guarantee: only shapes that an
//! allow-listed operation reaches, no prose; operations outside the allow-list keep their name and HTTP binding.

use std::{collections::BTreeSet, fs, io::Read as _, path::Path, process::Command};

use flate2::read::GzDecoder;

use super::{
    model::{Http, Model, Ordered},
    patch::Allowed,
    plan::{read_json, read_toml},
};

/// Writes `models/<service>/model.json`.
pub(crate) fn import(root: &Path, service: &str) -> Result<(), String> {
    let folder = root.join("models").join(service);
    let allowed: Allowed = read_toml(&folder.join("operations.toml"))?;
    let full = read_botocore(&allowed)?;
    for name in allowed.operations.keys() {
        full.operations.get(name).ok_or_else(|| format!("{service} has no operation `{name}`"))?;
    }
    let slim = slim(full, &allowed);
    let text = serde_json::to_string_pretty(&slim).map_err(|error| error.to_string())?;
    let path = folder.join("model.json");
    fs::write(&path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))?;
    // What was written must read back.
    read_json::<Model>(&path).map(drop)
}

fn read_botocore(allowed: &Allowed) -> Result<Model, String> {
    let output = Command::new("python3")
        .args(["-c", "import botocore, os; print(os.path.dirname(botocore.__file__))"])
        .output()
        .map_err(|error| format!("python3: {error}"))?;
    if !output.status.success() {
        return Err(format!("`--import` needs the botocore package: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let path = Path::new(&folder).join("data").join(&allowed.service).join(&allowed.version).join("service-2.json.gz");
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut text = String::new();
    GzDecoder::new(fs::File::open(&path).map_err(failed)?).read_to_string(&mut text).map_err(failed)?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn slim(full: Model, allowed: &Allowed) -> Model {
    let mut reached = BTreeSet::new();
    let (kept, rest): (Vec<_>, Vec<_>) =
        full.operations.0.into_iter().partition(|(name, _)| allowed.operations.contains_key(name));
    for (_, operation) in &kept {
        let roots = operation.input.iter().chain(&operation.output).chain(&operation.errors);
        let mut pending: Vec<String> = roots.map(|root| root.shape.clone()).collect();
        while let Some(name) = pending.pop() {
            if !reached.insert(name.clone()) {
                continue;
            }
            if let Some(shape) = full.shapes.get(&name) {
                let members = shape.members.iter().map(|(_, member)| member);
                let below = members.chain(&shape.member).chain(&shape.key).chain(&shape.value);
                pending.extend(below.map(|reference| reference.shape.clone()));
            }
        }
    }
    let unsupported: Vec<(String, Http)> = rest.into_iter().map(|(name, operation)| (name, operation.http)).collect();
    let shapes = full.shapes.0.into_iter().filter(|(name, _)| reached.contains(name)).collect();
    Model {
        metadata: full.metadata,
        operations: Ordered(kept),
        unsupported: Ordered(unsupported),
        shapes: Ordered(shapes),
        ..Model::default()
    }
}
