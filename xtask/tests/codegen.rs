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

/// A tree with one service of its own, `chat`, and a generator of it from a model.
fn chat(folder: &str, marks: &str) -> (PathBuf, impl Fn(&str) -> Output) {
    let root = std::env::temp_dir().join(format!("xtask-{folder}-{}", std::process::id()));
    let models = root.join("models/chat");
    fs::create_dir_all(&models).unwrap();
    fs::copy(repository().join("rustfmt.toml"), root.join("rustfmt.toml")).unwrap();
    fs::write(models.join("operations.toml"), "service = \"chat\"\nversion = \"1\"\n[operations]\nTalk = \"flow\"\n")
        .unwrap();
    let sts = fs::read_to_string(repository().join("models/sts/patch.toml")).unwrap();
    let (roles, errors) = (sts.find("[roles]").unwrap(), sts.find("\n[marks").unwrap());
    let patch = format!(
        "trait = \"Chat\"\nprotocols = [\"rest-json\"]\niam_prefix = \"chat\"\nbody_bytes_max = 1000\n{}\n{marks}\n",
        &sts[roles..errors]
    );
    fs::write(models.join("patch.toml"), patch).unwrap();
    let tree = root.clone();
    let run = move |model: &str| {
        fs::write(models.join("model.json"), model).unwrap();
        Command::new(env!("CARGO_BIN_EXE_xtask")).arg("codegen").env("XTASK_ROOT", &tree).output().unwrap()
    };
    (root, run)
}

#[test]
fn a_structure_may_contain_itself_and_a_union_is_a_structure() {
    let marks =
        "[marks.TalkRequest]\nenforced = [\"Value\"]\n[marks.Value]\nenforced = [\"S\", \"L\", \"M\", \"Next\"]";
    let (root, run) = chat("recursive", marks);
    let model = r#"{
        "metadata": { "apiVersion": "1", "endpointPrefix": "chat", "protocol": "rest-json", "serviceId": "Chat" },
        "operations": { "Talk": { "name": "Talk", "http": { "method": "POST", "requestUri": "/talk" },
            "input": { "shape": "TalkRequest" } } },
        "shapes": {
            "TalkRequest": { "type": "structure", "required": ["Value"], "members": { "Value": { "shape": "Value" } } },
            "Value": { "type": "structure", "union": true, "members": { "S": { "shape": "Text" }, "L": { "shape": "Values" },
                "M": { "shape": "Named" }, "Next": { "shape": "Value" } } },
            "Values": { "type": "list", "member": { "shape": "Value" } },
            "Named": { "type": "map", "key": { "shape": "Text" }, "value": { "shape": "Value" } },
            "Text": { "type": "string" } } }"#;
    let output = run(model);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shapes = fs::read_to_string(root.join("crates/model/chat/src/shapes.rs")).unwrap();
    for wanted in
        ["pub l: Option<Vec<Value>>", "pub m: Option<BTreeMap<String, Value>>", "pub next: Option<Box<Value>>"]
    {
        assert!(shapes.contains(wanted), "{wanted} is not in {shapes}");
    }
    let endless = model.replace("\"union\": true", "\"required\": [\"Next\"]");
    let output = run(&endless);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("cannot be without itself"), "{said}");
    fs::remove_dir_all(&root).unwrap();
}

#[test]
fn an_event_stream_becomes_an_enum_and_a_handle() {
    let (root, run) = chat("events", "[marks.TalkRequest]");
    let model = r#"{
        "metadata": { "apiVersion": "1", "endpointPrefix": "chat", "protocol": "rest-json", "serviceId": "Chat" },
        "operations": { "Talk": { "name": "Talk", "http": { "method": "POST", "requestUri": "/talk" },
            "input": { "shape": "TalkRequest" }, "output": { "shape": "TalkResponse" } } },
        "shapes": {
            "TalkRequest": { "type": "structure", "members": {} },
            "TalkResponse": { "type": "structure", "members": { "Said": { "shape": "Events" } }, "payload": "Said" },
            "Events": { "type": "structure", "members": { "Word": { "shape": "Word" }, "End": { "shape": "End" } },
                "eventstream": true },
            "Word": { "type": "structure", "members": { "Text": { "shape": "Blob", "eventpayload": true } }, "event": true },
            "End": { "type": "structure", "members": { "Reason": { "shape": "Text" },
                "Code": { "shape": "Text", "eventheader": true } }, "event": true },
            "Blob": { "type": "blob" }, "Text": { "type": "string" } } }"#;
    let output = run(model);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let generated = |file: &str| fs::read_to_string(root.join("crates/model/chat/src").join(file)).unwrap();
    let shapes = generated("shapes.rs");
    for wanted in
        ["pub enum Events {", "Word(Word),", "pub said: Option<EventStream<Events>>,", "wire_schema::union!(Events"]
    {
        assert!(shapes.contains(wanted), "{wanted} is not in {shapes}");
    }
    assert!(generated("schema.rs").contains("at(Location::EventPayload)"));
    assert!(generated("schema.rs").contains("at(Location::EventHeader)"));
    // A stream that is a part of a document, and one that a client sends, have no form here.
    for (from, to) in [
        (", \"payload\": \"Said\"", ""),
        (
            "\"TalkRequest\": { \"type\": \"structure\", \"members\": {} }",
            "\"TalkRequest\": { \"type\": \"structure\", \"members\": { \"Said\": { \"shape\": \"Events\" } }, \"payload\": \"Said\" }",
        ),
    ] {
        assert!(model.contains(from));
        let output = run(&model.replace(from, to));
        assert!(!output.status.success(), "{to}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("an event"), "{said}");
    }
    fs::remove_dir_all(&root).unwrap();
}
