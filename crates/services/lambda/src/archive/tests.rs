//! Tests of the archive room. Zips are built by hand here, because honest tools refuse to write the hostile ones.

use std::{fs, path::Path};

use proptest::prelude::*;

use super::*;

/// An entry as it will stand in the zip, true or not.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    name: Vec<u8>,
    body: Vec<u8>,
    mode: u32,
    flags: u16,
    method: u16,
    crc: Option<u32>,
    size: Option<u32>,
    made_by_unix: bool,
}

impl Raw {
    pub(crate) fn file(name: &str, body: &[u8]) -> Self {
        Self {
            name: name.into(),
            body: body.into(),
            mode: 0o100_644,
            flags: 0,
            method: 0,
            crc: None,
            size: None,
            made_by_unix: true,
        }
    }

    fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    fn link(name: &str, target: &str) -> Self {
        Self::file(name, target.as_bytes()).mode(0o120_777)
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

/// Writes entries as a stored zip, believing whatever they claim.
pub(crate) fn zip_of(entries: &[Raw]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let offset = out.len() as u32;
        let crc = entry.crc.unwrap_or_else(|| crc32(&entry.body));
        let (stored, size) = (entry.body.len() as u32, entry.size.unwrap_or(entry.body.len() as u32));
        let mut common = Vec::new();
        common.extend(20u16.to_le_bytes());
        common.extend(entry.flags.to_le_bytes());
        common.extend(entry.method.to_le_bytes());
        common.extend([0; 4]);
        common.extend(crc.to_le_bytes());
        common.extend(stored.to_le_bytes());
        common.extend(size.to_le_bytes());
        common.extend((entry.name.len() as u16).to_le_bytes());
        common.extend(0u16.to_le_bytes());
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(&entry.name);
        out.extend(&entry.body);
        directory.extend(b"PK\x01\x02");
        directory.extend([20, if entry.made_by_unix { 3 } else { 0 }]);
        directory.extend(&common);
        directory.extend([0; 6]);
        directory.extend((entry.mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(&entry.name);
    }
    let (offset, length) = (out.len() as u32, directory.len() as u32);
    out.extend(directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend((entries.len() as u16).to_le_bytes());
    out.extend((entries.len() as u16).to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend(offset.to_le_bytes());
    out.extend([0, 0]);
    out
}

fn read(entries: &[Raw]) -> Result<Package, ArchiveError> {
    Package::read(&zip_of(entries), &Limits::INLINE)
}

#[test]
fn a_sound_package_is_normalised() {
    let package = read(&[
        Raw::file("./app.py", b"x = 1"),
        Raw::file("lib//deep/er/mod.py", b""),
        Raw::file("bin/run", b"#!").mode(0o104_755),
        Raw::file("lib/", b"").mode(0o040_755),
        Raw::link("lib/here", "deep/er/mod.py"),
        Raw::link("lib/deep/up", "../../app.py"),
    ])
    .unwrap();
    let listed: Vec<String> = package.nodes().map(|(path, node)| format!("{path} {node:?}")).collect();
    assert_eq!(
        listed,
        [
            "app.py File { index: 0, size: 5, executable: false }",
            "bin Folder",
            "bin/run File { index: 2, size: 2, executable: true }",
            "lib Folder",
            "lib/deep Folder",
            "lib/deep/er Folder",
            "lib/deep/er/mod.py File { index: 1, size: 0, executable: false }",
            "lib/deep/up Link { target: \"../../app.py\" }",
            "lib/here Link { target: \"deep/er/mod.py\" }",
        ]
    );
    assert_eq!(package.unzipped_bytes(), 7);
}

#[test]
fn hostile_and_broken_archives_are_refused() {
    let ok = || Raw::file("app.py", b"x");
    let encrypted = Raw { flags: 1, ..ok() };
    let exotic = Raw { method: 12, ..ok() };
    let lying = Raw { crc: Some(7), ..ok() };
    for (entries, message) in [
        (vec![Raw::file("../app.py", b"x")], "has a path that leads out of the package"),
        (vec![Raw::file("a/../../app.py", b"x")], "has a path that leads out of the package"),
        (vec![Raw::file("a/..", b"x")], "has a path that leads out of the package"),
        (vec![Raw::file("/etc/passwd", b"x")], "has an absolute path"),
        (vec![Raw::file(&"d/".repeat(600), b"")], "has a path that is too long"),
        (vec![Raw::file(&"n".repeat(256), b"")], "has a path that is too long"),
        (vec![Raw::file("a\0b", b"")], "has a path with a zero byte"),
        (vec![ok(), ok()], "appears twice"),
        (vec![ok(), Raw::file("./app.py", b"y")], "appears twice"),
        (vec![ok(), Raw::file("app.py/", b"").mode(0o040_755)], "appears twice"),
        (vec![ok(), Raw::file("app.py/x", b"")], "lies below something that is not a folder"),
        (vec![ok(), Raw::link("l", "d"), Raw::file("l/x", b"")], "lies below something that is not a folder"),
        (vec![ok(), Raw::link("l", "/etc/passwd")], "is a link that leads out of the package"),
        (vec![ok(), Raw::link("l", "..")], "is a link that leads out of the package"),
        (vec![ok(), Raw::link("d/l", "../../x")], "is a link that leads out of the package"),
        (vec![ok(), Raw::link("d/l", "e/../../../x")], "is a link that leads out of the package"),
        (vec![ok(), Raw::link("l", "")], "is a link that leads out of the package"),
        (vec![ok(), Raw::file("dev", b"").mode(0o020_666)], "is neither a file, a folder nor a symbolic link"),
        (vec![ok(), Raw::file("pipe", b"").mode(0o010_666)], "is neither a file, a folder nor a symbolic link"),
        (vec![ok(), Raw::file("socket", b"").mode(0o140_666)], "is neither a file, a folder nor a symbolic link"),
        (vec![encrypted], "is encrypted"),
        (vec![exotic], "uses a compression method other than deflate"),
        (vec![lying], "Could not unzip uploaded file. Please check your file, then try to upload again."),
        (vec![], "Uploaded file must be a non-empty zip"),
        (vec![Raw::file("d/", b"").mode(0o040_755)], "Uploaded file must be a non-empty zip"),
    ] {
        let error = read(&entries).expect_err(message).reason();
        assert!(error.contains(message), "{error} should say: {message}");
    }
    for (bytes, message) in [
        (&b""[..], "Uploaded file must be a non-empty zip"),
        (
            b"this is not a zipfile, just a random string",
            "Could not unzip uploaded file. Please check your file, then try to upload again.",
        ),
        (b"PK\x05\x06", "Could not unzip uploaded file. Please check your file, then try to upload again."),
    ] {
        assert_eq!(Package::read(bytes, &Limits::INLINE).unwrap_err().to_string(), message);
    }
    let whole = zip_of(&[ok()]);
    for length in 1..whole.len() {
        assert!(Package::read(&whole[..length], &Limits::INLINE).is_err(), "cut to {length} bytes");
    }
}

#[test]
fn limits_hold_while_inflating_whatever_the_zip_claims() {
    let small = Limits { zipped_bytes_max: 10_000, unzipped_bytes_max: 1000, entries_max: 3, path_bytes_max: 64 };
    let check = |bytes: &[u8], message: &str| {
        assert_eq!(Package::read(bytes, &small).unwrap_err().reason(), message);
    };
    check(
        &zip_of(&[Raw::file("a", &[0; 500]), Raw::file("b", &[0; 500])]),
        "Unzipped size must be smaller than 1000 bytes",
    );
    check(&vec![b'x'; 10_000], "Zipped size must be smaller than 10000 bytes");
    let many: Vec<Raw> = (0..4).map(|i| Raw::file(&format!("f{i}"), b"")).collect();
    check(&zip_of(&many), "it holds more than 3 entries");
    check(&zip_of(&[Raw::file("a/b/c/d", b"x")]), "it holds more than 3 entries");

    // A bomb: a megabyte of zeros, deflated to about a kilobyte.
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file("zeros", zip::write::SimpleFileOptions::default()).unwrap();
    std::io::Write::write_all(&mut writer, &vec![0; 1 << 20]).unwrap();
    let mut bomb = writer.finish().unwrap().into_inner();
    assert!(bomb.len() < 5000);
    check(&bomb, "Unzipped size must be smaller than 1000 bytes");
    assert_eq!(Package::read(&bomb, &Limits::INLINE).unwrap().unzipped_bytes(), 1 << 20);
    // The same, claiming to be small: found out while inflating.
    let directory = bomb.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    for at in [22, directory + 24] {
        bomb[at..at + 4].copy_from_slice(&10u32.to_le_bytes());
    }
    assert!(Package::read(&bomb, &small).is_err());
}

#[test]
fn code_is_unpacked_once_read_only_and_made_again_when_torn() {
    let home = tempfile::tempdir().unwrap();
    let digest = "a".repeat(64);
    let zip = zip_of(&[
        Raw::file("app.py", b"hello"),
        Raw::file("bin/tool", b"#!/bin/sh").mode(0o104_711),
        Raw::link("bin/other", "tool"),
        Raw::file("odd\nname", b""),
    ]);
    let code = CodeFolder::open(home.path().join("code")).unwrap();
    assert_eq!(code.ready(&digest), None);
    let place = code.ensure(&digest, || Ok(&zip), &Limits::INLINE).unwrap();
    assert_eq!(code.ready(&digest).as_ref(), Some(&place));
    let mode = |path: &str| {
        std::os::unix::fs::PermissionsExt::mode(&place.join(path).symlink_metadata().unwrap().permissions()) & 0o7777
    };
    assert_eq!((mode(""), mode("app.py"), mode("bin"), mode("bin/tool")), (0o555, 0o444, 0o555, 0o555));
    assert_eq!(fs::read(place.join("bin/other")).unwrap(), b"#!/bin/sh");
    // The second time nobody asks for the zip.
    code.ensure(&digest, || -> Result<Vec<u8>, _> { unreachable!("it is there") }, &Limits::INLINE).unwrap();

    // After a restart it is compared with its manifest: whole, it is taken; torn, it is made again.
    let unneeded = || -> Result<Vec<u8>, _> { unreachable!("it is whole") };
    CodeFolder::open(home.path().join("code")).unwrap().ensure(&digest, unneeded, &Limits::INLINE).unwrap();
    for tear in [
        |place: &Path| truncate(&place.join("app.py")),
        |place: &Path| remove(&place.join("bin/other")),
        |place: &Path| remove(&place.parent().unwrap().join(format!("{}.manifest", "a".repeat(64)))),
    ] {
        tear(&place);
        let again = CodeFolder::open(home.path().join("code")).unwrap();
        again.ensure(&digest, || Ok(&zip), &Limits::INLINE).unwrap();
        assert_eq!(fs::read(place.join("app.py")).unwrap(), b"hello");
        assert!(place.join("bin/other").symlink_metadata().unwrap().is_symlink());
    }
    assert_eq!(code.digests().unwrap(), std::slice::from_ref(&digest));
    code.remove(&digest).unwrap();
    code.remove(&digest).unwrap();
    assert_eq!(fs::read_dir(home.path().join("code")).unwrap().count(), 0);
    assert!(code.ensure("../x", || Ok(&zip), &Limits::INLINE).is_err());
}

#[test]
fn a_package_of_many_files_is_unpacked_whole() {
    let home = tempfile::tempdir().unwrap();
    let entries: Vec<Raw> =
        (0..500).map(|n| Raw::file(&format!("d{}/f{n}", n % 7), n.to_string().as_bytes())).collect();
    let zip = zip_of(&entries);
    let code = CodeFolder::open(home.path().join("code")).unwrap();
    let digest = "b".repeat(64);
    let place = code.ensure(&digest, || Ok(&zip), &Limits::INLINE).unwrap();
    for n in 0..500 {
        assert_eq!(fs::read_to_string(place.join(format!("d{}/f{n}", n % 7))).unwrap(), n.to_string());
    }
    let unneeded = || -> Result<Vec<u8>, _> { unreachable!("it is whole") };
    CodeFolder::open(home.path().join("code")).unwrap().ensure(&digest, unneeded, &Limits::INLINE).unwrap();
    code.remove(&digest).unwrap();
}

fn truncate(path: &Path) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    fs::write(path, b"he").unwrap();
}

fn remove(path: &Path) {
    let parent = path.parent().unwrap();
    fs::set_permissions(parent, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::remove_file(path).unwrap();
}

fn any_entry() -> impl Strategy<Value = Raw> {
    let name = proptest::collection::vec(
        prop_oneof![Just(".."), Just("."), Just(""), Just("a"), Just("b"), Just("link"), Just("é")],
        1..5,
    )
    .prop_map(|parts| parts.join("/"));
    let mode =
        prop_oneof![Just(0o100_644u32), Just(0o120_777), Just(0o040_755), Just(0), Just(0o020_666), Just(0o106_777)];
    let body = prop_oneof![
        Just("x"),
        Just("../../outside"),
        Just(".."),
        Just("a"),
        Just("../a"),
        Just("/etc"),
        Just("link/../..")
    ];
    (name, mode, body).prop_map(|(name, mode, body)| Raw::file(&name, body.as_bytes()).mode(mode))
}

/// Everything below `root`, to see that nothing else changed.
fn names_below(root: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_ever_written_outside(entries in proptest::collection::vec(any_entry(), 1..8)) {
        let home = tempfile::tempdir().unwrap();
        let code = CodeFolder::open(home.path().join("code")).unwrap();
        let digest = "0".repeat(64);
        let zip = zip_of(&entries);
        let made = code.ensure(&digest, || Ok(&zip), &Limits::INLINE);
        prop_assert_eq!(names_below(home.path()), ["code"]);
        if let Ok(place) = made {
            prop_assert_eq!(names_below(&home.path().join("code")), [digest.clone(), format!("{digest}.manifest")]);
            // Links that resolve at all resolve inside.
            let place = place.canonicalize().unwrap();
            for (path, _) in Package::read(&zip, &Limits::INLINE).unwrap().nodes() {
                if let Ok(real) = place.join(path).canonicalize() {
                    prop_assert!(real.starts_with(&place), "{} leads to {}", path, real.display());
                }
            }
            code.remove(&digest).unwrap();
        }
    }

    #[test]
    fn mutated_archives_never_panic(
        entries in proptest::collection::vec(any_entry(), 1..4),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut zip = zip_of(&entries);
        for (at, byte) in changes {
            let at = at.index(zip.len());
            zip[at] = byte;
        }
        let limits = Limits { unzipped_bytes_max: 1 << 20, ..Limits::INLINE };
        drop(Package::read(&zip, &limits));
    }

    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        drop(Package::read(&bytes, &Limits::INLINE));
    }
}
