//! `cargo xtask codegen`: from AWS's service models to the `model-*` crates.
//!
//! `models/<service>/` holds `operations.toml` (allow-list, hand-written), `patch.toml` (corrections and marks,
//! hand-written) and `model.json` (the slim model, written by `--import`). Everything else is derived from the three.

mod docs;
mod emit;
mod emit_schema;
mod import;
mod model;
mod names;
mod patch;
mod pattern;
mod plan;

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use plan::Plan;

/// Runs the task and says what it did.
pub(crate) fn run(root: &Path, arguments: Vec<String>) -> Result<String, String> {
    let (mut check, mut import, mut services) = (false, false, Vec::new());
    for argument in arguments {
        match argument.as_str() {
            "--check" => check = true,
            "--import" => import = true,
            service if !service.starts_with('-') => services.push(service.to_owned()),
            other => return Err(format!("unknown option `{other}`")),
        }
    }
    if check && import {
        return Err("`--check` writes nothing, `--import` does: choose one".to_owned());
    }
    let all = all_services(root)?;
    for service in &services {
        if !all.contains(service) {
            return Err(format!("there is no folder `models/{service}`; there are {}", all.join(", ")));
        }
    }
    if import {
        for service in all.iter().filter(|service| services.is_empty() || services.contains(service)) {
            import::import(root, service)?;
        }
    }
    // The documentation spans all services, so all are planned even when few are written.
    let plans = all.iter().map(|service| Plan::read(root, service)).collect::<Result<Vec<_>, _>>()?;
    let mut files = BTreeMap::new();
    for plan in &plans {
        if services.is_empty() || services.contains(&plan.service) {
            let folder = root.join("crates/model").join(&plan.service);
            for (name, text) in emit::crate_files(plan)? {
                files.insert(folder.join("src").join(name), format(root, &text)?);
            }
        }
    }
    files.insert(root.join("docs/stored-only.md"), docs::stored_only(&plans));
    if check { compare(root, &files) } else { write(root, &files) }
}

fn all_services(root: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(root.join("models")).map_err(|error| format!("`models`: {error}"))?;
    let mut services: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("operations.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    services.sort();
    Ok(services)
}

fn write(root: &Path, files: &BTreeMap<PathBuf, String>) -> Result<String, String> {
    let mut changed = Vec::new();
    for stale in stale_files(files)? {
        fs::remove_file(&stale).map_err(|error| format!("{}: {error}", stale.display()))?;
        changed.push(stale);
    }
    for (path, text) in files {
        if fs::read_to_string(path).is_ok_and(|old| old == *text) {
            continue;
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        changed.push(path.clone());
    }
    Ok(format!("{} files, {} changed{}", files.len(), changed.len(), listed(root, &changed)))
}

fn compare(root: &Path, files: &BTreeMap<PathBuf, String>) -> Result<String, String> {
    let mut different = stale_files(files)?;
    different.extend(
        files
            .iter()
            .filter(|(path, text)| !fs::read_to_string(path).is_ok_and(|old| old == **text))
            .map(|(path, _)| path.clone()),
    );
    if different.is_empty() {
        Ok(format!("{} files are as generated", files.len()))
    } else {
        Err(format!("run `cargo xtask codegen`: these are not as generated{}", listed(root, &different)))
    }
}

/// Files beside generated ones that nothing generates any more.
fn stale_files(files: &BTreeMap<PathBuf, String>) -> Result<Vec<PathBuf>, String> {
    let mut stale = Vec::new();
    let mut folders: Vec<&Path> = files.keys().filter_map(|path| path.parent()).collect();
    folders.dedup();
    for folder in folders.into_iter().filter(|folder| folder.ends_with("src") && folder.is_dir()) {
        let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        stale.extend(entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| !files.contains_key(path)));
    }
    Ok(stale)
}

fn listed(root: &Path, paths: &[PathBuf]) -> String {
    paths.iter().map(|path| format!("\n  {}", path.strip_prefix(root).unwrap_or(path).display())).collect()
}

/// Formats with the repository's own settings.
fn format(root: &Path, text: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("rustfmt: {error}");
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(root.join("rustfmt.toml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut stdin = child.stdin.take().ok_or("rustfmt has no standard input")?;
    let source = text.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(source.as_bytes()));
    let output = child.wait_with_output().map_err(failed)?;
    writer.join().map_err(|_| "the thread that feeds rustfmt panicked")?.map_err(failed)?;
    if !output.status.success() {
        return Err(format!("rustfmt: {}\n{text}", String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("rustfmt: {error}"))
}
