//! The dependency laws, kept by reading `cargo metadata` and the manifests. A wrong arrow fails the build.
//!
//! Each law is a function from the house to its breaches, so that the tests at the foot can show that it bites.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the house has failed")]

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde::Deserialize;

/// The floors from the ground up. A room depends only on floors below its own.
const FLOORS: [&str; 9] = ["base", "wire", "model", "store", "lang", "compute", "services", "edge", "app"];

/// Rooms that their neighbours on the same floor may use: seams and shared rooms, never another resident.
const SHARED_ROOMS: [&str; 5] = ["wire-schema", "store-api", "compute-api", "services-kernel", "services-ports"];

/// Arrows within a floor that are the purpose of the room they start from.
const SAME_FLOOR: [(&str, &str, &str); 7] = [
    ("app-cli", "app-server", "`pileus up` is the command line around the server"),
    ("wire-http", "wire-json", "the HTTP binding carries every codec"),
    ("wire-http", "wire-query", "the HTTP binding carries every codec"),
    ("wire-http", "wire-xml", "the HTTP binding carries every codec"),
    ("wire-query", "wire-xml", "the answer of a query is an XML document"),
    ("wire-http", "wire-eventstream", "the HTTP binding carries every codec"),
    ("wire-eventstream", "wire-json", "an event's payload is a document"),
];

/// Back-ends, and who may name them.
const BACK_ENDS: [(&str, &[&str]); 3] =
    [("store-embedded", &["app-server"]), ("store-postgres", &["app-server"]), ("compute-process", &["app-server"])];

/// Crates of the outside that only some rooms may know, and why.
const RESERVED: [(&[&str], &[&str], &str); 3] = [
    (
        &["hyper", "hyper-util", "h2", "axum", "reqwest", "tower"],
        &["wire-http", "edge-gateway", "edge-client", "edge-outbound", "compute-process"],
        "only wire, edge and the sandbox's runtime API know an HTTP stack; plain `http` types are for everybody",
    ),
    (
        &["getrandom", "rand", "rand_chacha", "fastrand", "uuid", "ulid", "chrono", "time"],
        &["base-env"],
        "only base-env knows the clock, timers, randomness and ids",
    ),
    (&["fjall", "redb"], &["store-embedded"], "an engine is seen only by the store that sits on it"),
];

/// What the pure floors must not know: input, output, threads, the clock.
const IMPURE: [&str; 9] =
    ["tokio", "rustix", "libc", "mio", "socket2", "base-env", "parking_lot", "tempfile", "tracing-subscriber"];
const PURE_FLOORS: [&str; 3] = ["wire", "model", "lang"];

#[derive(Clone, Debug, Deserialize)]
struct House {
    packages: Vec<Room>,
}

#[derive(Clone, Debug, Deserialize)]
struct Room {
    name: String,
    manifest_path: String,
    dependencies: Vec<Arrow>,
}

#[derive(Clone, Debug, Deserialize)]
struct Arrow {
    name: String,
    req: String,
    kind: Option<String>,
    path: Option<String>,
}

impl Room {
    /// The place in [`FLOORS`]; nothing for a tool such as `xtask`.
    fn floor(&self) -> Option<usize> {
        floor_of(&self.name).filter(|_| self.manifest_path.contains("/crates/"))
    }

    /// What the shipped code depends on: everything but the dependencies of tests.
    fn arrows(&self) -> impl Iterator<Item = &Arrow> {
        self.dependencies.iter().filter(|arrow| arrow.kind.as_deref() != Some("dev"))
    }
}

fn floor_of(name: &str) -> Option<usize> {
    let (floor, _) = name.split_once('-')?;
    FLOORS.iter().position(|known| *known == floor)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

fn house() -> House {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The folder is the name: `crates/<floor>/<room>` holds `<floor>-<room>`.
fn misnamed(house: &House) -> Vec<String> {
    let rooms = house.packages.iter().filter_map(|room| Some((room, room.manifest_path.split_once("/crates/")?.1)));
    rooms
        .filter(|(room, place)| {
            let expected = place.trim_end_matches("/Cargo.toml").replace('/', "-");
            room.name != expected || room.floor().is_none()
        })
        .map(|(room, place)| format!("{} lies in crates/{place}", room.name))
        .collect()
}

/// Arrows point down; on one floor only to shared rooms.
fn upward(house: &House) -> Vec<String> {
    let mut breaches = Vec::new();
    for room in &house.packages {
        let Some(own) = room.floor() else { continue };
        for arrow in room.arrows().filter(|arrow| arrow.path.is_some()) {
            let allowed = match floor_of(&arrow.name) {
                Some(other) if other < own => true,
                Some(other) if other == own => {
                    SHARED_ROOMS.contains(&arrow.name.as_str())
                        || FLOORS[own] == "base"
                        || SAME_FLOOR.iter().any(|(from, to, _)| *from == room.name && *to == arrow.name)
                }
                _ => false,
            };
            if !allowed {
                breaches.push(format!("{} must not depend on {}", room.name, arrow.name));
            }
        }
    }
    breaches
}

/// Only the composition names a back-end.
fn named_back_ends(house: &House) -> Vec<String> {
    let mut breaches = Vec::new();
    for room in house.packages.iter().filter(|room| room.floor().is_some()) {
        for arrow in room.arrows() {
            for (back_end, may) in BACK_ENDS {
                if arrow.name == back_end && !may.contains(&room.name.as_str()) {
                    breaches.push(format!("{} names the back-end {back_end}", room.name));
                }
            }
        }
    }
    breaches
}

/// Crates of the outside stay in the rooms that own their purpose.
fn trespassing(house: &House) -> Vec<String> {
    let mut breaches = Vec::new();
    for room in house.packages.iter().filter(|room| room.floor().is_some()) {
        for arrow in room.arrows() {
            for (crates, may, why) in RESERVED {
                if crates.contains(&arrow.name.as_str()) && !may.contains(&room.name.as_str()) {
                    breaches.push(format!("{} depends on {}: {why}", room.name, arrow.name));
                }
            }
        }
    }
    breaches
}

/// Wire, models and languages do no input or output and know no clock.
fn impure(house: &House) -> Vec<String> {
    let pure = |room: &&Room| room.floor().is_some_and(|floor| PURE_FLOORS.contains(&FLOORS[floor]));
    let mut breaches = Vec::new();
    for room in house.packages.iter().filter(pure) {
        let arrows = room.arrows().filter(|arrow| IMPURE.contains(&arrow.name.as_str()));
        breaches.extend(arrows.map(|arrow| format!("{} is pure and must not depend on {}", room.name, arrow.name)));
    }
    breaches
}

/// Every dependency from outside is pinned to one version.
fn unpinned(house: &House) -> Vec<String> {
    // `libc` is shared with every crate of the outside that talks to the system; one pin for all would lock them.
    let free: BTreeSet<&str> = BTreeSet::from(["libc"]);
    let mut breaches = Vec::new();
    for room in &house.packages {
        let arrows = room.dependencies.iter().filter(|arrow| arrow.path.is_none());
        let loose = arrows.filter(|arrow| !arrow.req.starts_with('=') && !free.contains(arrow.name.as_str()));
        breaches.extend(loose.map(|arrow| format!("{} takes {} {}", room.name, arrow.name, arrow.req)));
    }
    breaches
}

/// The breaches of one law.
type Law = fn(&House) -> Vec<String>;

fn keep(law: Law) {
    let breaches = law(&house());
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn the_folder_is_the_name() {
    keep(misnamed);
}

#[test]
fn rooms_depend_only_on_floors_below() {
    keep(upward);
}

#[test]
fn only_the_composition_names_a_back_end() {
    keep(named_back_ends);
}

#[test]
fn outside_crates_stay_in_their_rooms() {
    keep(trespassing);
}

#[test]
fn pure_floors_stay_pure() {
    keep(impure);
}

#[test]
fn outside_crates_are_pinned() {
    keep(unpinned);
}

#[test]
fn every_member_keeps_the_lints() {
    for room in house().packages {
        let manifest = fs::read_to_string(&room.manifest_path).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{} does not inherit the lints", room.name);
    }
}

#[test]
fn every_file_opens_with_what_it_is() {
    let mut folders = ["crates", "xtask", "tests", "benches"].map(|name| root().join(name)).to_vec();
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let hidden = path.file_name().unwrap().to_string_lossy().starts_with('.');
            if path.is_dir() && !hidden && !path.ends_with("node_modules") && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files += 1;
                let text = fs::read_to_string(&path).unwrap();
                let first = text.lines().next().unwrap_or_default();
                assert!(first.starts_with("//!"), "{} opens with `{first}`", path.display());
            }
        }
    }
    assert!(files > 50, "only {files} files were looked at");
}

// --- the laws bite ----------------------------------------------------------------------------------------------------

fn one(name: &str, dependency: &str) -> House {
    let place = name.replacen('-', "/", 1);
    let path = floor_of(dependency).map(|_| "somewhere".to_owned());
    let req = if path.is_some() { "*" } else { "=1.0.0" }.to_owned();
    let arrow = Arrow { name: dependency.to_owned(), req, kind: None, path };
    let manifest_path = format!("/x/crates/{place}/Cargo.toml");
    House { packages: vec![Room { name: name.to_owned(), manifest_path, dependencies: vec![arrow] }] }
}

#[test]
fn wrong_arrows_are_found() {
    let rows: [(Law, &str, &str, bool); 16] = [
        (upward, "services-lambda", "services-logs", true),
        (upward, "services-lambda", "services-ports", false),
        (upward, "services-lambda", "edge-gateway", true),
        (upward, "store-api", "services-kernel", true),
        (upward, "app-cli", "app-server", false),
        (upward, "app-server", "app-cli", true),
        (upward, "edge-client", "wire-sigv4", false),
        (named_back_ends, "services-lambda", "store-embedded", true),
        (named_back_ends, "app-server", "store-embedded", false),
        (named_back_ends, "edge-gateway", "compute-process", true),
        (trespassing, "services-lambda", "hyper", true),
        (trespassing, "edge-gateway", "hyper", false),
        (trespassing, "store-api", "uuid", true),
        (impure, "lang-policy", "tokio", true),
        (impure, "wire-json", "base-env", true),
        (impure, "store-api", "tokio", false),
    ];
    for (law, from, to, wrong) in rows {
        assert_eq!(!law(&one(from, to)).is_empty(), wrong, "{from} -> {to}");
    }
}

#[test]
fn wrong_names_and_loose_versions_are_found() {
    let mut house = one("store-api", "serde");
    assert!(misnamed(&house).is_empty() && unpinned(&house).is_empty());
    house.packages[0].dependencies[0].req = "^1".to_owned();
    assert_eq!(unpinned(&house), ["store-api takes serde ^1"]);
    house.packages[0].name = "store-other".to_owned();
    assert_eq!(misnamed(&house).len(), 1);
}

#[test]
fn dependencies_of_tests_are_free() {
    let mut house = one("services-lambda", "store-embedded");
    house.packages[0].dependencies[0].kind = Some("dev".to_owned());
    assert!(named_back_ends(&house).is_empty());
}
