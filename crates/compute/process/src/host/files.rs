//! What every sandbox sees as `/var/runtime`: our bootstraps, written anew by each server, and removed by the next one.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use rustix::process::{Resource, Rlimit};

use crate::instance;

/// What lies in `/var/runtime`.
const RUNTIME_FILES: &[(&str, &[u8])] = &[
    ("python/bootstrap.py", include_bytes!("../../../../../runtimes/python/bootstrap.py")),
    ("python/runtime_nothing.py", include_bytes!("../../../../../runtimes/python/runtime_nothing.py")),
    ("python/runtime_warming.py", include_bytes!("../../../../../runtimes/python/runtime_warming.py")),
    ("snapshot_restore_py.py", include_bytes!("../../../../../runtimes/python/snapshot_restore_py.py")),
    ("python/runtime_fork.py", include_bytes!("../../../../../runtimes/python/runtime_fork.py")),
    ("python/runtime_snapshot.py", include_bytes!("../../../../../runtimes/python/runtime_snapshot.py")),
    ("python/runtime_template.py", include_bytes!("../../../../../runtimes/python/runtime_template.py")),
    ("python/runtime_context.py", include_bytes!("../../../../../runtimes/python/runtime_context.py")),
    ("python/runtime_logging.py", include_bytes!("../../../../../runtimes/python/runtime_logging.py")),
    ("node/bootstrap.js", include_bytes!("../../../../../runtimes/node/bootstrap.js")),
    ("node/loading.js", include_bytes!("../../../../../runtimes/node/loading.js")),
    ("node/logging.js", include_bytes!("../../../../../runtimes/node/logging.js")),
    ("node/streaming.js", include_bytes!("../../../../../runtimes/node/streaming.js")),
];

/// Writes what shells see as `/var/runtime`, read-only and anew: an older version's files are replaced.
pub(super) fn write_runtime(state: &Path, instance: &str) -> io::Result<PathBuf> {
    let folder = state.join(format!("runtime-{instance}"));
    // Left by a process of the same name, which cannot be running.
    drop(fs::remove_dir_all(&folder));
    sweep(state);
    for (name, bytes) in RUNTIME_FILES {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        }
        fs::write(&path, bytes)?;
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o444))?;
    }
    // Where what the operator added is attached; a shell cannot make it in a read-only folder.
    let packages = folder.join("packages");
    fs::create_dir(&packages)?;
    for path in [folder.clone(), folder.join("python"), folder.join("node"), packages] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    }
    folder.canonicalize()
}

/// An environment takes about ten descriptors of the server and some of the launcher: the usual 1024 are few. Functions
/// have their own limit.
pub(super) fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Removes what servers left that are gone: their runtime files, and files that lose their names as soon as they are whole
/// (parts of snapshots, images of `/tmp`) but did not come so far.
fn sweep(state: &Path) {
    for entry in fs::read_dir(state).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(of) = name.strip_prefix("runtime-") {
            if !instance::is_alive(of) {
                drop(fs::remove_dir_all(entry.path()));
            }
        } else if is_leftover(name) {
            drop(fs::remove_file(entry.path()));
        }
    }
}

fn is_leftover(name: &str) -> bool {
    let ends = |with: &str| name.strip_suffix(with).is_some_and(|stem| stem.starts_with("tmp-"));
    name.starts_with("snapshot-") || name == "tmp.image" || ends(".draft") || ends(".template")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_server_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let left = ["snapshot-7.image", "snapshot-7.program", "tmp.image", "tmp-5.draft", "tmp-5.template"];
        let kept = ["seen", "tmp-5.empty", "notes.draft"];
        for name in left.iter().chain(&kept) {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        sweep(folder.path());
        for name in left {
            assert!(!folder.path().join(name).exists(), "{name}");
        }
        for name in kept {
            assert!(folder.path().join(name).exists(), "{name}");
        }
    }
}
