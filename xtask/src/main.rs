//! The project's own tools: `cargo xtask codegen [--import] [--check] [SERVICE…]`.
//!
//! - `codegen` writes `crates/model/<service>/src` and `docs/stored-only.md` from `models/<service>`;
//! - `--import` first takes the shapes of the allow-listed operations anew from the installed `botocore` package;
//! - `--check` writes nothing and fails when the tree is not what would be written. It needs no `botocore`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool speaks on its standard streams")]

mod codegen;

use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let outcome = match arguments.next().as_deref() {
        Some("codegen") => codegen::run(&root(), arguments.collect()),
        other => {
            Err(format!("unknown task `{}`; there is: codegen [--import] [--check] [SERVICE…]", other.unwrap_or("")))
        }
    };
    match outcome {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's root: the folder above this crate's, or (for tests of this tool) the one that `XTASK_ROOT` names.
fn root() -> std::path::PathBuf {
    if let Some(root) = std::env::var_os("XTASK_ROOT") {
        return root.into();
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
