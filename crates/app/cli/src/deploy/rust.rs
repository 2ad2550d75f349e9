//! Builds a Cargo project in release mode and finds its binary.
//!
//! Guarantee: what Cargo says goes to standard error as it says it; exactly one binary is chosen or the choice is refused.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::failure::{Failure, Outcome, io};

/// The binary that `cargo build --release` makes of the project in `folder`: the only one, or the one named `bootstrap`.
pub(crate) fn build(folder: &Path) -> Outcome<PathBuf> {
    let output = Command::new("cargo")
        .args(["build", "--release", "--message-format=json-render-diagnostics"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(io("cannot run `cargo`"))
        .map_err(|failure| failure.remedy("install Rust, or put a ready `bootstrap` into the folder"))?;
    if !output.status.success() {
        return Err(Failure::new(format!(
            "`cargo build --release` in {} failed ({})",
            folder.display(),
            output.status
        )));
    }
    chosen(&binaries(&String::from_utf8_lossy(&output.stdout)), folder)
}

/// The executables that Cargo's messages name.
fn binaries(messages: &str) -> Vec<PathBuf> {
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    artifacts
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .collect()
}

fn chosen(binaries: &[PathBuf], folder: &Path) -> Outcome<PathBuf> {
    let named = binaries.iter().find(|path| path.file_name().is_some_and(|name| name == "bootstrap"));
    match (named, binaries) {
        (Some(binary), _) | (None, [binary]) => Ok(binary.clone()),
        (None, []) => Err(Failure::new(format!("the Cargo project in {} has no binary", folder.display()))
            .remedy("add a src/main.rs that runs the handler")),
        (None, _) => Err(Failure::new(format!("the Cargo project in {} has several binaries", folder.display()))
            .remedy("name the one to deploy `bootstrap`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_read_from_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","executable":null}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","executable":"/t/release/one"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(binaries(messages), [PathBuf::from("/t/release/one")]);
    }

    #[test]
    fn one_binary_is_chosen() {
        let (one, two, named) = (PathBuf::from("/t/one"), PathBuf::from("/t/two"), PathBuf::from("/t/bootstrap"));
        let folder = Path::new("f");
        assert_eq!(chosen(std::slice::from_ref(&one), folder).unwrap(), one);
        assert_eq!(chosen(&[one.clone(), named.clone()], folder).unwrap(), named);
        assert!(chosen(&[one, two], folder).unwrap_err().render().contains("several binaries"));
        assert!(chosen(&[], folder).unwrap_err().render().contains("no binary"));
    }
}
