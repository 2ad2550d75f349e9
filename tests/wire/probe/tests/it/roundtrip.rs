//! botocore against the codecs. Needs `python3` with the packages of `tests/requirements.txt`.

use std::{path::Path, process::Command};

#[test]
fn botocore_and_the_codecs_understand_each_other() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("roundtrip.py");
    let probe = env!("CARGO_BIN_EXE_wire-probe");
    let seed = std::env::var("WIRE_SEED").unwrap_or_else(|_| "20261123".to_owned());
    let output = Command::new("python3").arg(script).args(["--probe", probe, "--seed", &seed]).output().unwrap();
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{failed}");
}
