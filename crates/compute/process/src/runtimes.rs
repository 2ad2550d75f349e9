//! The interpreters of this host, by AWS's identifiers. Looked for where people and tools put them: `PATH`, `/usr/bin`,
//! `/usr/local/bin`, `/opt`, pyenv, uv, nvm, fnm, n and npm. Each candidate is asked for its version; what does not answer
//! in time is left out.

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use compute_api::{InstalledRuntime, Language, RuntimeListing, SUPPORTED_RUNTIMES};

/// The greatest number of candidates that are asked.
const CANDIDATES_MAX: usize = 64;

/// How a function of some runtime is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Interpreter {
    /// An interpreter at this path inside the sandbox, with the folder that must be seen as `/var/lang`, if any.
    Installed { language: Language, program: String, prefix: Option<String> },
    /// `bootstrap` of the function itself.
    Custom,
}

/// Looks at the whole host; takes a few milliseconds an interpreter.
pub(crate) fn discover() -> RuntimeListing {
    let mut installed: Vec<InstalledRuntime> = Vec::new();
    for path in candidates() {
        let Some((language, version)) = ask(&path) else { continue };
        let Some(name) = runtime_name(language, &version) else { continue };
        installed.push(InstalledRuntime { name, language, version, path: Some(path), chosen: false });
    }
    for name in ["provided.al2", "provided.al2023"] {
        let (language, version) = (Language::Custom, String::new());
        installed.push(InstalledRuntime { name: name.to_owned(), language, version, path: None, chosen: true });
    }
    choose(&mut installed);
    let missing = SUPPORTED_RUNTIMES
        .iter()
        .filter(|name| installed.iter().all(|runtime| runtime.name != **name))
        .map(|name| (*name).to_owned())
        .collect();
    RuntimeListing { installed, missing }
}

/// Orders the list and marks, per name, the newest version; of equal ones, the interpreter that brings boto3, as AWS's do.
fn choose(installed: &mut [InstalledRuntime]) {
    let rank = |runtime: &InstalledRuntime| {
        let sdk = runtime.path.as_deref().is_some_and(has_boto3);
        (numbers(&runtime.version), sdk)
    };
    installed.sort_by_key(|runtime| (runtime.language, numbers(&runtime.name), runtime.name.clone(), rank(runtime)));
    for index in 0..installed.len() {
        let last = installed.get(index + 1).is_none_or(|next| next.name != installed[index].name);
        installed[index].chosen = last;
    }
}

/// Whether functions of this runtime find boto3: with the interpreter, or among what the operator added.
pub(crate) fn brings_boto3(runtime: &InstalledRuntime, state: &Path) -> bool {
    let added = state.join("packages").join(&runtime.name).join("boto3");
    runtime.path.as_deref().is_some_and(has_boto3) || added.is_dir()
}

fn has_boto3(python: &Path) -> bool {
    let Some(prefix) = python.parent().and_then(Path::parent) else { return false };
    let libraries = fs::read_dir(prefix.join("lib")).into_iter().flatten().flatten().map(|entry| entry.path());
    libraries.into_iter().any(|library| {
        ["site-packages", "dist-packages"].iter().any(|folder| library.join(folder).join("boto3").is_dir())
    })
}

/// The numbers in a text, for comparing versions.
fn numbers(text: &str) -> Vec<u64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// Where the interpreter of a listing's entry is seen inside the sandbox.
pub(crate) fn interpreter(runtime: &InstalledRuntime) -> Interpreter {
    let Some(path) = &runtime.path else { return Interpreter::Custom };
    let text = |path: &Path| path.display().to_string();
    if path.starts_with("/usr") {
        return Interpreter::Installed { language: runtime.language, program: text(path), prefix: None };
    }
    // `prefix/bin/python3.11` is seen as `/var/lang/bin/python3.11`.
    let prefix = path.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    let name = path.file_name().map(Path::new).unwrap_or(path);
    let program = text(&Path::new("/var/lang/bin").join(name));
    Interpreter::Installed { language: runtime.language, program, prefix: Some(text(prefix)) }
}

/// A command that adds a runtime, for the error of its absence.
pub(crate) fn how_to_add(name: &str) -> String {
    if let Some(version) = name.strip_prefix("python") {
        format!("pyenv install {version}")
    } else if let Some(version) = name.strip_prefix("nodejs") {
        format!("nvm install {}", version.trim_end_matches(".x"))
    } else {
        "see docs/isolation.md".to_owned()
    }
}

fn runtime_name(language: Language, version: &str) -> Option<String> {
    let mut parts = version.split('.');
    let (major, minor) = (parts.next()?, parts.next()?);
    let name = match language {
        Language::Python => format!("python{major}.{minor}"),
        Language::Node => format!("nodejs{major}.x"),
        Language::Custom => return None,
    };
    SUPPORTED_RUNTIMES.contains(&name.as_str()).then_some(name)
}

/// Distinct executables that could be interpreters, links resolved.
fn candidates() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    folders.extend(["/usr/bin", "/usr/local/bin"].map(PathBuf::from));
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let below = |root: PathBuf, bin: &str, folders: &mut Vec<PathBuf>| {
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            folders.push(entry.path().join(bin));
        }
    };
    below(PathBuf::from("/opt"), "bin", &mut folders);
    below(PathBuf::from("/usr/local/n/versions/node"), "bin", &mut folders);
    if let Some(home) = home {
        for (root, bin) in [
            (".pyenv/versions", "bin"),
            (".local/share/uv/python", "bin"),
            (".nvm/versions/node", "bin"),
            (".local/share/fnm/node-versions", "installation/bin"),
        ] {
            below(home.join(root), bin, &mut folders);
        }
    }
    let mut seen = BTreeSet::new();
    for folder in folders {
        // Shims start the real thing by reading the user's files: they cannot run in a sandbox.
        if folder.ends_with("shims") {
            continue;
        }
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let interpreter = name.to_str().is_some_and(is_interpreter);
            if let Ok(real) = entry.path().canonicalize()
                && interpreter
                && real.is_file()
            {
                seen.insert(real);
            }
        }
    }
    seen.into_iter().take(CANDIDATES_MAX).collect()
}

/// `node`, `python3`, `python3.11`.
fn is_interpreter(name: &str) -> bool {
    let version = name.strip_prefix("python3").map(|rest| rest.strip_prefix('.').unwrap_or(rest));
    name == "node" || version.is_some_and(|version| version.bytes().all(|byte| byte.is_ascii_digit()))
}

fn ask(path: &Path) -> Option<(Language, String)> {
    // A Python's library folder names its version: no need to start it.
    let mut child = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .env_clear()
        .spawn()
        .ok()?;
    let mut text = String::new();
    let read = child.stdout.take()?.take(256).read_to_string(&mut text);
    let status = child.wait().ok()?;
    if read.is_err() || !status.success() {
        return None;
    }
    let text = text.trim();
    if let Some(version) = text.strip_prefix("Python ") {
        return Some((Language::Python, version.to_owned()));
    }
    text.strip_prefix('v').map(|version| (Language::Node, version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_interpreters_are_told_from_other_programs() {
        for (name, is) in [
            ("python3", true),
            ("python3.11", true),
            ("python3.11m", false),
            ("python3.11-config", false),
            ("python", false),
            ("node", true),
            ("nodejs", false),
        ] {
            assert_eq!(is_interpreter(name), is, "{name}");
        }
    }

    #[test]
    fn versions_map_to_the_identifiers_of_aws() {
        for (language, version, name) in [
            (Language::Python, "3.11.7", Some("python3.11")),
            (Language::Python, "3.7.16", None),
            (Language::Node, "20.20.2", Some("nodejs20.x")),
            (Language::Node, "21.1.0", None),
        ] {
            assert_eq!(runtime_name(language, version).as_deref(), name);
        }
    }

    #[test]
    fn the_newest_of_a_name_is_chosen() {
        let runtime = |version: &str| InstalledRuntime {
            name: "python3.11".to_owned(),
            language: Language::Python,
            version: version.to_owned(),
            path: Some(PathBuf::from(format!("/nowhere/{version}/bin/python3.11"))),
            chosen: false,
        };
        let mut installed = vec![runtime("3.11.10"), runtime("3.11.9"), runtime("3.11.2")];
        choose(&mut installed);
        let chosen: Vec<_> = installed.iter().filter(|r| r.chosen).map(|r| r.version.as_str()).collect();
        assert_eq!(chosen, ["3.11.10"]);
    }

    #[test]
    fn an_interpreter_outside_usr_is_seen_as_var_lang() {
        let runtime = InstalledRuntime {
            name: "nodejs20.x".to_owned(),
            language: Language::Node,
            version: "20.1.0".to_owned(),
            path: Some(PathBuf::from("/home/u/.nvm/versions/node/v20.1.0/bin/node")),
            chosen: true,
        };
        let Interpreter::Installed { program, prefix, .. } = interpreter(&runtime) else { panic!("custom") };
        assert_eq!(program, "/var/lang/bin/node");
        assert_eq!(prefix.as_deref(), Some("/home/u/.nvm/versions/node/v20.1.0"));
    }
}
