//! The tree is what code generation writes; and what code generation must refuse.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn xtask(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).output().unwrap()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

#[test]
fn the_tree_is_as_generated() {
    let output = xtask(&["codegen", "--check"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn unknown_arguments_are_named() {
    for (arguments, said) in [
        (["codegen", "--chekc"], "unknown option `--chekc`"),
        (["codegen", "lamda"], "there is no folder `models/lamda`"),
        (["codegne", ""], "unknown task `codegne`"),
    ] {
        let output = xtask(&arguments);
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{arguments:?}");
    }
}

#[test]
fn an_unmarked_member_fails_code_generation() {
    // A tree of its own with one service, whose patch file has lost a mark.
    let root = std::env::temp_dir().join(format!("xtask-codegen-{}", std::process::id()));
    let models = root.join("models/sts");
    fs::create_dir_all(&models).unwrap();
    let source = repository().join("models/sts");
    for name in ["model.json", "operations.toml", "patch.toml"] {
        fs::copy(source.join(name), models.join(name)).unwrap();
    }
    fs::copy(repository().join("rustfmt.toml"), root.join("rustfmt.toml")).unwrap();
    let run = |edit: &dyn Fn(String) -> String| {
        let patch = edit(fs::read_to_string(source.join("patch.toml")).unwrap());
        fs::write(models.join("patch.toml"), patch).unwrap();
        let output =
            Command::new(env!("CARGO_BIN_EXE_xtask")).arg("codegen").env("XTASK_ROOT", &root).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (success, said) = run(&|patch| patch);
    assert!(success, "{said}");
    for (from, to, message) in [
        ("\"ExternalId\", ", "", "`AssumeRoleRequest.ExternalId` has no mark"),
        ("\"ExternalId\"", "\"ExternalId\", \"ExternalId\"", "names `ExternalId` twice"),
        ("\"ExternalId\"", "\"ExternalIdea\"", "names `ExternalIdea`, which it lacks"),
        ("Internal = \"InternalFailure\"", "Internal = \"Nothing\"", "the error `Nothing` of role `Internal`"),
        ("iam_prefix", "iam_perfix", "unknown field `iam_perfix`"),
    ] {
        let (success, said) = run(&|patch| {
            assert!(patch.contains(from), "{from}");
            patch.replace(from, to)
        });
        assert!(!success && said.contains(message), "{from} → {to}: {said}");
    }
    fs::remove_dir_all(&root).unwrap();
}
